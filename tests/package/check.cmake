# Installs the build into a temporary prefix, moves the prefix, and builds and runs consumers against it; then uninstalls.
#   cmake -DBUILD=... -DSOURCE=... -DWORK=... -DCC=... -DCXX=... -DGENERATOR=... -DMAKE=... -DHALIDE=... -DFLAGS=... -DSHARED=ON|OFF -P check.cmake
include("${CMAKE_CURRENT_LIST_DIR}/common.cmake")
function(must_fail pattern)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
    string(REGEX REPLACE "[ \n]+" " " output "${output}")
    if(status EQUAL 0 OR NOT output MATCHES "${pattern}")
        message(FATAL_ERROR "${ARGN}\nshould have failed with '${pattern}'; it ended with ${status}:\n${output}")
    endif()
endfunction()

file(REMOVE_RECURSE "${WORK}")
set(configure ${CMAKE_COMMAND} -G "${GENERATOR}" -DCMAKE_MAKE_PROGRAM=${MAKE} -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_FLAGS=${FLAGS})

# `cmake --install`, but with a list of files of its own: that in the build directory is of what the user installed.
function(install_into prefix component)
    string(REGEX REPLACE "(.+)" "_\\1" suffix "${component}")
    run(${CMAKE_COMMAND} -DCMAKE_INSTALL_PREFIX=${prefix} -DCMAKE_INSTALL_COMPONENT=${component}
        -DFOURFOLD_MANIFEST=${WORK}/manifests/install_manifest${suffix}.txt -P "${BUILD}/cmake_install.cmake")
endfunction()
function(uninstall)
    run(${CMAKE_COMMAND} -DBUILD_DIRECTORY=${WORK}/manifests -P "${SOURCE}/cmake/uninstall.cmake")
endfunction()
manifests(manifests_before)

# A component alone, and its uninstallation.
install_into("${WORK}/component" library)
if(NOT EXISTS "${WORK}/component/include/fourfold/fourfold.h" OR EXISTS "${WORK}/component/share/fourfold")
    message(FATAL_ERROR "the component library has not its headers, or more than it should")
endif()
uninstall()
file(GLOB_RECURSE left "${WORK}/component/*")
if(left)
    message(FATAL_ERROR "uninstalling the component library left ${left}")
endif()

install_into("${WORK}/installed" "")
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

run_consumers("${WORK}/moved" "${WORK}")

# The component c, found or refused with the reason.
file(WRITE "${WORK}/shared/CMakeLists.txt" "cmake_minimum_required(VERSION 3.28)\nproject(c LANGUAGES C)\nfind_package(fourfold REQUIRED COMPONENTS c)\n")
if(SHARED)
    run(${configure} -S "${WORK}/shared" -B "${WORK}/shared/build" -DCMAKE_PREFIX_PATH=${WORK}/moved)
else()
    must_fail("component c: this installation was built without libfourfold_c.so" ${configure} -S "${WORK}/shared" -B "${WORK}/shared/build" -DCMAKE_PREFIX_PATH=${WORK}/moved)
endif()

# GPUs that are not there.
run(${configure} -S "${SOURCE}/tests/package/cmake_consumer" -B "${WORK}/devices" -DCMAKE_PREFIX_PATH=${WORK}/moved -DEXAMPLE=${SOURCE}/tests/package/devices.cpp)
run(${CMAKE_COMMAND} --build "${WORK}/devices")
run("${WORK}/devices/consumer")

# Halide absent: a sentence that says so.
file(WRITE "${WORK}/no_halide/CMakeLists.txt" "cmake_minimum_required(VERSION 3.28)\nproject(c LANGUAGES CXX)\nfind_package(fourfold REQUIRED COMPONENTS generators)\n")
must_fail("needs Halide 21" ${configure} -DCMAKE_DISABLE_FIND_PACKAGE_Halide=ON -S "${WORK}/no_halide" -B "${WORK}/no_halide/build" -DCMAKE_PREFIX_PATH=${WORK}/moved)

# Libraries for certain shapes. Not under sanitizers: the generators would be run with them.
if(EXISTS "${WORK}/moved/bin/fourfold" AND FLAGS STREQUAL "")
    # A table whose winners differ from each other, and one of them from what is chosen without it: a tuned one's lines with
    # other roles.
    set(fourfold "${WORK}/moved/bin/fourfold")
    set(tabled "b1 ic16 i14 oc32 f3 p1")
    run("${fourfold}" tune --problem "${tabled}" --hopeless 1e9 --out "${WORK}/tuned.json")
    file(READ "${WORK}/tuned.json" lines)
    string(REGEX MATCH "^[^\n]*" header "${lines}")
    foreach(algorithm direct im2col)
        string(REGEX MATCH "[^\n]*\"choice\":\"(${algorithm} [^\"]*)\",\"ms_min\"[^\n]*" ${algorithm} "${lines}")
        set(${algorithm}_choice "${CMAKE_MATCH_1}")
        string(REGEX REPLACE "\"role\":\"[a-z]*\"" "\"role\":\"winner\"" ${algorithm} "${${algorithm}}")
    endforeach()
    string(REPLACE "\"threads\":1," "\"threads\":2," direct "${direct}")
    file(WRITE "${WORK}/table.json" "${header}\n${direct}\n${im2col}\n")

    # What configures is arguments only.
    set(ENV{FOURFOLD_ISA} generic)
    set(ENV{FOURFOLD_CHOICE} fft)
    run(${configure} -S "${SOURCE}/tests/package/generated_consumer" -B "${WORK}/generated" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=${WORK}/moved -DHalide_DIR=${HALIDE} -DTABLE=${WORK}/table.json)
    unset(ENV{FOURFOLD_ISA})
    unset(ENV{FOURFOLD_CHOICE})
    run(${CMAKE_COMMAND} --build "${WORK}/generated")
    run("${WORK}/generated/with_table")
    if(NOT output STREQUAL "1: ${im2col_choice}\n2: ${direct_choice}\n3: ${im2col_choice}\n")
        message(FATAL_ERROR "with_table does not follow its table, ${im2col_choice} and on 2 threads ${direct_choice}:\n${output}")
    endif()
    # What would be ignored is refused.
    foreach(arguments "LIST library.json TABLE t.json" "LIST library.json ISA avx2" "LIST library.json THREADS 1" "SHAPES s.csv TABEL t.json" "SHAPES s.csv TABLE")
        file(WRITE "${WORK}/arguments/CMakeLists.txt" "cmake_minimum_required(VERSION 3.28)\nproject(c LANGUAGES CXX)\nfind_package(fourfold REQUIRED COMPONENTS generators)\nfourfold_add_library(c ${arguments})\n")
        string(REGEX MATCH "TABLE|ISA|THREADS|TABEL" argument "${arguments}")
        must_fail("fourfold_add_library.c.: ${argument}" ${configure} -DHalide_DIR=${HALIDE} -S "${WORK}/arguments" -B "${WORK}/arguments/build" -DCMAKE_PREFIX_PATH=${WORK}/moved)
    endforeach()
    function(same_results general special)
        if(ARGC GREATER 2)
            set(ENV{FOURFOLD_ISA} ${ARGV2})
        endif()
        run("${WORK}/generated/${general}")
        set(expected "${output}")
        # No environment is read.
        set(ENV{FOURFOLD_ISA} generic)
        run("${WORK}/generated/${special}")
        unset(ENV{FOURFOLD_ISA})
        if(NOT output STREQUAL expected)
            message(FATAL_ERROR "${special} has other results:\n${output}instead of\n${expected}")
        endif()
    endfunction()
    same_results(with_fourfold with_shapes)
    same_results(with_fourfold with_shapes_generic generic)
    file(SIZE "${WORK}/generated/libshapes.a" small)
    file(GLOB_RECURSE all "${WORK}/moved/libfourfold.a")
    file(SIZE "${all}" large)
    if(NOT small LESS large)
        message(FATAL_ERROR "the library for certain shapes has ${small} bytes; that for all has ${large}")
    endif()
endif()

if(EXISTS "${WORK}/moved/bin/fourfold")
    run("${WORK}/moved/bin/fourfold" list)
endif()

file(GLOB_RECURSE manual "${WORK}/moved/fourfold.1")
if(EXISTS "${WORK}/moved/bin/fourfold" AND NOT manual)
    message(FATAL_ERROR "no manual page was installed")
endif()

# uninstall removes all that install wrote.
file(RENAME "${WORK}/moved" "${WORK}/installed")
uninstall()
file(GLOB_RECURSE left "${WORK}/installed/*")
if(left)
    message(FATAL_ERROR "uninstall left ${left}")
endif()
manifests(manifests_after)
if(NOT manifests_before STREQUAL manifests_after)
    message(FATAL_ERROR "the list of what the target uninstall removes is another now:\n${manifests_before}\n${manifests_after}")
endif()
file(REMOVE_RECURSE "${WORK}")
