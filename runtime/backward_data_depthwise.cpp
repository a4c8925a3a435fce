// bwd-data, direct, of depthwise layers with stride 2: conv_depthwise_strided_gradient computes all four phases of the stride
// at once and stores whole rows, where backward_data.cpp would compute each as a forward problem and interleave the results.
//
// A task is a run of planes, or a strip of rows of one.
#include <algorithm>
#include <cstring>
#include <string>

#include "adjoint.h"
#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "kernel.h"
#include "parallel.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

constexpr int64_t kTaps = 256;  ///< summed at once for a pixel: the error of a long sum grows with the root of this

/// What a task covers.
struct Blocking {
    int64_t planes;
    int64_t strip;  ///< rows of the input's gradient, whole register tiles unless all
};

class StridedGradientPlan final : public AlgorithmPlan {
public:
    StridedGradientPlan(const PlanRequest &request, const Variant &kernel)
        : problem_(request.problem), kernel_(kernel), tile_rows_(2 * kernel.parameter("m", 1)), tile_pairs_(kernel.parameter("n", 1) * vector_lanes(kernel.isa)), post_(kernel_clamp(problem_)), threads_(request.options.threads) {
        variant = kernel.name;
        layout = "bwd-data depthwise";
        taps_x_ = ceil_div(problem_.filter_width, 2);
        taps_y_ = ceil_div(problem_.filter_height, 2);
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        if (Status status = planes_within_reach(p); !status.ok()) {
            return status;
        }
        // Decided, and ranked, for one thread; then split among the threads. Strips are whole register tiles, so no sum changes.
        Blocking b{p.groups, p.in_height};
        const double l2 = static_cast<double>(machine().l2_bytes) / sizeof(float);
        const auto halve = [&] { b.strip = round_up((b.strip + 1) / 2, tile_rows_); };
        while (b.strip > 4 * tile_rows_ && staged_floats(b.strip) > l2 / 3) {
            halve();
        }
        slots_ = 1;
        lay_out(b);
        while ((workspace_bytes > workspace_limit || heap_bytes_ > kReach) && b.strip > tile_rows_) {
            halve();
            lay_out(b);
        }
        if (heap_bytes_ > kReach) {
            return Status(StatusCode::kUnsupported, "the rows of one register tile are over 2^30 bytes, more than a kernel call can reach");
        }
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        predict();
        serial_workspace_bytes = workspace_bytes;
        if (threads_ > 1 && p.flops() >= 2e6) {
            const int64_t wanted = 4 * threads_;
            b.planes = std::clamp<int64_t>(p.groups * p.batch * strips() / wanted, 1, p.groups);
            while (b.planes == 1 && b.strip > 2 * tile_rows_ && p.batch * p.groups * ceil_div(p.in_height, b.strip) < wanted) {
                halve();
            }
        }
        lay_out(b);
        slots_ = affordable_slots(threads_, tasks(), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out(b);
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks());
        Arena packed;
        packed.reserve_floats(static_cast<double>(p.groups * taps()));
        packed_bytes = packed.bytes();
        details = "all phases at once, " + std::to_string(b.planes) + " of " + std::to_string(p.groups) + " planes a task, strips of " + std::to_string(b.strip) + " rows, " + std::to_string(tasks()) + " tasks, " + std::to_string(slots_) + " at a time";
        return Status();
    }

    /// Filters (c, r, s), as correlation.
    Status pack(const StridedIn &w, std::byte *packed, std::byte *, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const bool flip = p.filter_mode == FilterMode::kConvolution;
        return parallel_for(execution, 1, 1, [&](int64_t, int, KernelContext &context) {
            const StageTimer timer(context.profile, "pack_filters");
            float *to = floats_at(packed, 0);
            for (int64_t c = 0; c < p.groups; c++) {
                for (int64_t r = 0; r < p.filter_height; r++) {
                    const float *from = w.data + c * w.s[0] + (flip ? p.filter_height - 1 - r : r) * w.s[2];
                    for (int64_t s = 0; s < p.filter_width; s++) {
                        *to++ = from[(flip ? p.filter_width - 1 - s : s) * w.s[3]];
                    }
                }
            }
            // Saved blocks must not carry old memory.
            std::fill(to, floats_at(packed, packed_bytes), 0.0f);
            return true;
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const float *bias = bias_or_zeros(t.bias, floats_at(workspace, bias_offset_), problem_.groups);
        // As in direct: old denormals in lanes past a row's end would be slow.
        for (int slot = 0; slot < slots_; slot++) {
            std::memset(workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_, 0, heap_bytes_);
        }
        return parallel_for(execution, slots_, tasks(), [&](int64_t index, int slot, KernelContext &context) {
            context.heap = workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_;
            context.heap_bytes = heap_bytes_;
            const int64_t row = index % strips() * blocking_.strip;
            index /= strips();
            const int64_t runs = ceil_div(problem_.groups, blocking_.planes);
            const int64_t c = index % runs * blocking_.planes;
            return run(t, floats_at(packed, 0), bias, {index / runs, c, std::min(blocking_.planes, problem_.groups - c), row, std::min(blocking_.strip, problem_.in_height - row)}, context);
        });
    }

private:
    /// Rows [row, row + rows) of `count` planes from c on.
    struct Region {
        int64_t image, c, count, row, rows;
    };

    static constexpr size_t kReach = size_t{1} << 30;  ///< bytes

    int64_t taps() const {
        return problem_.filter_height * problem_.filter_width;
    }
    int64_t strips() const {
        return ceil_div(problem_.in_height, blocking_.strip);
    }
    int64_t tasks() const {
        return problem_.batch * ceil_div(problem_.groups, blocking_.planes) * strips();
    }
    /// Pairs of columns that are computed.
    int64_t pairs() const {
        return round_up(ceil_div(problem_.in_width, 2), tile_pairs_);
    }
    /// What the kernel allocates for its copy of a plane's strip of gy.
    double staged_floats(int64_t rows) const {
        return static_cast<double>(pairs() + taps_x_ + 32) * static_cast<double>(round_up(rows, tile_rows_) / 2 + taps_y_ + 2);
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        Arena arena;
        bias_offset_ = arena.reserve_floats(static_cast<double>(problem_.groups));
        slots_offset_ = arena.reserve(0);
        Arena slot;
        const double staged = 4.0 * staged_floats(b.strip) + 512.0;
        heap_bytes_ = static_cast<size_t>(std::min(staged, 1e18));
        slot.reserve(staged);
        slot_bytes_ = slot.bytes();
        arena.reserve(static_cast<double>(slot_bytes_) * slots_);
        workspace_bytes = arena.bytes();
    }

    void predict() {
        const CostModel model(kernel_.isa);
        const Conv2dProblem &p = problem_;
        const double planes = static_cast<double>(p.batch * p.groups), vectors = static_cast<double>(tile_rows_) / 2 * static_cast<double>(kernel_.parameter("n", 1));
        const double tiles = planes * static_cast<double>(ceil_div(p.in_height, tile_rows_)) * static_cast<double>(pairs() / tile_pairs_);
        const bool any = kernel_.parameter("f", 0) == 0;
        // FMAs, and four vectors that are interleaved, clamped and stored.
        const double fma = vectors * static_cast<double>(taps()) * (any ? 1.6 : 1.0) / (model.lanes >= 8 ? 1.5 : 1.0);
        const double cycles = fma + 8 * vectors + 12 + (any ? 40 : 0);
        const double copied = planes * static_cast<double>(strips()) * staged_floats(blocking_.strip);
        const double pixels = static_cast<double>(p.output_elements() + p.input_elements() * (p.residual ? 2 : 1));
        serial_seconds = tiles * cycles / model.hertz + 4.0 * copied / 50e9 + 4.0 * pixels / 80e9 + static_cast<double>(tasks()) * model.call_seconds + 1e-6;
    }

    bool run(const ForwardTensors &t, const float *packed, const float *bias, const Region &r, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const auto planes = [&](const auto &view, int64_t width, int64_t first, int64_t rows) {
            return Floats<3>(view.data + r.image * view.s[0] + r.c * view.s[1] + first * view.s[2], {{width, 1}, {rows, view.s[2]}, {r.count, view.s[1]}});
        };
        const Floats<3> filters(packed + r.c * taps(), {{p.filter_width, 1}, {p.filter_height, p.filter_width}, {r.count, taps()}});
        const Floats<3> gy = planes(t.input, p.out_width(), 0, p.out_height()), gx = planes(t.output, p.in_width, r.row, r.rows);
        const bool use_residual = t.residual.data != nullptr;
        const Floats<3> residual = use_residual ? planes(t.residual, p.in_width, r.row, r.rows) : planes(t.output, p.in_width, r.row, r.rows);
        if (r.count > 1 && !(filters.fits() && gy.fits() && gx.fits() && residual.fits())) {
            for (int64_t c = r.c; c < r.c + r.count; c++) {
                if (!run(t, packed, bias, {r.image, c, 1, r.row, r.rows}, context)) {
                    return false;
                }
            }
            return true;
        }
        const auto origin_x = static_cast<int32_t>(p.pad_left / 2 - (taps_x_ - 1)), origin_y = static_cast<int32_t>(r.row / 2 + p.pad_top / 2 - (taps_y_ - 1));
        return call(kernel_, context, filters, gy, origin_x, origin_y, static_cast<int32_t>(p.pad_left % 2), static_cast<int32_t>(p.pad_top % 2), Floats<1>(bias + r.c, {{r.count, 1}}), residual, static_cast<int32_t>(use_residual), post_.lo, post_.hi, gx);
    }

    const Conv2dProblem problem_;
    const Variant &kernel_;
    const int64_t tile_rows_, tile_pairs_;  ///< rows, and pairs of columns, of a register tile
    const KernelPostOp post_;
    const int threads_;
    int64_t taps_x_, taps_y_;  ///< even ones, the most that a pixel sees
    Blocking blocking_{};
    int slots_ = 1;
    size_t bias_offset_ = 0, slots_offset_ = 0, slot_bytes_ = 0, heap_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_data_gradient_depthwise(const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    const bool plain = p.layout == Layout::kNchw && p.in_channels == p.groups && p.out_channels == p.groups && p.stride_h == 2 && p.stride_w == 2 && p.dilation_h == 1 && p.dilation_w == 1;
    if (!plain || folds_padding(p) || ceil_div(p.filter_height, 2) > kTaps / ceil_div(p.filter_width, 2)) {
        return Status(StatusCode::kUnsupported, "conv_depthwise_strided_gradient takes depthwise NCHW layers with stride 2, dilation 1, one output a channel and padding that does not repeat the image");
    }
    return best_variant<StridedGradientPlan>(request, "conv_depthwise_strided_gradient", [&](const Variant &kernel, const auto &consider) {
        const int64_t f = kernel.parameter("f", 0);
        if (f == 0 || (p.filter_height == f && p.filter_width == f)) {
            consider(std::make_unique<StridedGradientPlan>(request, kernel));
        }
    });
}

}  // namespace fourfold
