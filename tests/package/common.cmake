# What the scripts of this folder share. They are given BUILD, the build directory, and SOURCE, CC, CXX, GENERATOR, MAKE, FLAGS, SHARED.

# Runs a command that must end well, and leaves what it printed in `output`.
function(run)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "${ARGN}\nended with ${status}:\n${output}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

# What the user installed from the build directory, by name and content.
function(manifests variable)
    file(GLOB files "${BUILD}/install_manifest*.txt")
    set(all "")
    foreach(file IN LISTS files)
        file(SHA256 "${file}" hash)
        list(APPEND all "${file} ${hash}")
    endforeach()
    set(${variable} "${all}" PARENT_SCOPE)
endfunction()

# Builds and runs the consumers, C++ and C, by find_package and by pkg-config, against what lies at a prefix.
function(run_consumers prefix work)
    set(example "${SOURCE}/examples/ten_lines.cpp")
    set(c_example "${SOURCE}/examples/c_api.c")
    run(${CMAKE_COMMAND} -G "${GENERATOR}" -DCMAKE_MAKE_PROGRAM=${MAKE} -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_FLAGS=${FLAGS}
        -S "${SOURCE}/tests/package/cmake_consumer" -B "${work}/cmake" -DCMAKE_PREFIX_PATH=${prefix} -DEXAMPLE=${example})
    run(${CMAKE_COMMAND} --build "${work}/cmake")
    run("${work}/cmake/consumer")
    run(${CMAKE_COMMAND} -G "${GENERATOR}" -DCMAKE_MAKE_PROGRAM=${MAKE} -DCMAKE_C_COMPILER=${CC} -DCMAKE_C_FLAGS=${FLAGS}
        -S "${SOURCE}/tests/package/c_consumer" -B "${work}/c" -DCMAKE_PREFIX_PATH=${prefix} -DEXAMPLE=${c_example})
    run(${CMAKE_COMMAND} --build "${work}/c")
    run("${work}/c/c_consumer")

    file(GLOB_RECURSE pc "${prefix}/fourfold.pc")
    get_filename_component(pc_directory "${pc}" DIRECTORY)
    set(ENV{PKG_CONFIG_PATH} "${pc_directory}")
    run(pkg-config --cflags --libs fourfold)
    string(STRIP "${output}" flags)
    separate_arguments(flags UNIX_COMMAND "${flags} ${FLAGS}")
    run(${CXX} -std=c++17 "${example}" -o "${work}/pkgconfig_consumer" ${flags})
    run("${work}/pkgconfig_consumer")
    run(${CC} -std=c11 "${c_example}" -o "${work}/pkgconfig_c_consumer" ${flags})
    run("${work}/pkgconfig_c_consumer")

    if(SHARED)
        # With the shared library alone, whose own libraries no flag names.
        run("${work}/c/c_consumer_shared")
        run(pkg-config --cflags --libs fourfold_c)
        string(STRIP "${output}" flags)
        separate_arguments(flags UNIX_COMMAND "${flags} ${FLAGS}")
        run(${CC} -std=c11 "${c_example}" -o "${work}/pkgconfig_shared_consumer" ${flags})
        get_filename_component(libraries "${pc_directory}" DIRECTORY)
        run(${CMAKE_COMMAND} -E env "LD_LIBRARY_PATH=${libraries}" "${work}/pkgconfig_shared_consumer")
    endif()
endfunction()
