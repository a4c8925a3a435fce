// docs/hard-inputs.md says what happens; written anew with FOURFOLD_WRITE_DOCS=1.
#include <cctype>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "hard/table.h"
#include "support/spawn.h"

namespace fourfold::test {
namespace {

const char *const kHead = R"(# Hard inputs

What fourfold does with inputs that are not as they should be. Written by `tests/hard` (`FOURFOLD_WRITE_DOCS=1 build/release/tests/test_hard`), which fails
when a row is no longer true. Numbers of bytes that depend on the machine are N.

The command ends with exit code 2 for bad usage or input, 3 where the named algorithm or device cannot do a valid problem, 1 for any other failure; calls
return a Status. Nothing throws, nothing aborts.
)";

/// Sizes of blocks, of three digits and more, depend on the machine's instruction set.
std::string without_sizes(const std::string &text) {
    std::string result;
    for (size_t i = 0; i < text.size();) {
        size_t end = i;
        while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end]))) {
            end++;
        }
        const bool bytes = end > i + 2 && text.compare(end, 6, " bytes") == 0;
        result += end == i ? std::string(1, text[i]) : bytes ? "N" : text.substr(i, end - i);
        i = end == i ? i + 1 : end;
    }
    return result;
}

/// As a cell of a Markdown table.
std::string cell(const std::string &text) {
    std::string result;
    for (char c : text) {
        result += c == '|' ? std::string("\\|") : c == '\n' ? std::string(" ") : std::string(1, c);
    }
    return result;
}

TEST(HardInputs, AreAsDocumented) {
    std::string text = kHead;
    for (const HardInputs &part : {hard_commands(), hard_calls()}) {
        text += "\n## " + part.title + "\n\n" + part.introduction + "\n\n| input | outcome | message |\n|---|---|---|\n";
        const bool commands = part.rows.front().outcome.rfind("exit", 0) == 0;
        for (const HardInput &row : part.rows) {
            const std::string quote = commands ? "`" : "";
            text += "| ";
            text += quote + cell(row.input) + quote + " | " + row.outcome + " | " + cell(commands ? row.message : without_sizes(row.message)) + " |\n";
        }
    }
    if (std::getenv("FOURFOLD_WRITE_DOCS") != nullptr) {
        write_bytes(FOURFOLD_DOCUMENT, text);
        GTEST_SKIP() << FOURFOLD_DOCUMENT << " was written";
    }
    EXPECT_EQ(read_bytes(FOURFOLD_DOCUMENT), text) << "write it anew with FOURFOLD_WRITE_DOCS=1 and look at the difference";
}

}  // namespace
}  // namespace fourfold::test
