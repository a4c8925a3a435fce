// How the work of a plane is divided among threads: against a schedule worked out task by task.
#include "thread_split.h"

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace fourfold::test {
namespace {

/// The last thread's end, each task going to the thread that is free first.
double last_end(int threads, int64_t full, double task, int64_t partial, double last) {
    std::vector<double> ends(static_cast<size_t>(threads), 0.0);
    for (int64_t i = 0; i < full + partial; i++) {
        *std::min_element(ends.begin(), ends.end()) += i < full ? task : last;
    }
    return *std::max_element(ends.begin(), ends.end());
}

TEST(ThreadSplit, ShareOfSlowestIsNearThatOfASchedule) {
    std::mt19937 random(20261130);
    for (int i = 0; i < 2000; i++) {
        const int threads = std::uniform_int_distribution(1, 16)(random);
        const int64_t full = std::uniform_int_distribution(1, 64)(random), partial = std::uniform_int_distribution(0, 8)(random);
        const double task = std::uniform_int_distribution(1, 40)(random), last = partial > 0 ? std::max(1.0, task * std::uniform_real_distribution(0.1, 0.9)(random)) : 0.0;
        const double all = static_cast<double>(full) * task + static_cast<double>(partial) * last;
        const double share = share_of_slowest(threads, full, task, partial, last), scheduled = last_end(threads, full, task, partial, last) / all;
        SCOPED_TRACE(::testing::Message() << threads << " threads, " << full << " tasks of " << task << ", " << partial << " of " << last);
        EXPECT_GE(share, 1.0 / threads);
        // Exact where all tasks are alike, or the partial ones begin together.
        const double slack = partial == 0 || full % threads == 0 ? 0.05 : 1.05;
        EXPECT_LE(std::abs(share - scheduled), slack * task / all + 1e-12);
    }
}

TEST(ThreadSplit, OneThreadTakesAll) {
    EXPECT_NEAR(share_of_slowest(1, 7, 3.0, 1, 2.0), 1.0, 0.05 * 3.0 / 23.0 + 1e-12);
}

// 28 rows of 28 pixels in tiles of 32: strips of 3 rows, as halving 24 twice and again makes them, fill 84 of 96 lanes.
TEST(ThreadSplit, StripsThatFillTheirTilesAreTaken) {
    const auto tiles = [](int64_t rows) { return static_cast<double>((rows * 28 + 31) / 32); };
    const auto expected = [&](const ThreadSplit &s) {
        const int64_t strip = (28 + s.strips - 1) / s.strips, full = 28 / strip, rest = 28 % strip;
        const double all = static_cast<double>(full) * tiles(strip) + (rest > 0 ? tiles(rest) : 0.0);
        const double copies = 0.05 * all * static_cast<double>(s.parts);  // each part reads the strip again
        return (all + copies) * share_of_slowest(2, full * s.parts, tiles(strip) / static_cast<double>(s.parts), rest > 0 ? s.parts : 0, tiles(rest) / static_cast<double>(s.parts));
    };
    const ThreadSplit best = best_split(2, 1, 2, 28, 43, expected);
    EXPECT_LT(expected(best), 0.95 * expected({10, 1}));
    for (int64_t strips = 2; strips <= 16; strips++) {
        for (int64_t parts = 1; strips * parts <= 16; parts++) {
            EXPECT_LE(expected(best), expected({strips, parts})) << strips << " strips, " << parts << " parts";
        }
    }
}

TEST(ThreadSplit, ManyPlanesAreLeftAsTheyAre) {
    int asked = 0;
    const ThreadSplit best = best_split(2, 64, 3, 100, 8, [&](const ThreadSplit &) { return static_cast<double>(++asked); });
    EXPECT_EQ(best.strips, 3);
    EXPECT_EQ(best.parts, 1);
    EXPECT_EQ(asked, 1);
}

}  // namespace
}  // namespace fourfold::test
