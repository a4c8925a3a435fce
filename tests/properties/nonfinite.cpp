// How far NaN and infinity spread, as the README promises.
#include <array>
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

const char *const kGradientProblems[] = {"b2 ic1 i64x70 oc1 f5 p2", "b2 ic3 i80 oc5 f3 p1", "b2 ic2 i64 oc2 f7 p3 g2", "b2 ic20 i96 oc40 f3 p1 s2", "b2 ic20 i40 oc24 f3 p1 g2 nhwc"};
constexpr float kBad[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()};

/// Runs, and expects every element finite that `may` (of its four indices) does not allow otherwise; `shows` is one that must show it.
template<typename May>
void expect_spread(Algorithm algorithm, Operands &operands, const std::array<int64_t, 4> &shows, const May &may) {
    PlanOptions options;
    options.algorithm = algorithm;
    options.threads = 1;
    const Status status = run_plan(options, operands);
    ASSERT_TRUE(status.ok()) << status.message();
    const std::array<int64_t, 4> &sizes = operands.output.sizes();
    for (int64_t a = 0; a < sizes[0]; a++) {
        for (int64_t b = 0; b < sizes[1]; b++) {
            for (int64_t c = 0; c < sizes[2]; c++) {
                for (int64_t d = 0; d < sizes[3]; d++) {
                    ASSERT_TRUE(may(a, b, c, d) || std::isfinite(operands.output(a, b, c, d))) << to_string(algorithm) << " reached " << a << "," << b << "," << c << "," << d << " of " << operands.to_string();
                }
            }
        }
    }
    EXPECT_FALSE(std::isfinite(operands.output(shows[0], shows[1], shows[2], shows[3]))) << to_string(algorithm) << ", " << operands.to_string();
}

/// Every algorithm that does the problem, with one bad value put where `spoil` says.
template<typename Spoil, typename Expect>
void for_every_algorithm(const Conv2dProblem &p, const Spoil &spoil, const Expect &expect) {
    for (Algorithm algorithm : kAlgorithms) {
        if (refuses(algorithm, p) || (p.moves_columns() && algorithm != Algorithm::kNaive && algorithm != Algorithm::kIm2col)) {
            continue;
        }
        for (float bad : kBad) {
            Operands operands(p, test_seed());
            spoil(operands, bad);
            expect(algorithm, operands);
        }
    }
}

TEST(NonFinite, DataGradientsSpreadAsTheForwardDoes) {
    for (const char *text : kGradientProblems) {
        const Conv2dProblem p = gradient_of(parse_problem(text), Operation::kBackwardData);
        const int64_t row = p.out_height() / 2, column = p.out_width() / 2;
        for_every_algorithm(
            p, [&](Operands &o, float bad) { o.grad_output(0, 0, row, column) = bad; },
            [&](Algorithm algorithm, Operands &o) {
                const int64_t more = reach(algorithm, p.out_channels == p.groups);
                // Pixels i = out*stride - pad + tap read it; the others of its phase are a stride apart.
                const auto near = [&](int64_t i, int64_t out, int64_t stride, int64_t pad, int64_t filter) {
                    const int64_t first = out * stride - pad;
                    return more < 0 || (first - more * stride <= i && i < first + filter + more * stride);
                };
                expect_spread(algorithm, o, {0, 0, row * p.stride_h, column * p.stride_w}, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
                    return n == 0 && c < p.in_channels / p.groups && near(y, row, p.stride_h, p.pad_top, p.filter_height) && near(x, column, p.stride_w, p.pad_left, p.filter_width);
                });
            });
    }
}

TEST(NonFinite, FilterGradientsKeepToTheFiltersOfTheChannel) {
    for (const char *text : kGradientProblems) {
        const Conv2dProblem p = gradient_of(parse_problem(text), Operation::kBackwardFilters);
        const int64_t outputs = p.out_channels / p.groups, middle = p.filter_height / 2;
        for_every_algorithm(
            p, [&](Operands &o, float bad) { o.input(0, 0, p.in_height / 2, p.in_width / 2) = bad; },
            [&](Algorithm algorithm, Operands &o) { expect_spread(algorithm, o, {0, 0, middle, middle}, [&](int64_t k, int64_t c, int64_t, int64_t) { return k < outputs && c == 0; }); });
        for_every_algorithm(
            p, [&](Operands &o, float bad) { o.grad_output(0, 0, p.out_height() / 2, p.out_width() / 2) = bad; },
            [&](Algorithm algorithm, Operands &o) {
                expect_spread(algorithm, o, {0, 0, middle, middle}, [](int64_t k, int64_t, int64_t, int64_t) { return k == 0; });
                const auto *bias = reinterpret_cast<const float *>(o.bias.data());
                for (int64_t k = 0; k < p.out_channels; k++) {
                    EXPECT_EQ(std::isfinite(bias[k]), k != 0) << to_string(algorithm) << ", bias gradient " << k << " of " << o.to_string();
                }
            });
    }
}

TEST(NonFinite, AFilterReachesItsOutputChannel) {
    for (const char *text : kGradientProblems) {
        const Conv2dProblem p = parse_problem(text);
        for_every_algorithm(
            p, [&](Operands &o, float bad) { o.filters(0, 0, p.filter_height / 2, p.filter_width / 2) = bad; },
            [&](Algorithm algorithm, Operands &o) { expect_spread(algorithm, o, {0, 0, p.out_height() / 2, p.out_width() / 2}, [](int64_t, int64_t k, int64_t, int64_t) { return k == 0; }); });
    }
}

TEST(NonFinite, UnfoldAndFoldMoveIt) {
    const Conv2dProblem forward = parse_problem("b2 ic3 i20x23 f3 p1");
    const Conv2dProblem unfold = gradient_of(forward, Operation::kUnfold), fold = gradient_of(forward, Operation::kFold);
    // Pixel (9, 11) of channel 1 is read by tap (r, s) of the output pixel (10 - r, 12 - s).
    for_every_algorithm(
        unfold, [](Operands &o, float bad) { o.input(0, 1, 9, 11) = bad; },
        [](Algorithm algorithm, Operands &o) {
            expect_spread(algorithm, o, {0, 1, 4, 9 * 23 + 11}, [](int64_t n, int64_t c, int64_t tap, int64_t pixel) { return n == 0 && c == 1 && pixel == (10 - tap / 3) * 23 + 12 - tap % 3; });
        });
    for_every_algorithm(
        fold, [](Operands &o, float bad) { o.input(0, 1, 4, 9 * 23 + 11) = bad; },
        [](Algorithm algorithm, Operands &o) { expect_spread(algorithm, o, {0, 1, 9, 11}, [](int64_t n, int64_t c, int64_t y, int64_t x) { return n == 0 && c == 1 && y == 9 && x == 11; }); });
}

}  // namespace
}  // namespace fourfold::test
