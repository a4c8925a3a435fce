// Runs the problem of tabled.csv on so many threads, choosing for them, checks the result and prints the choice.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "fourfold/fourfold.h"

using namespace fourfold;

namespace {

std::vector<float> numbers(int64_t count, uint32_t state) {
    std::vector<float> list(static_cast<size_t>(count));
    for (float &v : list) {
        state = state * 1664525u + 1013904223u;
        v = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
    }
    return list;
}

int run(const PlanOptions &options, std::vector<float> &y) {
    const Conv2dProblem problem = *Conv2dProblem::parse("b1 ic16 i14 oc32 f3 p1");
    const Result<Plan> plan = Plan::create(problem, options);
    if (!plan) {
        std::fprintf(stderr, "%s\n", plan.status().message().c_str());
        return 1;
    }
    const std::vector<float> x = numbers(problem.input_elements(), 1), w = numbers(problem.filter_elements(), 2);
    y.assign(static_cast<size_t>(problem.output_elements()), std::nanf(""));
    AlignedBuffer workspace(plan->workspace_bytes_unpacked());
    Tensors t;
    t.input = x.data();
    t.filters = w.data();
    t.output = y.data();
    if (Status status = plan->execute(t, workspace); !status) {
        std::fprintf(stderr, "%s\n", status.message().c_str());
        return 1;
    }
    if (options.algorithm != Algorithm::kNaive) {
        std::printf("%d: %s\n", options.threads, plan->choice().c_str());
    }
    return 0;
}

}  // namespace

int main() {
    PlanOptions options;
    std::vector<float> y, expected;
    options.algorithm = Algorithm::kNaive;
    if (run(options, expected) != 0) {
        return 1;
    }
    options = PlanOptions();
    options.choose_for_threads = true;
    // 3 threads are none of the library's.
    for (int threads : {1, 2, 3}) {
        options.threads = threads;
        if (run(options, y) != 0) {
            return 1;
        }
        for (size_t i = 0; i < y.size(); i++) {
            if (!(std::abs(y[i] - expected[i]) < 1e-4f)) {
                std::fprintf(stderr, "%d threads: element %zu is %g instead of %g\n", threads, i, static_cast<double>(y[i]), static_cast<double>(expected[i]));
                return 1;
            }
        }
    }
    return 0;
}
