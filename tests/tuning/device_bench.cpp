// The other end of candidate processes on a GPU: what it answers, and that the result which it leaves is right.
#include "device_bench.h"

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "candidate_process.h"
#include "fourfold/fourfold.h"
#include "reference.h"
#include "support/problems.h"

namespace fourfold::test {
namespace {

using cli::DeviceBench;

TEST(DeviceBenches, EveryChoiceIsReadyRightAndTimed) {
    if (const Result<DeviceInfo> info = device_info(Device::opencl()); !info) {
        GTEST_SKIP() << "skipped: " << info.status().message();
    }
    PlanOptions options;
    options.device = Device::opencl();
    for (const char *text : {"b2 ic5 i19x17 oc6 f3 p1 residual", "b1 ic4 i11 oc4 f3 s2 p1 g2 symmetric nhwc", "bwd-data b2 ic3 i12 oc5 f3 p1", "bwd-filters b2 ic3 i12 oc5 f3 p1", "unfold b2 ic3 i9 oc1 f3", "fold b2 ic3 i9 oc1 f3"}) {
        const Conv2dProblem p = parse_problem(text);
        const int64_t elements = ProblemData::result_elements(p);
        cli::SharedFloats shared(elements);
        ASSERT_NE(shared.data(), nullptr);
        DeviceBench bench(p, options.device, 3, shared.file());
        ASSERT_TRUE(bench.status().ok()) << bench.status().message();
        const std::unique_ptr<ProblemData> data = ProblemData::make(p, 3);
        const cli::Reference reference(p, cli::arrays_of(*data), 1e9);
        const Result<std::vector<Candidate>> choices = list_choices(p, options);
        ASSERT_TRUE(choices.ok() && !choices->empty()) << text;
        size_t place = 0;
        for (const Candidate &c : *choices) {
            shared.fill_nan();
            ASSERT_EQ(bench.add(c.choice), "ready") << text << ": " << c.choice;
            EXPECT_LE(reference.max_error(shared.data()), cli::error_limit(to_string(c.algorithm))) << text << ": " << c.choice;
            const std::string answer = bench.sample(place++, 1, 3);
            ASSERT_EQ(answer.rfind("time ", 0), 0u) << answer;
            EXPECT_GT(std::strtod(answer.c_str() + 5, nullptr), 0.0);
        }
        EXPECT_EQ(bench.sample(place, 0, 1).rfind("wrong ", 0), 0u);
        EXPECT_EQ(bench.add("direct abacus_opencl").rfind("refused ", 0), 0u);
    }
}

TEST(DeviceBenches, WithoutADeviceThereIsAReason) {
    const Conv2dProblem p = parse_problem("b1 ic1 i8 oc1 f3");
    const cli::SharedFloats shared(ProblemData::result_elements(p));
    const DeviceBench bench(p, Device::opencl(77), 1, shared.file());
    EXPECT_EQ(bench.status().code(), StatusCode::kUnsupported) << bench.status().message();
}

}  // namespace
}  // namespace fourfold::test
