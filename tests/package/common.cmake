# What the scripts of this folder share. They are given BUILD, the build directory.

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
