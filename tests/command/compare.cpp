// `fourfold compare`: what it keeps when it is interrupted or cannot write, and what its page and its plots say.
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "command/command.h"

namespace fourfold::test {
namespace {

using Arguments = std::vector<std::string>;

bool has(const std::string &text, const std::string &word) {
    return text.find(word) != std::string::npos;
}

TEST(Compare, NeedsAProblem) {
    const TemporaryFolder folder;
    EXPECT_TRUE(exits_with(2, fourfold_command({"compare", "--sweep", "none", "--out", folder / "out"}), {"--sweep none leaves no problem"}));
    EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

TEST(Compare, AnInterruptKeepsWhatWasMeasured) {
    const TemporaryFolder folder;
    const std::string results = folder / "out/results.csv";
    // The second problem is timed for as long as an interrupt may need.
    write_bytes(folder / "shapes.csv", "short,b1 ic2 i6 oc2 f3\nlong,b1 ic4 i12 oc8 f3 p1\nnever,b1 ic4 i13 oc8 f3 p1\n");
    Arguments compare = {"compare", "--shapes", folder / "shapes.csv", "--sweep", "none", "--algorithms", "direct,im2col", "--threads", "1", "--min-time", "1", "--out", folder / "out"};
    for (const int signal : {SIGINT, SIGTERM}) {
        std::filesystem::remove_all(folder / "out");
        const Outcome outcome = signalled(compare, signal, [&](const std::string &) { return has(read_bytes(results), "short"); });
        ASSERT_TRUE(exits_with(1, outcome, {"interrupted; 1 of 3 problems", results}));
        EXPECT_EQ(lines_of(read_bytes(results)).size(), 3u) << "a line of names, and two algorithms";
        EXPECT_TRUE(has(read_bytes(folder / "out/index.html"), "short"));
        EXPECT_FALSE(has(read_bytes(folder / "out/index.html"), "never"));
        EXPECT_TRUE(says(outcome, "1 problems in")) << outcome.out;
        EXPECT_TRUE(exits_with(0, fourfold_command({"compare", "--results", results, "--out", folder / "again"})));
    }
    std::filesystem::remove_all(folder / "out");
    const Outcome early = signalled(compare, SIGINT, [&](const std::string &out) { return has(out, "\n"); });
    ASSERT_TRUE(exits_with(1, early, {"interrupted before the first problem was measured"}));
    EXPECT_FALSE(std::filesystem::exists(results));
}

TEST(Compare, APlotThatCannotBeWrittenCostsNothingElse) {
    const TemporaryFolder folder;
    std::filesystem::create_directories(folder / "out/svg/roofline.svg");
    const Outcome outcome = fourfold_command({"compare", "--problem", "b1 ic2 i6 oc2 f3", "--sweep", "b=1:2", "--algorithms", "direct", "--threads", "1", "--quick", "--out", folder / "out"});
    ASSERT_TRUE(exits_with(1, outcome, {"roofline.svg", "directory"}));
    EXPECT_TRUE(has(read_bytes(folder / "out/results.csv"), "i6x6"));
    EXPECT_TRUE(has(read_bytes(folder / "out/index.html"), "</html>"));
    EXPECT_TRUE(has(read_bytes(folder / "out/svg/sweep_b.svg"), "</svg>"));
    EXPECT_TRUE(says(outcome, "results.csv")) << outcome.out;
}

}  // namespace
}  // namespace fourfold::test
