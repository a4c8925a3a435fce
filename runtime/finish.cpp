#include "finish.h"

#include <algorithm>

#include "kernel.h"

namespace fourfold {
namespace {

/// One run of elements: those of a row, or the channels of a pixel.
struct Run {
    int64_t count;
    const float *in;
    int64_t in_step;
    const float *bias;
    int64_t bias_step;
    const float *residual;
    int64_t residual_step;
    float *out;
    int64_t out_step;
};

void finish_run(const Run &r, const KernelPostOp &post) {
    if (r.bias == nullptr && r.residual == nullptr && post.kind == 0) {
        for (int64_t i = 0; i < r.count; i++) {
            r.out[i * r.out_step] = r.in != nullptr ? r.in[i * r.in_step] : 0.0f;
        }
        return;
    }
    for (int64_t i = 0; i < r.count; i++) {
        float v = r.in != nullptr ? r.in[i * r.in_step] : 0.0f;
        v += r.bias != nullptr ? r.bias[i * r.bias_step] : 0.0f;
        v += r.residual != nullptr ? r.residual[i * r.residual_step] : 0.0f;
        // NaN passes through.
        v = post.kind == 0 ? v : v < post.lo ? post.lo
                             : v > post.hi   ? post.hi
                                             : v;
        r.out[i * r.out_step] = v;
    }
}

/// The usual case, in loops that compilers turn into vectors. One of the two may be null: zeros.
void interleave_pairs(const float *__restrict even, const float *__restrict odd, int64_t count, float *__restrict out) {
    const int64_t pairs = count / 2;
    if (odd == nullptr) {
        for (int64_t i = 0; i < pairs; i++) {
            out[2 * i] = even[i];
            out[2 * i + 1] = 0.0f;
        }
    } else if (even == nullptr) {
        for (int64_t i = 0; i < pairs; i++) {
            out[2 * i] = 0.0f;
            out[2 * i + 1] = odd[i];
        }
    } else {
        for (int64_t i = 0; i < pairs; i++) {
            out[2 * i] = even[i];
            out[2 * i + 1] = odd[i];
        }
    }
    if (count % 2 == 1) {
        out[count - 1] = even != nullptr ? even[pairs] : 0.0f;
    }
}

/// The columns [first, first + count) of row number `row` of `rows`, those of all planes.
void interleave_run(const float *base, const std::vector<ColumnPhase> &phases, int64_t step, int64_t rows, int64_t row, int64_t first, int64_t count, float *out) {
    const auto columns = [&](const ColumnPhase &p) { return base + rows * p.before + row * p.count; };
    if (step == 2 && first % 2 == 0 && !phases.empty()) {
        const float *halves[2] = {nullptr, nullptr};
        for (const ColumnPhase &p : phases) {
            halves[p.first] = columns(p) + first / 2;
        }
        interleave_pairs(halves[0], halves[1], count, out);
        return;
    }
    if (static_cast<int64_t>(phases.size()) < step) {
        std::fill_n(out, count, 0.0f);
    }
    for (const ColumnPhase &p : phases) {
        const float *values = columns(p);
        const int64_t skipped = ((p.first - first) % step + step) % step;
        for (int64_t i = skipped, from = (first + skipped) / step; i < count; i += step, from++) {
            out[i] = values[from];
        }
    }
}

}  // namespace

Status Finish::run(const StridedIn &in, const std::array<int64_t, 4> &size, const Epilogue &e, const StridedOut &out) const {
    // Tasks are planes, or in NHWC rows of pixels.
    const int outer = channels_last ? 2 : 1, middle = channels_last ? 3 : 2, inner = channels_last ? 1 : 3;
    return parallel_for(execution, threads, size[0] * size[outer], [&](int64_t index, int, KernelContext &context) {
        const StageTimer timer(context.profile, "finish");
        const int64_t n = index / size[outer], o = index % size[outer];
        for (int64_t m = 0; m < size[middle]; m++) {
            const auto at = [&](const int64_t *s) { return n * s[0] + o * s[outer] + m * s[middle]; };
            const float *bias = e.bias == nullptr || channels_last ? e.bias : e.bias + o;
            finish_run({size[inner], in.data != nullptr ? in.data + at(in.s) : nullptr, in.s[inner], bias, channels_last ? 1 : 0, e.residual.data != nullptr ? e.residual.data + at(e.residual.s) : nullptr, e.residual.s[inner], out.data + at(out.s), out.s[inner]}, e.post);
        }
        return true;
    });
}

Status Finish::interleave(const float *base, const std::vector<ColumnPhase> &phases, int64_t step, const std::array<int64_t, 4> &size, const Epilogue &e, const StridedOut &out) const {
    return parallel_for(execution, threads, size[0] * size[1], [&](int64_t index, int, KernelContext &context) {
        const StageTimer timer(context.profile, "finish");
        const int64_t n = index / size[1], c = index % size[1];
        const bool plain = e.bias == nullptr && e.residual.data == nullptr && e.post.kind == 0 && out.s[3] == 1;
        std::array<float, 256> columns;
        for (int64_t y = 0; y < size[2]; y++) {
            const auto at = [&](const int64_t *s) { return n * s[0] + c * s[1] + y * s[2]; };
            float *to = out.data + at(out.s);
            const int64_t rows = size[0] * size[1] * size[2], row = index * size[2] + y;
            if (plain) {
                interleave_run(base, phases, step, rows, row, 0, size[3], to);
                continue;
            }
            const float *residual = e.residual.data != nullptr ? e.residual.data + at(e.residual.s) : nullptr;
            for (int64_t x = 0; x < size[3]; x += static_cast<int64_t>(columns.size())) {
                const int64_t count = std::min(static_cast<int64_t>(columns.size()), size[3] - x);
                interleave_run(base, phases, step, rows, row, x, count, columns.data());
                finish_run({count, columns.data(), 1, e.bias != nullptr ? e.bias + c : nullptr, 0, residual != nullptr ? residual + x * e.residual.s[3] : nullptr, e.residual.s[3], to + x * out.s[3], out.s[3]}, e.post);
            }
        }
        return true;
    });
}

}  // namespace fourfold
