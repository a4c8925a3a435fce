// A consumer that asks for GPUs on a machine that need not have any: what is missing is a Status that says why, and the CPU's plans work.
#include <cstdio>
#include <vector>

#include "fourfold/fourfold.h"
#include "fourfold/staged_plan.h"

int main() {
    using namespace fourfold;
    const Conv2dProblem problem = *Conv2dProblem::parse("b1 ic2 i5 oc3 f3 p1");
    int wrong = 0;
    for (const Device &device : {Device::cuda(), Device::opencl(), Device::cuda(99)}) {
        const Result<DeviceInfo> info = device_info(device);
        PlanOptions options;
        options.device = device;
        const Result<Plan> plan = Plan::create(problem, options);
        const Status statuses[] = {info.status(), plan.status(), DeviceBuffer::allocate(device, 64).status(), StagedPlan::create(problem, options).status()};
        for (const Status &status : statuses) {
            const std::string begin = "device '" + to_string(device) + "'";
            const bool told = status.code() == StatusCode::kUnsupported && status.message().compare(0, begin.size(), begin) == 0;
            wrong += info ? !status.ok() : !told;
        }
        std::printf("%s\n", info ? info->name.c_str() : info.status().message().c_str());
    }
    std::vector<float> x(2 * 25, 1.0f), w(3 * 2 * 9, 0.5f), y(3 * 25);
    const Result<Plan> plan = Plan::create(problem);
    AlignedBuffer workspace(plan->workspace_bytes_unpacked());
    Tensors tensors;
    tensors.input = x.data();
    tensors.filters = w.data();
    tensors.output = y.data();
    wrong += !plan->execute(tensors, workspace).ok() || y[12] < 8.999f || y[12] > 9.001f;
    return wrong;
}
