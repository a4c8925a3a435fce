#include "views.h"

namespace fourfold {
namespace {

using Size = std::array<int64_t, 4>;

/// A dimension of two views: their elements lie a multiple of `stride`, -(size of b) < multiple < size of a, from each other.
struct Step {
    int64_t stride, least, most;
};

/// Whether `distance` is a sum of one multiple of each stride. Strides descend.
bool is_sum(int64_t distance, const Step *step, const Step *end) {
    if (step == end) {
        return distance == 0;
    }
    int64_t least = 0, most = 0;  // of the steps that follow
    for (const Step *s = step + 1; s != end; s++) {
        least += s->least * s->stride;
        most += s->most * s->stride;
    }
    const auto floor_div = [](int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); };
    const int64_t last = std::min(step->most, floor_div(distance - least, step->stride));
    for (int64_t m = std::max(step->least, -floor_div(most - distance, step->stride)); m <= last; m++) {
        if (is_sum(distance - m * step->stride, step + 1, end)) {
            return true;
        }
    }
    return false;
}

/// Whether views of the same strides, such as regions of one image, have an element in common. Of other strides only the first
/// elements are compared.
bool share_an_element(const StridedIn &a, const Size &a_size, const StridedOut &b, const Size &b_size) {
    if (a.data == b.data) {
        return true;
    }
    if (!same_memory(address_range(a, a_size), address_range(b, b_size))) {
        return false;
    }
    std::array<Step, 4> steps;
    for (int d = 0; d < 4; d++) {
        if (a_size[d] > 1 && b_size[d] > 1 && a.s[d] != b.s[d]) {
            return false;
        }
        steps[d] = {a_size[d] > 1 ? a.s[d] : b.s[d], 1 - a_size[d], b_size[d] - 1};
    }
    std::sort(steps.begin(), steps.end(), [](const Step &x, const Step &y) { return x.stride > y.stride; });
    return is_sum((reinterpret_cast<intptr_t>(a.data) - reinterpret_cast<intptr_t>(b.data)) / static_cast<intptr_t>(sizeof(float)), steps.data(), steps.data() + steps.size());
}

}  // namespace

Status resolve_image(const Conv2dProblem &problem, const Tensors &tensors, MemoryBlock workspace, size_t needed, ForwardTensors &result) {
    const bool forward = problem.operation == Operation::kForward;
    const char *const in_name = forward ? "input" : "grad_output", *const out_name = forward ? "output" : "grad_input";
    const ConstView &in_view = forward ? tensors.input : tensors.grad_output;
    const MutableView &out_view = forward ? tensors.output : tensors.grad_input;
    const Size x_size = input_size(problem), y_size = output_size(problem);
    const Size &in_size = forward ? x_size : y_size, &out_size = forward ? y_size : x_size;
    Status status = resolve(in_name, in_view, problem.layout, in_size, Role::kInput, result.input);
    if (status.ok()) {
        status = resolve(out_name, out_view, problem.layout, out_size, Role::kOutput, result.output);
    }
    if (status.ok() && problem.residual) {
        status = resolve("residual", tensors.residual, problem.layout, out_size, Role::kInput, result.residual);
    }
    if (status.ok() && reinterpret_cast<uintptr_t>(tensors.bias) % alignof(float) != 0) {
        status = bad("bias is not aligned to " + std::to_string(alignof(float)) + " bytes");
    }
    if (status.ok()) {
        status = check_block("workspace", workspace.data, workspace.bytes, needed);
    }
    if (!status.ok()) {
        return status;
    }
    result.bias = tensors.bias;
    const auto out = address_range(result.output, out_size), scratch = block_range(workspace.data, needed);
    const struct {
        const char *name;
        bool given, dense;
        std::pair<uintptr_t, uintptr_t> range;
        const StridedIn *view;
        const Size *size;
    } others[] = {
        {in_name, true, in_view.dense, address_range(result.input, in_size), &result.input, &in_size},
        {"residual", problem.residual, tensors.residual.dense, problem.residual ? address_range(result.residual, out_size) : out, &result.residual, &out_size},
        {"bias", tensors.bias != nullptr, true, block_range(tensors.bias, static_cast<size_t>(out_size[1]) * sizeof(float)), nullptr, nullptr},
        {"packed filters", tensors.filters.is_packed(), true, block_range(tensors.filters.packed.data, tensors.filters.packed.bytes), nullptr, nullptr},
        {out_name, true, false, out, nullptr, nullptr},
    };
    for (const auto &other : others) {
        // Regions of one larger tensor may interleave without sharing an element.
        const bool dense = other.dense && out_view.dense;
        if (other.given && (dense ? same_memory(out, other.range) : other.view != nullptr && share_an_element(*other.view, *other.size, result.output, out_size))) {
            return bad(std::string(other.name) + " and " + out_name + " overlap");
        }
        if (other.given && needed > 0 && same_memory(scratch, other.range)) {
            return bad(std::string("workspace and ") + other.name + " overlap");
        }
    }
    return Status();
}

}  // namespace fourfold
