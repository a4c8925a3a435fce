// Lists of variants in the form of schedules/cpu/variants.json, as the build reads them.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace fourfold::cli {

/// The text of a list: a line for each ISA level of each stage, so that lists diff well.
std::string list_text(const nlohmann::ordered_json &list);

}  // namespace fourfold::cli
