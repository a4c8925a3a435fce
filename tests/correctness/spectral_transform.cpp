// SpectralTransform against a double-precision DFT, and transform, product and inverse against a circular convolution.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "reference/conv2d.h"
#include "support/buffers.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

using Wide = std::complex<double>;
using Numbers = std::vector<Complex>;

constexpr SpectralOrder kOrders[] = {SpectralOrder::kBijc, SpectralOrder::kBcij};
constexpr int64_t kSizes[][2] = {{1, 1}, {1, 2}, {2, 1}, {2, 2}, {5, 7}, {7, 4}, {1, 13}, {13, 1}, {27, 15}, {9, 16}, {16, 9}, {28, 28}, {30, 50}};

/// exp(sign 2 pi i k/n).
Wide turn(int64_t k, int64_t n, double sign) {
    return std::polar(1.0, sign * 2.0 * M_PI * static_cast<double>(k % n) / static_cast<double>(n));
}

struct Sizes {
    int64_t height, width, batch, channels;
    SpectralOrder order;

    int64_t half() const {
        return width / 2 + 1;
    }
    int64_t planes() const {
        return batch * channels;
    }
    size_t at(int64_t plane, int64_t u, int64_t v) const {
        const int64_t n = plane / channels, c = plane % channels, f = u * half() + v;
        return static_cast<size_t>(order == SpectralOrder::kBcij ? (n * channels + c) * height * half() + f : (n * height * half() + f) * channels + c);
    }
    std::string to_string() const {
        return std::to_string(batch) + "x" + std::to_string(channels) + " planes of " + std::to_string(height) + "x" + std::to_string(width) + ", " + fourfold::to_string(order);
    }
};

/// The spectrum of one plane, (u, v).
std::vector<Wide> dft(const float *plane, int64_t height, int64_t width) {
    const int64_t half = width / 2 + 1;
    std::vector<Wide> rows(static_cast<size_t>(height * half)), all(rows.size());
    for (int64_t y = 0; y < height; y++) {
        for (int64_t v = 0; v < half; v++) {
            for (int64_t x = 0; x < width; x++) {
                rows[static_cast<size_t>(y * half + v)] += static_cast<double>(plane[y * width + x]) * turn(v * x, width, -1);
            }
        }
    }
    for (int64_t u = 0; u < height; u++) {
        for (int64_t v = 0; v < half; v++) {
            for (int64_t y = 0; y < height; y++) {
                all[static_cast<size_t>(u * half + v)] += rows[static_cast<size_t>(y * half + v)] * turn(u * y, height, -1);
            }
        }
    }
    return all;
}

/// NumPy's irfft2: back along columns, then along rows the real part of the first and, of even widths, the last column.
double inverse_at(const Numbers &spectra, const Sizes &s, int64_t plane, int64_t y, int64_t x) {
    double sum = 0;
    for (int64_t v = 0; v < s.half(); v++) {
        Wide column = 0;
        for (int64_t u = 0; u < s.height; u++) {
            column += Wide(spectra[s.at(plane, u, v)]) * turn(u * y, s.height, 1);
        }
        sum += (v == 0 || 2 * v == s.width ? 1.0 : 2.0) * (column * turn(v * x, s.width, 1)).real();
    }
    return sum / static_cast<double>(s.height * s.width);
}

std::vector<float> random_floats(int64_t count, Random &random) {
    std::vector<float> data(static_cast<size_t>(count));
    for (float &v : data) {
        v = random.uniform(-1, 1);
    }
    return data;
}

/// Empty where the backend refuses the size, as KissFFT may.
std::optional<SpectralTransform> make(int64_t height, int64_t width, SpectralOrder order, SpectralTransformOptions options = {}) {
    Result<SpectralTransform> transform = SpectralTransform::create(height, width, order, options);
    if (!transform.ok()) {
        EXPECT_EQ(transform.status().code(), StatusCode::kUnsupported) << transform.status().message();
        EXPECT_NE(options.fft_backend, FftBackend::kFftw) << transform.status().message();
        return std::nullopt;
    }
    return *transform;
}

class SpectralTransforms : public ::testing::TestWithParam<FftBackend> {
protected:
    SpectralTransformOptions options(int threads = 0) const {
        SpectralTransformOptions o;
        o.threads = threads;
        o.fft_backend = GetParam();
        return o;
    }
};

TEST_P(SpectralTransforms, AreTheDftAndItsInverse) {
    Random random(test_seed());
    for (const auto &size : kSizes) {
        for (SpectralOrder order : kOrders) {
            const Sizes s = {size[0], size[1], 2, 11, order};
            const std::optional<SpectralTransform> transform = make(s.height, s.width, order, options());
            if (!transform) {
                continue;
            }
            EXPECT_EQ(transform->half_width(), s.half());
            EXPECT_EQ(transform->backend(), GetParam());
            const std::vector<float> x = random_floats(s.planes() * s.height * s.width, random);
            const double limit = 1e-6 * std::sqrt(static_cast<double>(s.height * s.width));
            for (Placement placement : kPlacements) {
                GuardedBuffer spectra(x.size() / static_cast<size_t>(s.width) * static_cast<size_t>(s.half()) * sizeof(Complex), alignof(Complex), placement);
                GuardedBuffer workspace(transform->workspace_bytes(), kAlignment, placement), back(x.size() * sizeof(float), alignof(float), placement);
                auto *const spectrum = reinterpret_cast<Complex *>(spectra.data());
                auto *const y = reinterpret_cast<float *>(back.data());
                Status status = transform->forward(x.data(), s.batch, s.channels, spectrum, workspace.block());
                ASSERT_TRUE(status.ok()) << status.message();
                status = transform->inverse(spectrum, s.batch, s.channels, y, workspace.block());
                ASSERT_TRUE(status.ok()) << status.message();
                ASSERT_TRUE(spectra.intact() && workspace.intact() && back.intact()) << s.to_string();
                for (int64_t plane : {int64_t{0}, int64_t{9}, s.planes() - 1}) {
                    const std::vector<Wide> expected = dft(x.data() + plane * s.height * s.width, s.height, s.width);
                    double worst = 0;
                    for (int64_t u = 0; u < s.height; u++) {
                        for (int64_t v = 0; v < s.half(); v++) {
                            const double error = std::abs(Wide(spectrum[s.at(plane, u, v)]) - expected[static_cast<size_t>(u * s.half() + v)]);
                            worst = error <= worst ? worst : error;
                        }
                    }
                    EXPECT_LE(worst, limit) << s.to_string() << ", plane " << plane;
                }
                for (size_t i = 0; i < x.size(); i++) {
                    ASSERT_NEAR(y[i], x[i], 1e-6) << s.to_string() << ", element " << i;
                }
            }
        }
    }
}

TEST_P(SpectralTransforms, InverseOfAnySpectrumIsNumPys) {
    Random random(test_seed());
    for (const auto &size : kSizes) {
        for (SpectralOrder order : kOrders) {
            const Sizes s = {size[0], size[1], 1, 3, order};
            const std::optional<SpectralTransform> transform = make(s.height, s.width, order, options());
            if (!transform) {
                continue;
            }
            Numbers spectra(static_cast<size_t>(s.planes() * s.height * s.half()));
            for (Complex &v : spectra) {
                const float re = random.uniform(-1, 1);
                v = {re, random.uniform(-1, 1)};
            }
            std::vector<float> y(static_cast<size_t>(s.planes() * s.height * s.width), NAN);
            const AlignedBuffer workspace(transform->workspace_bytes());
            const Status status = transform->inverse(spectra.data(), s.batch, s.channels, y.data(), workspace);
            ASSERT_TRUE(status.ok()) << status.message();
            const double limit = 2e-6 / std::sqrt(static_cast<double>(s.height * s.width));
            for (int64_t i = 0; i < s.height * s.width; i++) {
                ASSERT_NEAR(y[static_cast<size_t>(2 * s.height * s.width + i)], inverse_at(spectra, s, 2, i / s.width, i % s.width), limit) << s.to_string() << ", element " << i;
            }
        }
    }
}

TEST_P(SpectralTransforms, ProductIsTheCircularConvolution) {
    Random random(test_seed());
    for (const char *text : {"b2 ic3 i12x10 oc5 f3 p1 circular", "b3 ic9 i8x15 oc10 f3x4 p1,1,2,1 circular conv", "b1 ic2 i9x20 oc3 f5x3 d2x3 p4,4,1,5 circular",
                             "b2 ic1 i10x12 oc17 f4x5", "b1 ic4 i16 oc4 f3 p0,0,2,0 circular", "b1 ic1 i6x8 oc1 f7 p3 circular", "b1 ic2 i5x3 oc2 f1"}) {
        const Conv2dProblem p = parse_problem(text);
        const int64_t plane = p.in_height * p.in_width, taps = p.filter_height * p.filter_width, o0 = p.out_height(), o1 = p.out_width();
        for (SpectralOrder order : kOrders) {
            const std::optional<SpectralTransform> transform = make(p.in_height, p.in_width, order, options());
            if (!transform) {
                continue;
            }
            const SpectralProblem product = {Operation::kForward, p.batch, p.in_channels, p.in_height, transform->half_width(), p.out_channels, order};
            const Result<SpectralPlan> plan = SpectralPlan::create(product);
            ASSERT_TRUE(plan.ok()) << plan.status().message();
            for (Placement placement : kPlacements) {
                const auto floats = [&](int64_t count) { return GuardedBuffer(static_cast<size_t>(count) * sizeof(float), alignof(float), placement); };
                const auto numbers = [&](int64_t a, int64_t b) { return GuardedBuffer(static_cast<size_t>(a * b * product.frequencies()) * sizeof(Complex), alignof(Complex), placement); };
                const auto as_floats = [](const GuardedBuffer &buffer) { return reinterpret_cast<float *>(buffer.data()); };
                const auto as_numbers = [](const GuardedBuffer &buffer) { return reinterpret_cast<Complex *>(buffer.data()); };
                const GuardedBuffer x = floats(p.batch * p.in_channels * plane), w = floats(p.out_channels * p.in_channels * taps), y = floats(p.batch * p.out_channels * plane);
                const GuardedBuffer xs = numbers(p.batch, p.in_channels), ws = numbers(p.out_channels, p.in_channels), ys = numbers(p.batch, p.out_channels);
                const GuardedBuffer transforming(transform->workspace_bytes(), kAlignment, placement), multiplying(plan->workspace_bytes_unpacked(), kAlignment, placement);
                for (const GuardedBuffer *buffer : {&x, &w}) {
                    const std::vector<float> values = random_floats(static_cast<int64_t>(buffer->bytes() / sizeof(float)), random);
                    std::memcpy(buffer->data(), values.data(), buffer->bytes());
                }
                Status status = transform->forward(as_floats(x), p.batch, p.in_channels, as_numbers(xs), transforming.block());
                ASSERT_TRUE(status.ok()) << status.message();
                status = transform->filters(p, as_floats(w), as_numbers(ws), transforming.block());
                ASSERT_TRUE(status.ok()) << status.message();
                SpectralTensors t;
                t.input = as_numbers(xs);
                t.filters = SpectralFilters(as_numbers(ws));
                t.output = as_numbers(ys);
                status = plan->execute(t, multiplying.block());
                ASSERT_TRUE(status.ok()) << status.message();
                status = transform->inverse(as_numbers(ys), p.batch, p.out_channels, as_floats(y), transforming.block());
                ASSERT_TRUE(status.ok()) << status.message();
                for (const GuardedBuffer *buffer : {&x, &w, &y, &xs, &ws, &ys, &transforming, &multiplying}) {
                    EXPECT_TRUE(buffer->intact()) << text << ", " << to_string(placement);
                }
                const reference::View input = {as_floats(x), {p.in_channels * plane, plane, p.in_width, 1}}, filters = {as_floats(w), {p.in_channels * taps, taps, p.filter_width, 1}};
                const reference::Forward expected = reference::forward(p, input, filters, nullptr, {});
                for (int64_t i = 0; i < p.batch * p.out_channels * o0 * o1; i++) {
                    const int64_t image = i / (o0 * o1), row = i / o1 % o0, column = i % o1;
                    ASSERT_NEAR(as_floats(y)[image * plane + row * p.in_width + column], expected.y[static_cast<size_t>(i)], 2e-6 * expected.scale) << text << ", " << to_string(order) << ", element " << i;
                }
            }
        }
    }
}

TEST_P(SpectralTransforms, ThreadsChangeNoBit) {
    Random random(test_seed());
    const std::vector<float> x = random_floats(3 * 21 * 10 * 12, random);
    for (SpectralOrder order : kOrders) {
        Numbers first;
        std::vector<float> back;
        for (int threads : {1, 2, 5}) {
            const std::optional<SpectralTransform> transform = make(10, 12, order, options(threads));
            ASSERT_TRUE(transform);
            Numbers spectra(3 * 21 * 10 * 7);
            std::vector<float> y(x.size());
            const AlignedBuffer workspace(transform->workspace_bytes());
            ASSERT_TRUE(transform->forward(x.data(), 3, 21, spectra.data(), workspace).ok());
            ASSERT_TRUE(transform->inverse(spectra.data(), 3, 21, y.data(), workspace).ok());
            if (threads == 1) {
                first = spectra;
                back = y;
            }
            EXPECT_EQ(0, std::memcmp(first.data(), spectra.data(), first.size() * sizeof(Complex))) << threads;
            EXPECT_EQ(0, std::memcmp(back.data(), y.data(), y.size() * sizeof(float))) << threads;
        }
    }
}

TEST_P(SpectralTransforms, BadArguments) {
    const std::optional<SpectralTransform> transform = make(8, 12, SpectralOrder::kBijc, options());
    ASSERT_TRUE(transform);
    std::vector<float> x(2 * 3 * 96), w(5 * 3 * 9);
    Numbers spectra(2 * 3 * 56), filters(5 * 3 * 56);
    const AlignedBuffer workspace(transform->workspace_bytes());
    const auto refused = [](const Status &status, const char *word) {
        EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << word;
        EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
    };
    refused(transform->forward(nullptr, 2, 3, spectra.data(), workspace), "images is null");
    refused(transform->forward(x.data(), 2, 3, nullptr, workspace), "spectra is null");
    refused(transform->forward(x.data(), 0, 3, spectra.data(), workspace), "batch is 0");
    refused(transform->inverse(spectra.data(), 2, -3, x.data(), workspace), "channels is -3");
    refused(transform->forward(x.data(), int64_t{1} << 62, int64_t{1} << 62, spectra.data(), workspace), "memory");
    refused(transform->forward(x.data(), 2, 3, spectra.data(), MemoryBlock{}), "workspace is null");
    refused(transform->inverse(spectra.data(), 2, 3, x.data(), MemoryBlock{workspace.data(), workspace.bytes() - 1}), "workspace has");
    refused(transform->inverse(spectra.data(), 2, 3, reinterpret_cast<float *>(spectra.data()), workspace), "overlap");
    refused(transform->filters(parse_problem("b1 ic3 i8x10 oc5 f3"), w.data(), filters.data(), workspace), "8x10");
    refused(transform->filters(parse_problem("b1 ic3 i8x12 oc5 f3 s2"), w.data(), filters.data(), workspace), "stride");
    EXPECT_TRUE(transform->filters(parse_problem("b1 ic3 i8x12 oc5 f3"), w.data(), filters.data(), workspace).ok());
    for (int64_t bad : {int64_t{0}, int64_t{-1}, int64_t{1} << 40}) {
        EXPECT_EQ(SpectralTransform::create(bad, 8, SpectralOrder::kBijc, options()).status().code(), StatusCode::kInvalidArgument);
        EXPECT_EQ(SpectralTransform::create(8, bad, SpectralOrder::kBijc, options()).status().code(), StatusCode::kInvalidArgument);
    }
    EXPECT_EQ(SpectralTransform::create(8, 8, SpectralOrder::kBijc, options(-1)).status().code(), StatusCode::kInvalidArgument);
}

std::string backend_name(const ::testing::TestParamInfo<FftBackend> &info) {
    return to_string(info.param);
}
INSTANTIATE_TEST_SUITE_P(Backends, SpectralTransforms, ::testing::ValuesIn(fft_backends()), backend_name);

}  // namespace
}  // namespace fourfold::test
