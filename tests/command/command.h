// The `fourfold` command under test.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/spawn.h"

namespace fourfold::test {

Outcome fourfold_command(const std::vector<std::string> &arguments, const SpawnOptions &options = {});

/// The exit code, and with a failure a sentence on stderr that contains every one of `words`.
::testing::AssertionResult exits_with(int code, const Outcome &outcome, const std::vector<std::string> &words = {});

}  // namespace fourfold::test
