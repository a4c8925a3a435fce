// Which source this program was built from.
#pragma once

namespace fourfold::cli {

/// `git describe` of the source tree when this was built, "1a2b3c4-dirty"; empty where it was no git tree.
const char *source_commit();

}  // namespace fourfold::cli
