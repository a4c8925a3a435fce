#include "variant_list.h"

#include <fmt/format.h>

namespace fourfold::cli {

std::string list_text(const nlohmann::ordered_json &list) {
    std::string text = "{\n";
    for (const auto &[key, value] : list.items()) {
        if (key != "stages") {
            text += fmt::format("  \"{}\": {},\n", key, value.dump());
        }
    }
    text += "  \"stages\": {";
    const char *separator = "\n";
    for (const auto &[stage, entry] : list["stages"].items()) {
        text += fmt::format("{}    \"{}\": {{", separator, stage);
        separator = ",\n";
        const char *inner = "\n";
        for (const auto &[key, value] : entry.items()) {
            text += fmt::format("{}      \"{}\": {}", inner, key, value.dump());
            inner = ",\n";
        }
        text += "\n    }";
    }
    return text + "\n  }\n}\n";
}

}  // namespace fourfold::cli
