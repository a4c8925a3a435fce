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
        v = post.kind == 0 ? v : v < post.lo ? post.lo : v > post.hi ? post.hi : v;
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

/// The columns [first, first + count) of row y of a plane, whose column x is the (x / s)-th of phases[x % s].
void interleave_run(const float *base, const std::vector<ColumnPhase> &phases, int64_t image, int64_t plane, int64_t y, int64_t first, int64_t count, float *out) {
    const auto step = static_cast<int64_t>(phases.size());
    const auto row = [&](int64_t e) {
        const ColumnPhase &p = phases[static_cast<size_t>(e)];
        return p.offset < 0 ? nullptr : base + p.offset + image * p.image + plane * p.plane + y * p.row;
    };
    const float *even = row(0), *odd = step == 2 ? row(1) : nullptr;
    if (even == nullptr && odd == nullptr && step <= 2) {
        std::fill_n(out, count, 0.0f);
        return;
    }
    if (step == 2 && first % 2 == 0) {
        interleave_pairs(even != nullptr ? even + first / 2 : nullptr, odd != nullptr ? odd + first / 2 : nullptr, count, out);
        return;
    }
    for (int64_t e = 0; e < step; e++) {
        const float *values = row(e);
        const int64_t skipped = ((e - first) % step + step) % step;
        for (int64_t i = skipped, from = (first + skipped) / step; i < count; i += step, from++) {
            out[i] = values != nullptr ? values[from] : 0.0f;
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

Status Finish::interleave(const float *base, const std::vector<ColumnPhase> &phases, const std::array<int64_t, 4> &size, const Epilogue &e, const StridedOut &out) const {
    return parallel_for(execution, threads, size[0] * size[1], [&](int64_t index, int, KernelContext &context) {
        const StageTimer timer(context.profile, "finish");
        const int64_t n = index / size[1], c = index % size[1];
        const bool plain = e.bias == nullptr && e.residual.data == nullptr && e.post.kind == 0 && out.s[3] == 1;
        std::array<float, 256> columns;
        for (int64_t y = 0; y < size[2]; y++) {
            const auto at = [&](const int64_t *s) { return n * s[0] + c * s[1] + y * s[2]; };
            float *to = out.data + at(out.s);
            if (plain) {
                interleave_run(base, phases, n, c, y, 0, size[3], to);
                continue;
            }
            const float *residual = e.residual.data != nullptr ? e.residual.data + at(e.residual.s) : nullptr;
            for (int64_t x = 0; x < size[3]; x += static_cast<int64_t>(columns.size())) {
                const int64_t count = std::min(static_cast<int64_t>(columns.size()), size[3] - x);
                interleave_run(base, phases, n, c, y, x, count, columns.data());
                finish_run({count, columns.data(), 1, e.bias != nullptr ? e.bias + c : nullptr, 0, residual != nullptr ? residual + x * e.residual.s[3] : nullptr, e.residual.s[3], to + x * out.s[3], out.s[3]}, e.post);
            }
        }
        return true;
    });
}

}  // namespace fourfold
