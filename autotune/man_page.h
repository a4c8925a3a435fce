// The manual page of the `fourfold` command, from the same options that --help lists.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace fourfold::cli {

/// roff of section 1. Verbs without a summary are internal and left out.
std::string man_page(CLI::App &app);

}  // namespace fourfold::cli
