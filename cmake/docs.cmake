# The API reference by Doxygen, from the public headers; fails on a warning. Fields of plain structs may speak for themselves.
#   cmake -DDOXYGEN=... -DSOURCE=... -DOUT=... -DVERSION=... -P docs.cmake
file(REMOVE_RECURSE "${OUT}")
file(MAKE_DIRECTORY "${OUT}")
set(ENV{FOURFOLD_VERSION} "${VERSION}")
set(ENV{FOURFOLD_DOCS} "${OUT}")
execute_process(COMMAND "${DOXYGEN}" Doxyfile WORKING_DIRECTORY "${SOURCE}" RESULT_VARIABLE status)
file(STRINGS "${OUT}/warnings.log" warnings)
list(FILTER warnings EXCLUDE REGEX "Member [^ ]+ \\(variable\\) of (struct|class) [^ ]+ is not documented")
if(NOT status EQUAL 0 OR warnings)
    list(JOIN warnings "\n" text)
    message(FATAL_ERROR "Doxygen ended with ${status}:\n${text}")
endif()
