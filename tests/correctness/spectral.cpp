// The spectral product and its gradients against a double reference, in guarded memory.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "support/buffers.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

using Wide = std::complex<double>;
using Numbers = std::vector<Complex>;

/// Where an element lies: (n, channel, frequency), or of filters (oc, ic, frequency).
struct Index {
    int64_t n, c, f;
    size_t operator()(int64_t i, int64_t channel, int64_t frequency) const {
        return static_cast<size_t>(i * n + channel * c + frequency * f);
    }
};

struct Case {
    SpectralProblem p;
    Index x, w, y;
    Numbers input, filters, output;  ///< the third is grad_output for the gradients

    /// Parts of numbers are in [least, 1].
    Case(const SpectralProblem &problem, Random &random, float least = -1)
        : p(problem) {
        const int64_t f = p.frequencies(), ic = p.in_channels, oc = p.out_channels;
        const bool last = p.order == SpectralOrder::kBijc;
        x = last ? Index{f * ic, 1, ic} : Index{f * ic, f, 1};
        y = last ? Index{f * oc, 1, oc} : Index{f * oc, f, 1};
        w = last ? Index{1, oc, ic * oc} : Index{ic * f, f, 1};
        const auto fill = [&](Numbers &data, int64_t count) {
            for (int64_t i = 0; i < count; i++) {
                const float re = random.uniform(least, 1);
                data.push_back({re, random.uniform(least, 1)});
            }
        };
        fill(input, p.batch * ic * f);
        fill(filters, ic * oc * f);
        fill(output, p.batch * oc * f);
    }

    const Numbers &before() const {
        return p.operation == Operation::kForward ? output : p.operation == Operation::kBackwardData ? input : filters;
    }

    /// The result in double, and the largest sum of magnitudes.
    std::vector<Wide> reference(double &scale) const {
        std::vector<Wide> result(before().size());
        std::vector<double> size(before().size());
        for (int64_t n = 0; n < p.batch; n++) {
            for (int64_t c = 0; c < p.in_channels; c++) {
                for (int64_t k = 0; k < p.out_channels; k++) {
                    for (int64_t f = 0; f < p.frequencies(); f++) {
                        const bool forward = p.operation == Operation::kForward, data = p.operation == Operation::kBackwardData;
                        const size_t at = forward ? y(n, k, f) : data ? x(n, c, f) : w(k, c, f);
                        const Wide a = data ? Wide(output[y(n, k, f)]) : forward ? Wide(input[x(n, c, f)]) : std::conj(Wide(input[x(n, c, f)]));
                        const Wide b = forward ? Wide(filters[w(k, c, f)]) : data ? std::conj(Wide(filters[w(k, c, f)])) : Wide(output[y(n, k, f)]);
                        result[at] += a * b;
                        size[at] += std::abs(a) * std::abs(b);
                    }
                }
            }
        }
        scale = 0;
        for (double s : size) {
            scale = std::max(scale, s);
        }
        return result;
    }

    /// The library's result, over `start`, in guarded memory.
    Numbers run(const SpectralPlan &plan, bool pack, bool accumulate, const Numbers &start, Placement placement) const {
        const auto guarded = [&](const Numbers &data) {
            GuardedBuffer buffer(data.size() * sizeof(Complex), alignof(Complex), placement);
            std::memcpy(buffer.data(), data.data(), data.size() * sizeof(Complex));
            return buffer;
        };
        GuardedBuffer a = guarded(p.operation == Operation::kBackwardData ? output : input);
        GuardedBuffer b = guarded(p.operation == Operation::kBackwardFilters ? output : filters);
        GuardedBuffer r = guarded(start);
        GuardedBuffer packed(plan.packed_filter_bytes(), kAlignment, placement);
        const auto *left = reinterpret_cast<const Complex *>(a.data()), *right = reinterpret_cast<const Complex *>(b.data());
        auto *result = reinterpret_cast<Complex *>(r.data());
        SpectralTensors t;
        t.accumulate = accumulate;
        if (p.operation == Operation::kBackwardData) {
            t.grad_output = left;
            t.grad_input = result;
        } else {
            t.input = left;
        }
        if (p.operation == Operation::kBackwardFilters) {
            t.grad_output = right;
            t.grad_filters = result;
        } else if (pack) {
            const Status status = plan.pack_filters(right, packed.block());
            EXPECT_TRUE(status.ok()) << status.message();
            t.filters = SpectralFilters(ConstMemoryBlock{packed.data(), packed.bytes()});
        } else {
            t.filters = SpectralFilters(right);
        }
        if (p.operation == Operation::kForward) {
            t.output = result;
        }
        GuardedBuffer workspace(pack ? plan.workspace_bytes() : plan.workspace_bytes_unpacked(), kAlignment, placement);
        const Status status = plan.execute(t, workspace.block());
        EXPECT_TRUE(status.ok()) << status.message();
        EXPECT_TRUE(a.intact() && b.intact() && r.intact() && packed.intact() && workspace.intact()) << p.to_string() << " " << to_string(placement);
        return Numbers(result, result + start.size());
    }
};

SpectralPlan make(const SpectralProblem &p, const SpectralOptions &options = {}) {
    Result<SpectralPlan> plan = SpectralPlan::create(p, options);
    EXPECT_TRUE(plan.ok()) << p.to_string() << ": " << plan.status().message();
    return *plan;
}

void check(const SpectralProblem &p, Random &random, const SpectralOptions &options = {}, float least = -1) {
    const Case c(p, random, least);
    const SpectralPlan plan = make(p, options);
    double scale = 0;
    const std::vector<Wide> expected = c.reference(scale);
    const Numbers nan(expected.size(), Complex(NAN, NAN));
    for (bool accumulate : {false, true}) {
        for (bool pack : {true, false}) {
            const Placement placement = kPlacements[random.between(0, 2)];
            const Numbers got = c.run(plan, pack, accumulate, accumulate ? c.before() : nan, placement);
            double worst = 0;
            for (size_t i = 0; i < got.size(); i++) {
                const double error = std::abs(Wide(got[i]) - expected[i] - (accumulate ? Wide(c.before()[i]) : 0.0));
                worst = error <= worst ? worst : error;  // keeps a NaN
            }
            EXPECT_LE(worst, 1e-6 * (scale + (accumulate ? std::sqrt(2.0) : 0.0))) << p.to_string() << (pack ? " packed" : "") << (accumulate ? " accumulating " : " ") << plan.variant() << " " << to_string(placement);
        }
    }
}

constexpr Operation kOperations[] = {Operation::kForward, Operation::kBackwardData, Operation::kBackwardFilters};
constexpr SpectralOrder kOrders[] = {SpectralOrder::kBijc, SpectralOrder::kBcij};

TEST(SpectralProduct, NamedCases) {
    Random random(test_seed());
    const int64_t sizes[][5] = {{1, 1, 1, 1, 1}, {128, 1, 4, 3, 32}, {3, 5, 7, 5, 9}, {7, 64, 3, 2, 64}, {2, 3, 1, 17, 5}, {13, 33, 5, 4, 17}, {2, 300, 2, 3, 3}, {600, 2, 1, 2, 3}, {40, 24, 9, 8, 40}};
    for (const auto &s : sizes) {
        for (Operation operation : kOperations) {
            for (SpectralOrder order : kOrders) {
                check({operation, s[0], s[1], s[2], s[3], s[4], order}, random);
            }
        }
    }
}

TEST(SpectralProduct, RandomCases) {
    const uint64_t seed = test_seed();
    SCOPED_TRACE(seed_note(seed));
    Random random(seed);
    for (int64_t i = 0; i < test_cases(60); i++) {
        check({kOperations[random.between(0, 2)], random.between(1, 20), random.between(1, 40), random.between(1, 9), random.between(1, 9), random.between(1, 40), kOrders[random.between(0, 1)]}, random);
    }
}

TEST(SpectralProduct, LongPositiveSums) {
    // Sums of 4,096 terms whose parts are positive: rounding must not grow with their number.
    Random random(test_seed());
    for (SpectralOrder order : kOrders) {
        check({Operation::kForward, 3, 4096, 2, 3, 5, order}, random, {}, 0);
        check({Operation::kBackwardData, 3, 5, 2, 3, 4096, order}, random, {}, 0);
        check({Operation::kBackwardFilters, 4096, 3, 2, 3, 5, order}, random, {}, 0);
    }
}

TEST(SpectralProduct, EveryVariant) {
    Random random(test_seed());
    std::map<std::string, int> tried;
    for (const VariantInfo &variant : list_variants()) {
        const bool planes = variant.stage == "complex_multiply";
        if ((variant.stage == "complex_gemm" || planes) && variant.isa == machine().isa) {
            tried[variant.stage]++;
            for (SpectralOrder order : kOrders) {
                if (planes && order == SpectralOrder::kBijc) {
                    EXPECT_EQ(SpectralPlan::create({Operation::kForward, 1, 1, 1, 1, 1, order}, {0, variant.name}).status().code(), StatusCode::kInvalidArgument);
                    continue;
                }
                for (Operation operation : kOperations) {
                    check({operation, 13, 9, 3, 4, 37, order}, random, {0, variant.name});
                    check({operation, 37, 23, 5, 3, 7, order}, random, {0, variant.name});
                }
            }
        }
    }
    EXPECT_GT(tried["complex_gemm"], 0) << machine().isa;
    EXPECT_GT(tried["complex_multiply"], 0) << machine().isa;
}

TEST(SpectralProduct, EveryVariantWhereSpectraLie) {
    // Less than a vector and ragged ones, all tiles ragged, sums in several parts, one channel, and blocks that the right operand is cut into.
    const int64_t sizes[][5] = {{1, 1, 1, 1, 1}, {3, 2, 1, 3, 2}, {5, 1, 9, 7, 7}, {7, 5, 28, 15, 11}, {2, 300, 3, 11, 3}, {300, 2, 3, 11, 2}, {2, 3, 3, 11, 300}, {5, 70, 9, 11, 40}};
    const uint64_t seed = test_seed();
    SCOPED_TRACE(seed_note(seed));
    Random random(seed);
    int variants = 0;
    for (const VariantInfo &variant : list_variants()) {
        if (variant.stage == "complex_multiply" && variant.isa == machine().isa) {
            variants++;
            for (const auto &s : sizes) {
                for (Operation operation : kOperations) {
                    for (int threads : {1, 3}) {
                        check({operation, s[0], s[1], s[2], s[3], s[4], SpectralOrder::kBcij}, random, {threads, variant.name});
                    }
                }
            }
        }
    }
    EXPECT_GT(variants, 0);
}

TEST(SpectralProduct, OneChannelIsReadWhereItLies) {
    for (Operation operation : kOperations) {
        const SpectralPlan plan = make({operation, 128, 1, 28, 15, 32, SpectralOrder::kBcij}, {1, ""});
        EXPECT_EQ(plan.variant().rfind("complex_multiply", 0), 0u) << plan.variant();
        EXPECT_NE(plan.describe().find("read where they lie"), std::string::npos) << plan.describe();
    }
    // A vector would have one number of a plane.
    const SpectralPlan plan = make({Operation::kForward, 128, 32, 1, 1, 64, SpectralOrder::kBcij}, {1, ""});
    EXPECT_EQ(plan.variant().rfind("complex_gemm", 0), 0u) << plan.variant();
}

double inner(const Numbers &a, const Numbers &b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); i++) {
        sum += (std::conj(Wide(a[i])) * Wide(b[i])).real();
    }
    return sum;
}

TEST(SpectralProduct, GradientsAreAdjoint) {
    const uint64_t seed = test_seed();
    SCOPED_TRACE(seed_note(seed));
    Random random(seed);
    for (int i = 0; i < 40; i++) {
        SpectralProblem p{Operation::kForward, random.between(1, 12), random.between(1, 24), random.between(1, 8), random.between(1, 8), random.between(1, 24), kOrders[i % 2]};
        Case c(p, random);
        const double forward = inner(c.output, c.run(make(p), true, false, c.output, Placement::kGuardBytes));
        const double bound = 1e-6 * static_cast<double>(p.batch * p.in_channels * p.out_channels * p.frequencies());
        c.p.operation = Operation::kBackwardData;
        EXPECT_NEAR(forward, inner(c.input, c.run(make(c.p), true, false, c.input, Placement::kGuardBytes)), bound) << p.to_string();
        c.p.operation = Operation::kBackwardFilters;
        EXPECT_NEAR(forward, inner(c.filters, c.run(make(c.p), true, false, c.filters, Placement::kGuardBytes)), bound) << p.to_string();
    }
}

TEST(SpectralProduct, ThreadsChangeNoBit) {
    Random random(test_seed());
    for (Operation operation : kOperations) {
        for (SpectralOrder order : kOrders) {
            std::vector<std::string> names = {""};
            for (const VariantInfo &variant : list_variants()) {
                if (variant.stage == "complex_multiply" && variant.isa == machine().isa && order == SpectralOrder::kBcij) {
                    names.push_back(variant.name);
                }
            }
            const Case c({operation, 19, 21, 13, 7, 35, order}, random);
            for (const std::string &name : names) {
                const Numbers one = c.run(make(c.p, {1, name}), false, false, c.before(), Placement::kGuardBytes);
                for (int threads : {2, 3, 8}) {
                    const Numbers more = c.run(make(c.p, {threads, name}), true, false, c.before(), Placement::kGuardBytes);
                    EXPECT_EQ(0, std::memcmp(one.data(), more.data(), one.size() * sizeof(Complex))) << c.p.to_string() << ", " << threads << " threads " << name;
                }
            }
        }
    }
}

TEST(SpectralProduct, RegionsOfLargerTensors) {
    // Three of five channels, of every other image.
    const SpectralProblem p{Operation::kForward, 2, 3, 2, 3, 4, SpectralOrder::kBijc};
    Random random(test_seed());
    const Case c(p, random);
    const int64_t f = p.frequencies();
    Numbers wide(static_cast<size_t>(4 * f * 5), Complex(NAN, NAN));
    for (int64_t n = 0; n < 2; n++) {
        for (int64_t q = 0; q < f; q++) {
            for (int64_t k = 0; k < 3; k++) {
                wide[static_cast<size_t>(2 * n * f * 5 + q * 5 + k)] = c.input[c.x(n, k, q)];
            }
        }
    }
    const SpectralPlan plan = make(p);
    const AlignedBuffer workspace(plan.workspace_bytes_unpacked());
    Numbers y(c.output.size());
    SpectralTensors t;
    t.input = ConstSpectrumView(wide.data(), 2 * f * 5, 1, 3 * 5, 5);
    t.filters = SpectralFilters(c.filters.data());
    t.output = y.data();
    const Status status = plan.execute(t, workspace);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(y, c.run(plan, false, false, y, Placement::kGuardBytes));

    t.input = ConstSpectrumView(wide.data(), 2 * f * 5, 1, 17, 5);
    EXPECT_EQ(plan.execute(t, workspace).code(), StatusCode::kInvalidArgument) << "a gap between rows";
    t.input = ConstSpectrumView(wide.data(), 2 * f * 5, 2, 30, 10);
    EXPECT_EQ(plan.execute(t, workspace).code(), StatusCode::kInvalidArgument) << "channels apart";
}

TEST(SpectralProduct, RegionsOfLargerTensorsChannelFirst) {
    // Of all three: the first of two planes of each channel, of three images or filters.
    Random random(test_seed());
    std::map<std::string, int> tried;
    for (const VariantInfo &variant : list_variants()) {
        if ((variant.stage != "complex_multiply" && variant.stage != "complex_gemm") || variant.isa != machine().isa) {
            continue;
        }
        tried[variant.stage]++;
        for (Operation operation : kOperations) {
            const SpectralProblem p{operation, 3, 4, 5, 7, 6, SpectralOrder::kBcij};
            const Case c(p, random);
            const int64_t f = p.frequencies();
            const auto widened = [&](const Numbers &data) {
                Numbers wide(2 * data.size(), Complex(NAN, NAN));
                for (size_t i = 0; i < data.size(); i++) {
                    wide[i / static_cast<size_t>(f) * static_cast<size_t>(2 * f) + i % static_cast<size_t>(f)] = data[i];
                }
                return wide;
            };
            const auto view = [&](auto *data, int64_t channels) { return TensorView<std::remove_pointer_t<decltype(data)>>(data, channels * 2 * f, 2 * f, 7, 1); };
            const Numbers x = widened(c.input), w = widened(c.filters), y = widened(c.output);
            Numbers wide = widened(c.before());
            const Numbers before = wide;
            const SpectralPlan plan = make(p, {1, variant.name});
            const AlignedBuffer workspace(plan.workspace_bytes_unpacked());
            SpectralTensors t;
            t.accumulate = true;
            t.input = view(x.data(), 4);
            t.filters = SpectralFilters(view(w.data(), 4));
            t.grad_output = view(y.data(), 6);
            t.output = view(wide.data(), 6);
            t.grad_input = t.grad_filters = view(wide.data(), 4);
            const Status status = plan.execute(t, workspace);
            ASSERT_TRUE(status.ok()) << status.message();
            EXPECT_EQ(wide.size(), before.size());
            const Numbers expected = c.run(plan, false, true, c.before(), Placement::kGuardBytes);
            for (size_t i = 0; i < wide.size(); i++) {
                const size_t plane = i / static_cast<size_t>(2 * f), at = i % static_cast<size_t>(2 * f);
                const bool inside = at < static_cast<size_t>(f);
                const Complex value = inside ? expected[plane * static_cast<size_t>(f) + at] : before[i];
                ASSERT_EQ(0, std::memcmp(&value, &wide[i], sizeof value)) << p.to_string() << " " << variant.name << ", element " << i;
            }
        }
    }
    EXPECT_GT(tried["complex_gemm"], 0) << machine().isa;
    EXPECT_GT(tried["complex_multiply"], 0) << machine().isa;
}

TEST(SpectralProduct, BadArguments) {
    const SpectralProblem p{Operation::kForward, 2, 3, 4, 5, 6};
    const SpectralPlan plan = make(p);
    Numbers x(120), w(360), y(240, Complex(7, 7));
    const AlignedBuffer workspace(plan.workspace_bytes_unpacked());
    AlignedBuffer packed(plan.packed_filter_bytes());
    const auto refused = [&](const SpectralTensors &t, MemoryBlock block, const char *word) {
        const Status status = plan.execute(t, block);
        EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << word;
        EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
    };
    SpectralTensors good;
    good.input = x.data();
    good.filters = SpectralFilters(w.data());
    good.output = y.data();
    SpectralTensors t = good;
    t.input = nullptr;
    refused(t, workspace, "input is null");
    t = good;
    t.filters = SpectralFilters();
    refused(t, workspace, "filters is null");
    t = good;
    t.output = x.data();
    refused(t, workspace, "overlap");
    refused(good, MemoryBlock{}, "workspace is null");
    refused(good, MemoryBlock{workspace.data(), workspace.bytes() - 1}, "workspace has");
    t.output = y.data();
    std::memset(packed.data(), 0, packed.bytes());
    t.filters = SpectralFilters(packed);
    refused(t, workspace, "no block that pack_filters wrote");
    SpectralProblem other = p;
    std::swap(other.height, other.half_width);
    ASSERT_TRUE(make(other).pack_filters(w.data(), packed).ok());
    refused(t, workspace, "another problem");
    EXPECT_EQ(y, Numbers(240, Complex(7, 7)));
    for (SpectralProblem bad : {SpectralProblem{Operation::kForward, 0}, SpectralProblem{Operation::kFold}, SpectralProblem{Operation::kForward, 1, int64_t{1} << 40, 1 << 20, 1, 1}}) {
        EXPECT_EQ(SpectralPlan::create(bad).status().code(), StatusCode::kInvalidArgument) << bad.to_string();
    }
    EXPECT_EQ(SpectralPlan::create(p, {0, "gemm_avx512_m8_n3"}).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(SpectralPlan::create(p, {-1, ""}).status().code(), StatusCode::kInvalidArgument);
}

TEST(SpectralProblem, TextReadsBack) {
    for (const char *text : {"spectral b128 ic32 i28x15 oc64", "spectral b1 ic1 i1x1 oc1 bwd-data", "spectral b2 ic3 i4x5 oc6 bwd-filters bcij"}) {
        const Result<SpectralProblem> p = SpectralProblem::parse(text);
        ASSERT_TRUE(p.ok()) << p.status().message();
        EXPECT_EQ(p->to_string(), text);
    }
    for (const char *text : {"", "spectral", "b1 ic1 i8 oc1", "spectral spectral b1", "spectral b1 ic1 i8 oc1 f3", "spectral b1 bcij bijc", "spectral b1 what", "spectral b1 s2"}) {
        EXPECT_FALSE(SpectralProblem::parse(text).ok()) << text;
    }
}

}  // namespace
}  // namespace fourfold::test
