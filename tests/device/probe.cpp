// probe DEVICE PROBLEM: plans the problem on the device and prints the plan's variant, or why there is none (exit 1). What the tests
// of drivers that a process can load only once run, each time in a process of its own.
#include <cstdio>

#include "fourfold/fourfold.h"

int main(int, char **argv) {
    using namespace fourfold;
    PlanOptions options;
    options.device = *parse_device(argv[1]);
    const Result<Plan> plan = Plan::create(*Conv2dProblem::parse(argv[2]), options);
    if (!plan) {
        std::printf("%s\n", plan.status().message().c_str());
        return 1;
    }
    std::printf("%s\n", plan->variant().c_str());
    return 0;
}
