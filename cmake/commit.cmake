# Writes a source file that says what `git describe` says of a tree; writes nothing where that is what it says already, and
# the empty text where the tree is not git's own.
#   cmake -DSOURCE=<tree> -DOUTPUT=<file> -P commit.cmake
set(commit "")
if(EXISTS "${SOURCE}/.git")
    execute_process(COMMAND git --no-optional-locks describe --always --dirty --tags
        WORKING_DIRECTORY "${SOURCE}" OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE ignored)
endif()
file(CONFIGURE OUTPUT "${OUTPUT}" @ONLY CONTENT [[
#include "commit.h"

const char *fourfold::cli::source_commit() {
    return R"commit(@commit@)commit";
}
]])
