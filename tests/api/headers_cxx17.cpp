// The public headers, compiled as C++17 with -pedantic, and used as a program of that age would.
#include "fourfold/fourfold.h"

#include <vector>

#if __cplusplus >= 202002L
#error "this file is here to be compiled as C++17"
#endif

namespace {

constexpr fourfold::Conv2dProblem layer() {
    fourfold::Conv2dProblem p;
    p.in_channels = p.out_channels = 4;
    p.in_height = p.in_width = 8;
    p.filter_height = p.filter_width = 3;
    return p.same();
}
static_assert(layer().error() == nullptr && layer().out_height() == 8 && layer().out_width() == 8, "shapes are known to the compiler");

}  // namespace

/// Declared here rather than in a header: the test in cxx17.cpp is its one caller.
bool run_as_cxx17(const std::vector<float> &x, const std::vector<float> &w, std::vector<float> *y);

bool run_as_cxx17(const std::vector<float> &x, const std::vector<float> &w, std::vector<float> *y) {
    fourfold::Result<fourfold::Plan> plan = fourfold::Plan::create(layer());
    if (!plan) {
        return false;
    }
    y->assign(static_cast<std::size_t>(layer().output_elements()), -1.0f);
    fourfold::AlignedBuffer workspace(plan->workspace_bytes_unpacked());
    fourfold::Tensors tensors;
    tensors.input = x.data();
    tensors.filters = w.data();
    tensors.output = y->data();
    return plan->execute(tensors, workspace).ok();
}
