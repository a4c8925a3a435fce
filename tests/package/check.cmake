# Installs the build into a temporary prefix, moves the prefix, and builds and runs consumers against it; then uninstalls.
#   cmake -DBUILD=... -DSOURCE=... -DWORK=... -DCXX=... -DGENERATOR=... -DMAKE=... -DHALIDE=... -DFLAGS=... -P check.cmake
function(run)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "${ARGN}\nended with ${status}:\n${output}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()
function(must_fail pattern)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
    string(REGEX REPLACE "[ \n]+" " " output "${output}")
    if(status EQUAL 0 OR NOT output MATCHES "${pattern}")
        message(FATAL_ERROR "${ARGN}\nshould have failed with '${pattern}'; it ended with ${status}:\n${output}")
    endif()
endfunction()

file(REMOVE_RECURSE "${WORK}")
set(configure ${CMAKE_COMMAND} -G "${GENERATOR}" -DCMAKE_MAKE_PROGRAM=${MAKE} -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_FLAGS=${FLAGS})
set(example "${SOURCE}/examples/ten_lines.cpp")

run(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${WORK}/installed")
file(RENAME "${WORK}/installed" "${WORK}/moved")
# No file may know where it was built or first installed.
file(GLOB_RECURSE texts "${WORK}/moved/*.cmake" "${WORK}/moved/*.pc")
foreach(text IN LISTS texts)
    file(READ "${text}" content)
    foreach(place "${SOURCE}" "${BUILD}" "${WORK}")
        string(FIND "${content}" "${place}" at)
        if(NOT at EQUAL -1)
            message(FATAL_ERROR "${text} names ${place}")
        endif()
    endforeach()
endforeach()

# find_package.
run(${configure} -S "${SOURCE}/tests/package/cmake_consumer" -B "${WORK}/cmake" -DCMAKE_PREFIX_PATH=${WORK}/moved -DEXAMPLE=${example})
run(${CMAKE_COMMAND} --build "${WORK}/cmake")
run("${WORK}/cmake/consumer")

# Halide absent: a sentence that says so.
file(WRITE "${WORK}/no_halide/CMakeLists.txt" "cmake_minimum_required(VERSION 3.28)\nproject(c LANGUAGES CXX)\nfind_package(fourfold REQUIRED COMPONENTS generators)\n")
must_fail("needs Halide 21" ${CMAKE_COMMAND} -E env PYTHONNOUSERSITE=1 PATH=/usr/bin:/bin ${configure} -S "${WORK}/no_halide" -B "${WORK}/no_halide/build" -DCMAKE_PREFIX_PATH=${WORK}/moved)

# pkg-config.
file(GLOB_RECURSE pc "${WORK}/moved/fourfold.pc")
get_filename_component(pc_directory "${pc}" DIRECTORY)
set(ENV{PKG_CONFIG_PATH} "${pc_directory}")
run(pkg-config --cflags --libs fourfold)
string(STRIP "${output}" flags)
separate_arguments(flags UNIX_COMMAND "${flags} ${FLAGS}")
run(${CXX} -std=c++17 "${example}" -o "${WORK}/pkgconfig_consumer" ${flags})
run("${WORK}/pkgconfig_consumer")

if(EXISTS "${WORK}/moved/bin/fourfold")
    run("${WORK}/moved/bin/fourfold" list)
endif()

# uninstall removes all that install wrote.
file(RENAME "${WORK}/moved" "${WORK}/installed")
run(${CMAKE_COMMAND} --build "${BUILD}" --target uninstall)
file(GLOB_RECURSE left "${WORK}/installed/*")
if(left)
    message(FATAL_ERROR "uninstall left ${left}")
endif()
file(REMOVE_RECURSE "${WORK}")
