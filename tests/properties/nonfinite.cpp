// How far NaN and infinity spread, as the README promises.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "support/problems.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

/// Rows and columns beyond those that read the value, within which an algorithm may spread it; negative: the whole plane.
int64_t reach(Algorithm algorithm, bool one_channel) {
    switch (algorithm) {
    case Algorithm::kDirect:
        return 11;  // the other rows of a row block, at most m = 12 together
    case Algorithm::kFftTiled:
        return one_channel ? 239 : 47;  // the tile, at most 48, or 240 where there is no sum over channels
    case Algorithm::kWinograd:
        return 5;  // the tile
    case Algorithm::kFft:
        return -1;
    default:
        return 0;
    }
}

TEST(NonFinite, SpreadsNoFurtherThanPromised) {
    for (const char *text : {"b2 ic1 i64x70 oc1 f5 p2", "b2 ic3 i80 oc5 f3 p1", "b2 ic2 i64 oc2 f7 p3 g2", "b2 ic20 i96 oc40 f3 p1 s2"}) {
        const Conv2dProblem p = parse_problem(text);
        for (Algorithm algorithm : kAlgorithms) {
            if (refuses(algorithm, p)) {
                continue;
            }
            for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
                Operands operands(p, test_seed());
                const int64_t row = p.in_height / 2, column = p.in_width / 2;
                operands.input(0, 0, row, column) = bad;
                PlanOptions options;
                options.algorithm = algorithm;
                options.threads = 1;
                const Status status = run_plan(options, operands, {});
                ASSERT_TRUE(status.ok()) << status.message();
                const int64_t more = reach(algorithm, p.in_channels == p.groups);
                const auto near = [&](int64_t out, int64_t stride, int64_t pad, int64_t filter, int64_t at) {
                    const int64_t first = out * stride - pad;
                    return more < 0 || (first - more * stride <= at && at < first + filter + more * stride);
                };
                const int64_t group_outputs = p.out_channels / p.groups;
                for (int64_t n = 0; n < p.batch; n++) {
                    for (int64_t k = 0; k < p.out_channels; k++) {
                        for (int64_t y = 0; y < p.out_height(); y++) {
                            for (int64_t x = 0; x < p.out_width(); x++) {
                                const bool may = n == 0 && k < group_outputs && near(y, p.stride_h, p.pad_top, p.filter_height, row) && near(x, p.stride_w, p.pad_left, p.filter_width, column);
                                ASSERT_TRUE(may || std::isfinite(operands.output(n, k, y, x)))
                                    << to_string(algorithm) << ", " << bad << " reached " << n << "," << k << "," << y << "," << x << " of " << operands.to_string();
                            }
                        }
                    }
                }
                // The outputs that read it show it.
                EXPECT_FALSE(std::isfinite(operands.output(0, 0, row / p.stride_h, column / p.stride_w))) << to_string(algorithm) << ", " << operands.to_string();
            }
        }
    }
}

}  // namespace
}  // namespace fourfold::test
