// A ResNet layer, planned, its filters packed once, and executed.
#include <cstdio>
#include <vector>

#include "fourfold/fourfold.h"

int main() {
    std::vector<float> x(8 * 64 * 56 * 56, 1.0f), w(64 * 64 * 3 * 3, 0.5f), y(8 * 64 * 56 * 56);

    fourfold::Conv2dProblem problem = *fourfold::Conv2dProblem::parse("b8 ic64 i56 oc64 f3 p1 relu");
    fourfold::Result<fourfold::Plan> plan = fourfold::Plan::create(problem);
    if (!plan) {
        return std::puts(plan.status().message().c_str()), 1;
    }
    fourfold::AlignedBuffer packed(plan->packed_filter_bytes()), workspace(plan->workspace_bytes_unpacked());
    fourfold::Tensors tensors;
    tensors.input = x.data();
    tensors.filters = packed;
    tensors.output = y.data();
    fourfold::Status status = plan->pack_filters(w.data(), packed, workspace);  // once
    if (status.ok()) {
        status = plan->execute(tensors, workspace);  // thread-safe, allocates nothing
    }

    // An inner pixel sums 64 channels x 9 taps of 1 * 0.5.
    std::printf("%sy = %g %s\n", plan->describe().c_str(), static_cast<double>(y[57]), status.message().c_str());
    return y[57] > 287.99f && y[57] < 288.01f ? 0 : 1;
}
