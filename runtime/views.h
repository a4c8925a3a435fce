// Views of the caller's tensors, checked and with their strides filled in.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "algorithm.h"
#include "checks.h"

namespace fourfold {

/// Sizes of a problem's tensors, outermost first: x, w, y, and the columns of unfold and fold.
inline std::array<int64_t, 4> input_size(const Conv2dProblem &p) {
    return {p.batch, p.in_channels, p.in_height, p.in_width};
}
inline std::array<int64_t, 4> filter_size(const Conv2dProblem &p) {
    return {p.out_channels, p.in_channels / p.groups, p.filter_height, p.filter_width};
}
inline std::array<int64_t, 4> output_size(const Conv2dProblem &p) {
    return {p.batch, p.out_channels, p.out_height(), p.out_width()};
}
inline std::array<int64_t, 4> column_size(const Conv2dProblem &p) {
    return {p.batch, p.in_channels, p.filter_height * p.filter_width, p.out_height() * p.out_width()};
}

/// What a view is to an execution. Filters are read and written by code that steps through them in any order.
enum class Role { kInput, kFilters, kOutput, kFilterGradient };

/// Fills in a dense view's strides and checks any other's.
template<typename T>
Status resolve(const char *name, const TensorView<T> &view, Layout layout, const std::array<int64_t, 4> &size, Role role, Strided<T> &result) {
    // Outermost first.
    const std::array<int, 4> nesting = layout == Layout::kNchw ? std::array<int, 4>{0, 1, 2, 3} : std::array<int, 4>{0, 2, 3, 1};
    const int last = nesting[3];
    if (view.data == nullptr) {
        return bad(std::string(name) + " is null");
    }
    if (reinterpret_cast<uintptr_t>(view.data) % alignof(float) != 0) {
        return bad(std::string(name) + " is not aligned to " + std::to_string(alignof(float)) + " bytes");
    }
    result.data = view.data;
    if (view.dense) {
        result.s[last] = 1;
        for (int i = 2; i >= 0; i--) {
            result.s[nesting[i]] = result.s[nesting[i + 1]] * size[nesting[i + 1]];
        }
        return Status();
    }
    std::copy(view.strides, view.strides + 4, result.s);
    const auto text = [&] {
        return std::string(name) + " has strides " + std::to_string(view.strides[0]) + "," + std::to_string(view.strides[1]) + "," + std::to_string(view.strides[2]) + "," + std::to_string(view.strides[3]);
    };
    for (int d = 0; d < 4; d++) {
        if (size[d] > 1 && (result.s[d] < 1 || result.s[d] > (int64_t{1} << 60) / size[d])) {
            return bad(text() + "; each must be positive and the tensor must fit in memory");
        }
    }
    const bool image = role == Role::kInput || role == Role::kOutput;
    if (image && size[last] > 1 && result.s[last] != 1) {
        return bad(text() + "; the " + (layout == Layout::kNchw ? "last" : "second") + " must be 1");
    }
    // A dimension of one element never steps; give it a stride that no check stumbles over.
    if (size[last] == 1) {
        result.s[last] = 1;
    }
    std::array<int, 4> order = {3, 2, 1, 0};
    std::sort(order.begin(), order.end(), [&](int a, int b) { return result.s[a] < result.s[b]; });
    int64_t reach = 1;
    for (int d : order) {
        if (size[d] == 1) {
            continue;
        }
        if ((role == Role::kOutput || role == Role::kFilterGradient) && result.s[d] < reach) {
            return bad(text() + "; elements of an output must not overlap");
        }
        reach += (size[d] - 1) * result.s[d];
    }
    for (int i = 2; i >= 0; i--) {
        const int d = nesting[i], inner = nesting[i + 1];
        if (size[d] == 1) {
            result.s[d] = result.s[inner] * size[inner];
        }
    }
    if (const int d = nesting[2]; image && result.s[d] < size[last] && size[d] > 1) {
        return bad(text() + (layout == Layout::kNchw ? "; rows of " : "; pixels of ") + std::to_string(size[last]) + " elements overlap");
    }
    return Status();
}

/// The half-open range of addresses of a validated view.
template<typename T>
std::pair<uintptr_t, uintptr_t> address_range(const Strided<T> &v, const std::array<int64_t, 4> &size) {
    int64_t last = 0;
    for (int d = 0; d < 4; d++) {
        last += (size[d] - 1) * v.s[d];
    }
    const auto begin = reinterpret_cast<uintptr_t>(v.data);
    return {begin, begin + static_cast<uintptr_t>(last + 1) * sizeof(float)};
}

/// The tensors of a forward execution, or of bwd-data (from grad_output to grad_input), checked and with their strides filled in;
/// and that neither the output nor `needed` bytes of workspace lie over anything else. Filters are the caller's business.
Status resolve_image(const Conv2dProblem &problem, const Tensors &tensors, MemoryBlock workspace, size_t needed, ForwardTensors &result);

}  // namespace fourfold
