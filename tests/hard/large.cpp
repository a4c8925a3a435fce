// Tensors of more than 2^31 elements: what 32-bit indices would get wrong.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <sys/mman.h>

#include "fourfold/fourfold.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

/// Zeros that take memory only where they are written: pages that are read alone are all the same one.
class Zeros {
public:
    explicit Zeros(int64_t elements)
        : bytes_(static_cast<size_t>(elements) * sizeof(float)) {
        void *mapping = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        data_ = mapping == MAP_FAILED ? nullptr : static_cast<float *>(mapping);
    }
    ~Zeros() {
        if (data_ != nullptr) {
            munmap(data_, bytes_);
        }
    }
    Zeros(const Zeros &) = delete;
    Zeros &operator=(const Zeros &) = delete;
    float *data() const {
        return data_;
    }

private:
    size_t bytes_;
    float *data_;
};

/// Of memory that could be had now, in GiB; 0 where /proc does not say.
double available_gib() {
    std::ifstream file("/proc/meminfo");
    for (std::string line; std::getline(file, line);) {
        long kib = 0;
        if (std::sscanf(line.c_str(), "MemAvailable: %ld kB", &kib) == 1) {
            return static_cast<double>(kib) / (1 << 20);
        }
    }
    return 0.0;
}

/// 33 images of 2^26 pixels: 2.2e9 elements.
constexpr const char *kProblem = "b33 ic1 i8192 oc1 f3 s4 p1";

/// Some pixels of the large tensor: its first and last, those around the 2^31st element, others at random.
std::vector<int64_t> some_elements(const Conv2dProblem &p) {
    const int64_t elements = p.input_elements(), row = p.in_width;
    std::vector<int64_t> at;
    for (int64_t around : {int64_t{0}, int64_t{1} << 29, int64_t{1} << 30, int64_t{1} << 31, elements - 1}) {
        for (int64_t offset : {-row, int64_t{-3}, int64_t{-1}, int64_t{0}, int64_t{2}, row + 1}) {
            if (around + offset >= 0 && around + offset < elements) {
                at.push_back(around + offset);
            }
        }
    }
    Random random(test_seed());
    for (int i = 0; i < 1000; i++) {
        at.push_back(random.between(0, elements - 1));
    }
    return at;
}

constexpr float kTaps[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

struct Buffers {
    AlignedBuffer packed, workspace;
};

Result<Plan> make(const Conv2dProblem &p, Algorithm algorithm, Buffers &buffers) {
    PlanOptions options;
    options.algorithm = algorithm;
    Result<Plan> plan = Plan::create(p, options);
    if (plan.ok()) {
        buffers.packed = AlignedBuffer(plan->packed_filter_bytes());
        buffers.workspace = AlignedBuffer(plan->workspace_bytes_unpacked());
        const Status status = plan->pack_filters(kTaps, buffers.packed, buffers.workspace);
        if (!status.ok()) {
            return status;
        }
    }
    return plan;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // the shadow of such a tensor takes too much memory
#else
constexpr bool kSanitized = false;
#endif

class Large : public ::testing::TestWithParam<Algorithm> {};

TEST_P(Large, InputOfMoreThan2To31Elements) {
    const Conv2dProblem p = parse_problem(kProblem);
    ASSERT_GT(p.input_elements(), int64_t{1} << 31);
    const Zeros x(p.input_elements()), y(p.output_elements());
    if (kSanitized || x.data() == nullptr || y.data() == nullptr) {
        GTEST_SKIP() << (kSanitized ? "the sanitizer's shadow of the tensor takes too much memory" : "this process may not address 9 GB");
    }
    // Sums of small integers: exact.
    std::map<int64_t, float> expected;
    const int64_t o0 = p.out_height(), o1 = p.out_width();
    for (int64_t at : some_elements(p)) {
        const int64_t image = at / (p.in_height * p.in_width), row = at / p.in_width % p.in_height, column = at % p.in_width;
        const float value = static_cast<float>(at % 5 + 1), more = value - x.data()[at];
        x.data()[at] = value;
        for (int64_t r = 0; r < 3; r++) {
            for (int64_t s = 0; s < 3; s++) {
                // row = out*4 - 1 + r
                if ((row + 1 - r) % 4 == 0 && (column + 1 - s) % 4 == 0 && row + 1 >= r && column + 1 >= s && (row + 1 - r) / 4 < o0 && (column + 1 - s) / 4 < o1) {
                    expected[(image * o0 + (row + 1 - r) / 4) * o1 + (column + 1 - s) / 4] += more * kTaps[r * 3 + s];
                }
            }
        }
    }
    Buffers buffers;
    const Result<Plan> plan = make(p, GetParam(), buffers);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    const float bias = 0.5f;
    Tensors t;
    t.input = x.data();
    t.filters = buffers.packed;
    t.bias = &bias;
    t.output = y.data();
    const Status status = plan->execute(t, buffers.workspace);
    ASSERT_TRUE(status.ok()) << status.message();
    for (const auto &[at, value] : expected) {
        ASSERT_EQ(y.data()[at], value + bias) << "output " << at;
        y.data()[at] = bias;
    }
    int64_t wrong = 0;
    for (int64_t i = 0; i < p.output_elements(); i++) {
        wrong += y.data()[i] != bias;
    }
    EXPECT_EQ(wrong, 0) << "outputs that read nothing but zeros";
}

std::string algorithm_name(const ::testing::TestParamInfo<Algorithm> &info) {
    return to_string(info.param);
}
INSTANTIATE_TEST_SUITE_P(Algorithms, Large, ::testing::Values(Algorithm::kAuto, Algorithm::kDirect, Algorithm::kIm2col), algorithm_name);

TEST(LargeOutput, OfMoreThan2To31Elements) {
    const Conv2dProblem p = gradient_of(parse_problem(kProblem), Operation::kBackwardData);
    if (kSanitized || available_gib() < 16.0) {
        GTEST_SKIP() << "needs 16 GiB of available memory and no sanitizer; there are " << available_gib();
    }
    const Zeros gy(p.output_elements()), gx(p.input_elements());
    ASSERT_TRUE(gy.data() != nullptr && gx.data() != nullptr);
    // Each pixel of gx has at most one output position that reads it through each tap.
    const auto gradient_at = [](int64_t i) { return static_cast<float>((i * 2654435761) % 7); };
    for (int64_t i = 0; i < p.output_elements(); i++) {
        gy.data()[i] = gradient_at(i);
    }
    Buffers buffers;
    const Result<Plan> plan = make(p, Algorithm::kAuto, buffers);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    Tensors t;
    t.grad_output = gy.data();
    t.filters = buffers.packed;
    t.grad_input = gx.data();
    const Status status = plan->execute(t, buffers.workspace);
    ASSERT_TRUE(status.ok()) << status.message();
    const int64_t o0 = p.out_height(), o1 = p.out_width();
    for (int64_t at : some_elements(p)) {
        const int64_t image = at / (p.in_height * p.in_width), row = at / p.in_width % p.in_height, column = at % p.in_width;
        float expected = 0.0f;
        for (int64_t r = 0; r < 3; r++) {
            for (int64_t s = 0; s < 3; s++) {
                if ((row + 1 - r) % 4 == 0 && (column + 1 - s) % 4 == 0 && row + 1 >= r && column + 1 >= s && (row + 1 - r) / 4 < o0 && (column + 1 - s) / 4 < o1) {
                    expected += kTaps[r * 3 + s] * gradient_at((image * o0 + (row + 1 - r) / 4) * o1 + (column + 1 - s) / 4);
                }
            }
        }
        ASSERT_EQ(gx.data()[at], expected) << "element " << at;
    }
}

}  // namespace
}  // namespace fourfold::test
