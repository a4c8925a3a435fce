// probe DEVICE PROBLEM: plans the problem on the device and prints the plan's variant, or why there is none (exit 1). probe list: prints the
// devices, and how many variants run on them. What the tests of drivers that a process can load only once run, each time in a process
// of its own.
#include <algorithm>
#include <cstdio>
#include <string_view>

#include "fourfold/fourfold.h"

int main(int, char **argv) {
    using namespace fourfold;
    if (std::string_view(argv[1]) == "list") {
        for (const DeviceInfo &info : devices()) {
            std::printf("%s: %s\n", to_string(info.device).c_str(), info.name.c_str());
        }
        const std::vector<VariantInfo> variants = list_device_variants();
        std::printf("%d variants run\n", static_cast<int>(std::count_if(variants.begin(), variants.end(), [](const VariantInfo &v) { return v.runnable && v.device == Device::cuda(); })));
        return 0;
    }
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
