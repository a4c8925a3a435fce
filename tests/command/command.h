// The `fourfold` command under test.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/spawn.h"

namespace fourfold::test {

Outcome fourfold_command(const std::vector<std::string> &arguments, const SpawnOptions &options = {});

/// Runs the command and, as soon as `ready`, which is given what it has printed so far, sends a signal to it and to its candidates, as
/// a terminal does; or lets it end. SIGKILL is for the command alone.
Outcome signalled(const std::vector<std::string> &arguments, int signal, const std::function<bool(const std::string &)> &ready);

std::vector<std::string> lines_of(const std::string &text);
/// Whether it is on standard output.
bool says(const Outcome &outcome, const std::string &word);

/// The exit code, and with a failure a sentence on stderr that contains every one of `words`.
::testing::AssertionResult exits_with(int code, const Outcome &outcome, const std::vector<std::string> &words = {});

}  // namespace fourfold::test
