#include "views.h"

namespace fourfold {

Status resolve_image(const Conv2dProblem &problem, const Tensors &tensors, MemoryBlock workspace, size_t needed, ForwardTensors &result) {
    using Size = std::array<int64_t, 4>;
    const bool forward = problem.operation == Operation::kForward;
    const char *const in_name = forward ? "input" : "grad_output", *const out_name = forward ? "output" : "grad_input";
    const ConstView &in_view = forward ? tensors.input : tensors.grad_output;
    const MutableView &out_view = forward ? tensors.output : tensors.grad_input;
    const Size x_size = {problem.batch, problem.in_channels, problem.in_height, problem.in_width}, y_size = {problem.batch, problem.out_channels, problem.out_height(), problem.out_width()};
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
    } others[] = {
        {in_name, true, in_view.dense, address_range(result.input, in_size)},
        {"residual", problem.residual, tensors.residual.dense, problem.residual ? address_range(result.residual, out_size) : out},
        {"bias", tensors.bias != nullptr, true, block_range(tensors.bias, static_cast<size_t>(out_size[1]) * sizeof(float))},
        {"packed filters", tensors.filters.is_packed(), true, block_range(tensors.filters.packed.data, tensors.filters.packed.bytes)},
        {out_name, true, false, out},
    };
    for (const auto &other : others) {
        // Regions of one larger tensor interleave without sharing an element, so views are the caller's business.
        if (other.given && other.dense && out_view.dense && same_memory(out, other.range)) {
            return bad(std::string(other.name) + " and " + out_name + " overlap");
        }
        if (other.given && needed > 0 && same_memory(scratch, other.range)) {
            return bad(std::string("workspace and ") + other.name + " overlap");
        }
    }
    return Status();
}

}  // namespace fourfold
