#include "finish.h"

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

}  // namespace fourfold
