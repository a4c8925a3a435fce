// The table of hard inputs: each row is run, its outcome and message are expected, and docs/hard-inputs.md must say the same.
#pragma once

#include <string>
#include <vector>

namespace fourfold::test {

/// One row as it happened.
struct HardInput {
    std::string input, outcome, message;
};

/// A part of the document: a heading, an introduction, rows.
struct HardInputs {
    std::string title, introduction;
    std::vector<HardInput> rows;
};

/// Runs the command's and the library's rows, with an expectation for each.
HardInputs hard_commands();
HardInputs hard_calls();

}  // namespace fourfold::test
