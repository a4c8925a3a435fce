// How far NaN and infinity spread, as docs/numerics.md promises.
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "support/problems.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

/// Rows and columns beyond those that read the value, within which it may spread; negative: the whole plane.
struct Reach {
    int64_t rows, columns;
};

Reach reach(Algorithm algorithm, bool one_channel) {
    switch (algorithm) {
    case Algorithm::kDirect:
        return {11, 0};  // the other rows of a row block, at most m = 12 together; lanes are of one column each
    case Algorithm::kFftTiled:
        return one_channel ? Reach{239, 239} : Reach{47, 47};  // the tile, at most 48, or 240 where there is no sum over channels
    case Algorithm::kWinograd:
        return {6, 6};  // the tile of 7; its last row may be one that a phase with fewer taps reads for the next tile only
    case Algorithm::kFft:
        return {-1, -1};
    default:
        return {0, 0};
    }
}

/// Whether output row (or column) `out` reads `at`, or would if it were up to `more` further on.
bool near(int64_t out, int64_t stride, int64_t pad, int64_t filter, int64_t at, int64_t more) {
    const int64_t first = out * stride - pad;
    return more < 0 || (first - more * stride <= at && at < first + filter + more * stride);
}

constexpr float kBad[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()};

/// Expects every element finite that `may` (of its four indices) does not allow otherwise, and `shows` to show it.
template<typename May>
void expect_within(const Array &result, const std::array<int64_t, 4> &shows, const std::string &what, const May &may) {
    const std::array<int64_t, 4> &sizes = result.sizes();
    for (int64_t a = 0; a < sizes[0]; a++) {
        for (int64_t b = 0; b < sizes[1]; b++) {
            for (int64_t c = 0; c < sizes[2]; c++) {
                for (int64_t d = 0; d < sizes[3]; d++) {
                    ASSERT_TRUE(may(a, b, c, d) || std::isfinite(result(a, b, c, d))) << what << " reached " << a << "," << b << "," << c << "," << d;
                }
            }
        }
    }
    EXPECT_FALSE(std::isfinite(result(shows[0], shows[1], shows[2], shows[3]))) << what;
}

TEST(NonFinite, SpreadsNoFurtherThanPromised) {
    for (const char *text : {"b2 ic1 i64x70 oc1 f5 p2", "b2 ic3 i80 oc5 f3 p1", "b2 ic2 i64 oc2 f7 p3 g2", "b2 ic20 i96 oc40 f3 p1 s2"}) {
        const Conv2dProblem p = parse_problem(text);
        for (Algorithm algorithm : kAlgorithms) {
            if (refuses(algorithm, p)) {
                continue;
            }
            for (float bad : kBad) {
                Operands operands(p, test_seed());
                const int64_t row = p.in_height / 2, column = p.in_width / 2;
                operands.input(0, 0, row, column) = bad;
                PlanOptions options;
                options.algorithm = algorithm;
                options.threads = 1;
                const Status status = run_plan(options, operands, {});
                ASSERT_TRUE(status.ok()) << status.message();
                const Reach more = reach(algorithm, p.in_channels == p.groups);
                expect_within(operands.output, {0, 0, row / p.stride_h, column / p.stride_w}, std::string(to_string(algorithm)) + ", " + operands.to_string(), [&](int64_t n, int64_t k, int64_t y, int64_t x) {
                    return n == 0 && k < p.out_channels / p.groups && near(y, p.stride_h, p.pad_top, p.filter_height, row, more.rows) && near(x, p.stride_w, p.pad_left, p.filter_width, column, more.columns);
                });
            }
        }
    }
}

const char *const kGradientProblems[] = {"b2 ic1 i64x70 oc1 f5 p2", "b2 ic3 i80 oc5 f3 p1", "b2 ic2 i64 oc2 f7 p3 g2", "b2 ic20 i96 oc40 f3 p1 s2", "b2 ic20 i40 oc24 f3 p1 g2 nhwc"};
/// Runs, and expects every element finite that `may` (of its four indices) does not allow otherwise; `shows` is one that must show it.
template<typename May>
void expect_spread(Algorithm algorithm, Operands &operands, const std::array<int64_t, 4> &shows, const May &may) {
    PlanOptions options;
    options.algorithm = algorithm;
    options.threads = 1;
    const Status status = run_plan(options, operands);
    ASSERT_TRUE(status.ok()) << status.message();
    expect_within(operands.output, shows, std::string(to_string(algorithm)) + ", " + operands.to_string(), may);
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
                const Reach more = reach(algorithm, p.out_channels == p.groups);
                // Pixels i = out*stride - pad + tap read it; the others of its phase are a stride apart.
                expect_spread(algorithm, o, {0, 0, row * p.stride_h, column * p.stride_w}, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
                    return n == 0 && c < p.in_channels / p.groups && near(row, p.stride_h, p.pad_top, p.filter_height, y, more.rows) && near(column, p.stride_w, p.pad_left, p.filter_width, x, more.columns);
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

TEST(NonFinite, TwoPassesAddRowsOnly) {
    for (const char *text : {"b2 ic1 i64x70 oc1 f5 p2", "b1 ic2 i90x80 oc2 f15x31 p7,7,15,15 g2", "b2 ic3 i50x60 oc3 f7x9 p3,3,4,4 g3 nhwc", "b1 ic2 i80x60 oc2 f6x4 s2x3 d2 g2"}) {
        const Conv2dProblem p = parse_problem(text);
        const int64_t row = p.in_height / 2, column = p.in_width / 2, taps_h = p.dilation_h * (p.filter_height - 1) + 1, taps_w = p.dilation_w * (p.filter_width - 1) + 1;
        for (float bad : kBad) {
            Operands operands(p, test_seed());
            operands.filters.fill(0.25f);
            const Result<SeparablePlan> plan = SeparablePlan::create(p, operands.filters.view());
            ASSERT_TRUE(plan.ok()) << plan.status().message();
            const AlignedBuffer workspace(plan->workspace_bytes());
            operands.input(0, 0, row, column) = bad;
            ASSERT_TRUE(plan->execute(operands.tensors(), workspace).ok());
            const int64_t more = reach(Algorithm::kDirect, true).rows;
            expect_within(operands.output, {0, 0, row / p.stride_h, column / p.stride_w}, text, [&](int64_t n, int64_t k, int64_t y, int64_t x) {
                return n == 0 && k == 0 && near(y, p.stride_h, p.pad_top, taps_h, row, more) && near(x, p.stride_w, p.pad_left, taps_w, column, 0);
            });
        }
    }
}

TEST(NonFinite, SpectralProductsKeepToTheFrequency) {
    using Numbers = std::vector<Complex>;
    // Channel-first also where spectra lie, by each variant, whatever would be chosen.
    std::vector<std::pair<SpectralOrder, std::string>> ways = {{SpectralOrder::kBijc, ""}, {SpectralOrder::kBcij, ""}};
    for (const VariantInfo &v : list_variants()) {
        if (v.stage == "complex_multiply" && v.isa == machine().isa) {
            ways.emplace_back(SpectralOrder::kBcij, v.name);
        }
    }
    ASSERT_GT(ways.size(), 2u);
    for (const auto &[order, variant] : ways) {
        for (const Operation operation : {Operation::kForward, Operation::kBackwardData, Operation::kBackwardFilters}) {
            SpectralProblem p;
            p.operation = operation;
            p.batch = 3;
            p.in_channels = 5;
            p.out_channels = 18;
            p.height = 4;
            p.half_width = 5;
            p.order = order;
            const Result<SpectralPlan> plan = SpectralPlan::create(p, {0, variant});
            ASSERT_TRUE(plan.ok()) << plan.status().message();
            const int64_t f = p.frequencies(), ic = p.in_channels, oc = p.out_channels, middle = f / 2;
            const bool last = p.order == SpectralOrder::kBijc;
            const auto x_at = [&](int64_t n, int64_t c, int64_t i) { return static_cast<size_t>(last ? (n * f + i) * ic + c : (n * ic + c) * f + i); };
            const auto y_at = [&](int64_t n, int64_t k, int64_t i) { return static_cast<size_t>(last ? (n * f + i) * oc + k : (n * oc + k) * f + i); };
            const auto w_at = [&](int64_t k, int64_t c, int64_t i) { return static_cast<size_t>(last ? (i * ic + c) * oc + k : (k * ic + c) * f + i); };
            // Each operand spoilt at image or output channel 0, channel 0 and the middle frequency.
            for (const char spoilt : {'x', 'w', 'y'}) {
                const char result = operation == Operation::kForward ? 'y' : operation == Operation::kBackwardData ? 'x' : 'w';
                if (spoilt == result) {
                    continue;
                }
                Numbers x(static_cast<size_t>(p.batch * ic * f), {0.5f, 0.25f}), w(static_cast<size_t>(oc * ic * f), {0.5f, -0.25f}), y(static_cast<size_t>(p.batch * oc * f), {-0.5f, 0.25f});
                (spoilt == 'x' ? x[x_at(0, 0, middle)] : spoilt == 'w' ? w[w_at(0, 0, middle)] : y[y_at(0, 0, middle)]) = {kBad[0], kBad[1]};
                SpectralTensors t;
                if (result == 'y') {
                    t.input = x.data();
                    t.filters = w.data();
                    t.output = y.data();
                } else if (result == 'x') {
                    t.grad_output = y.data();
                    t.filters = w.data();
                    t.grad_input = x.data();
                } else {
                    t.input = x.data();
                    t.grad_output = y.data();
                    t.grad_filters = w.data();
                }
                const AlignedBuffer workspace(plan->workspace_bytes_unpacked());
                const Status status = plan->execute(t, workspace);
                ASSERT_TRUE(status.ok()) << status.message();
                // Images are kept apart by x and y, channels by what carries their index.
                for (int64_t i = 0; i < f; i++) {
                    for (int64_t n = 0; n < (result == 'w' ? 1 : p.batch); n++) {
                        for (int64_t c = 0; c < (result == 'y' ? 1 : ic); c++) {
                            for (int64_t k = 0; k < (result == 'x' ? 1 : oc); k++) {
                                const Complex value = result == 'y' ? y[y_at(n, k, i)] : result == 'x' ? x[x_at(n, c, i)] : w[w_at(k, c, i)];
                                const bool reads = i == middle && (spoilt == 'w' || result == 'w' || n == 0) && (spoilt == 'y' || result == 'y' || c == 0) && (spoilt == 'x' || result == 'x' || k == 0);
                                ASSERT_EQ(!std::isfinite(value.real()) || !std::isfinite(value.imag()), reads)
                                    << p.to_string() << " " << plan->variant() << ", " << spoilt << " spoilt: image " << n << ", channel " << c << ", output channel " << k << ", frequency " << i;
                            }
                        }
                    }
                }
            }
        }
    }
}

TEST(NonFinite, TrainingStepsSpreadOverThePlanesOfImageAndGroup) {
    for (const char *text : {"b2 ic4 i20x23 oc6 f5 p2 g2", "b3 ic5 i17 oc5 f3 p1 g5", "b2 ic3 i24 oc9 f3 s2 p1 nhwc"}) {
        const Conv2dProblem p = parse_problem(text);
        const Result<TrainingPlan> plan = TrainingPlan::create(p);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        const int64_t outputs = p.out_channels / p.groups, channels = p.in_channels / p.groups;
        for (const char spoilt : {'x', 'w', 'y'}) {
            for (float bad : kBad) {
                Operands forward(p, test_seed()), data(gradient_of(p, Operation::kBackwardData), test_seed()), filters(gradient_of(p, Operation::kBackwardFilters), test_seed());
                (spoilt == 'x' ? forward.input : spoilt == 'w' ? forward.filters : data.grad_output)(0, 0, 1, 1) = bad;
                const AlignedBuffer x(plan->input_spectra_bytes()), w(plan->filter_spectra_bytes()), g(plan->gradient_spectra_bytes()), workspace(plan->workspace_bytes());
                const auto read = [](const AlignedBuffer &b) { return ConstMemoryBlock{b.data(), b.bytes()}; };
                auto *const grad_bias = reinterpret_cast<float *>(filters.bias.data());
                ASSERT_TRUE(plan->transform_input(forward.input.view(), 1, x, workspace).ok());
                ASSERT_TRUE(plan->transform_filters(forward.filters.view(), 1, w, workspace).ok());
                ASSERT_TRUE(plan->transform_gradient(data.grad_output.view(), 1, g, workspace).ok());
                ASSERT_TRUE(plan->forward(read(x), read(w), forward.tensors().bias, forward.output.mutable_view(), workspace).ok());
                ASSERT_TRUE(plan->backward_data(read(g), read(w), data.output.mutable_view(), workspace).ok());
                ASSERT_TRUE(plan->backward_filters(read(x), read(g), filters.output.mutable_view(), grad_bias, workspace).ok());
                const std::string what = std::string(text) + ", " + spoilt + " spoilt";
                const auto all_finite = [](const Array &a) {
                    for (float v : a.values()) {
                        if (!std::isfinite(v)) {
                            return false;
                        }
                    }
                    return true;
                };
                if (spoilt == 'y') {
                    EXPECT_TRUE(all_finite(forward.output)) << what;
                } else {
                    expect_within(forward.output, {0, 0, 0, 0}, what + ": y", [&](int64_t n, int64_t k, int64_t, int64_t) { return spoilt == 'x' ? n == 0 && k < outputs : k == 0; });
                }
                if (spoilt == 'x') {
                    EXPECT_TRUE(all_finite(data.output)) << what;
                } else {
                    expect_within(data.output, {0, 0, 0, 0}, what + ": gx", [&](int64_t n, int64_t c, int64_t, int64_t) { return spoilt == 'y' ? n == 0 && c < channels : c == 0; });
                }
                if (spoilt == 'w') {
                    EXPECT_TRUE(all_finite(filters.output)) << what;
                } else {
                    expect_within(filters.output, {0, 0, 0, 0}, what + ": gw", [&](int64_t k, int64_t c, int64_t, int64_t) { return spoilt == 'x' ? k < outputs && c == 0 : k == 0; });
                }
                for (int64_t k = 0; k < p.out_channels; k++) {
                    EXPECT_EQ(std::isfinite(grad_bias[k]), spoilt != 'y' || k != 0) << what << ": bias gradient " << k;
                }
            }
        }
    }
}

}  // namespace
}  // namespace fourfold::test
