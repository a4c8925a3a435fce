// bwd-filters, direct, of depthwise layers: conv_depthwise_backward_filters copies rows of x between zeros in cache and reads gy
// where it lies, where backward_filters_direct.cpp would bring both into flat strips first.
//
// The strips of all images are dealt out to a fixed number of parts, each with RunningSums; a task is a run of planes of one
// part.
#include <algorithm>
#include <string>

#include "backward_filters.h"
#include "cost_model.h"
#include "kernel.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

constexpr int64_t kTasks = 8;      ///< wanted
constexpr int64_t kPixels = 4096;  ///< of a strip: sums stay short, and its rows in cache

struct Blocking {
    int64_t strip;   ///< output rows of a kernel call
    int64_t planes;  ///< of a task
    int64_t parts;   ///< of the sum over strips
    int slots;
};

class DepthwiseBackwardFilters final : public BackwardFiltersPlan {
public:
    DepthwiseBackwardFilters(const PlanRequest &request, const Variant &kernel)
        : BackwardFiltersPlan(request), kernel_(kernel), h_(kernel.parameter("h", 1)), v_(kernel.parameter("v", 1)), m_(kernel.parameter("m", 1)), stride_(kernel.parameter("stride", 1)), lanes_(vector_lanes(kernel.isa)), height_(problem_.out_height()), width_(problem_.out_width()) {
        variant = kernel.name;
        layout = "direct depthwise";
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        if (Status status = planes_within_reach(p); !status.ok()) {
            return status;
        }
        Blocking b{};
        const int64_t most = std::clamp<int64_t>(kPixels / round_up(width_, lanes_), 1, height_);
        b.strip = std::min(height_, round_up(ceil_div(height_, ceil_div(height_, most)), m_));
        b.planes = p.groups;
        // Parts only where planes are too few for some threads, and as long as adding them up costs little.
        const int64_t affordable = std::max<int64_t>(1, (int64_t{1} << 18) / p.filter_elements());
        b.parts = std::min({p.batch * ceil_div(height_, b.strip), affordable, ceil_div(kTasks, p.groups)});
        b.slots = 1;
        lay_out(b);
        while (workspace_bytes > workspace_limit || heap_bytes_ > kReach) {
            if (b.parts > 1 && heap_bytes_ <= kReach) {
                b.parts = (b.parts + 1) / 2;
            } else if (b.strip > 1) {
                b.strip = (b.strip + 1) / 2;
            } else if (heap_bytes_ > kReach) {
                return Status(StatusCode::kUnsupported, "the rows of one output row are over 2^30 bytes, more than a kernel call can reach");
            } else {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            lay_out(b);
        }
        predict();
        serial_workspace_bytes = workspace_bytes;
        if (threads_ > 1 && p.flops() >= 2e6) {
            b.planes = std::clamp<int64_t>(p.groups * b.parts / (4 * threads_), 1, p.groups);
        }
        lay_out(b);
        b.slots = affordable_slots(threads_, tasks(), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out(b);
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks());
        details = "strips of " + std::to_string(b.strip) + " output rows in " + std::to_string(b.parts) + " parts, " + std::to_string(b.planes) + " of " + std::to_string(p.groups) + " planes a task, " + std::to_string(tasks()) + " tasks, " + std::to_string(b.slots) + " at a time";
        return Status();
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution) const override {
        return sum_by_tasks(t, blocking_.parts, workspace, blocking_.slots, tasks(), execution, [&](float *sums, std::byte *scratch, int64_t index, KernelContext &context) {
            context.heap = scratch;
            context.heap_bytes = heap_bytes_;
            const int64_t runs = ceil_div(problem_.groups, blocking_.planes), part = index / runs;
            const int64_t c = index % runs * blocking_.planes, count = std::min(blocking_.planes, problem_.groups - c);
            const int64_t begin = pieces() * part / blocking_.parts, end = pieces() * (part + 1) / blocking_.parts;
            float *sum = sums + part * problem_.filter_elements();
            RunningSums running(sum + c * taps(), count, taps(), taps(), reinterpret_cast<double *>(context.heap + totals_offset_));
            for (int64_t piece = begin; piece < end; piece++) {
                const int64_t row = piece % strips() * blocking_.strip;
                const Region region = {piece / strips(), c, count, row, std::min(blocking_.strip, height_ - row)};
                if (!run(t, sum, region, running.next(), context)) {
                    return false;
                }
            }
            running.finish();
            return true;
        });
    }

private:
    /// Output rows [row, row + rows) of `count` planes from c on.
    struct Region {
        int64_t image, c, count, row, rows;
    };

    static constexpr size_t kReach = size_t{1} << 30;  ///< bytes

    int64_t taps() const {
        return problem_.filter_height * problem_.filter_width;
    }
    int64_t strips() const {
        return ceil_div(height_, blocking_.strip);
    }
    int64_t pieces() const {
        return problem_.batch * strips();
    }
    int64_t tasks() const {
        return blocking_.parts * ceil_div(problem_.groups, blocking_.planes);
    }
    /// What the kernel allocates for its copy of a plane's strip of x.
    double staged_floats(int64_t rows) const {
        const int64_t columns = (round_up(width_, lanes_) - 1) * stride_ + round_up(problem_.filter_width, v_) + 32;
        return static_cast<double>(columns) * static_cast<double>((round_up(rows, m_) - 1) * stride_ + round_up(problem_.filter_height, h_) + 1);
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        Arena arena;
        sums_offset_ = arena.reserve_floats(static_cast<double>(b.parts) * static_cast<double>(problem_.filter_elements()));
        Arena slot;
        const double staged = 4.0 * staged_floats(b.strip) + 512.0;
        heap_bytes_ = static_cast<size_t>(std::min(staged, 1e18));
        slot.reserve(staged);
        totals_offset_ = slot.reserve(RunningSums::total_bytes(ceil_div(pieces(), b.parts), static_cast<double>(b.planes * taps())));
        lay_out_slots(arena, slot, b.slots);
    }

    void predict() {
        const CostModel model(kernel_.isa);
        const Conv2dProblem &p = problem_;
        const double planes = static_cast<double>(p.batch * p.groups), calls = planes * static_cast<double>(strips());
        const double m = static_cast<double>(m_), hv = static_cast<double>(h_ * v_);
        const double tiles = static_cast<double>(ceil_div(p.filter_height, h_) * ceil_div(p.filter_width, v_));
        const double steps = calls * tiles * static_cast<double>(ceil_div(blocking_.strip, m_) * ceil_div(width_, lanes_));
        // With a stride, vectors of x are put together from two each.
        const double loads = ((m - 1) * static_cast<double>(stride_) + static_cast<double>(h_)) * static_cast<double>(v_);
        const double cycles = m * hv * (model.lanes >= 8 ? 1.0 : 2.0) + (stride_ == 1 ? 8.0 : 1.5 * loads);
        const double end = 4.0 * hv + 20.0;
        const double copied = calls * staged_floats(blocking_.strip);
        const double pixels = static_cast<double>(p.input_elements() + p.output_elements());
        serial_seconds = (steps * cycles + calls * tiles * end) / model.hertz + 4.0 * copied / 50e9 + 4.0 * pixels / 80e9 + 8.0 * static_cast<double>(p.filter_elements() * (blocking_.parts - 1)) / model.copy_bytes_per_second + static_cast<double>(tasks()) * model.call_seconds + 1e-6;
    }

    bool run(const FilterGradientTensors &t, float *sums, const Region &r, bool accumulate, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const Floats<3> gy(t.grad_output.data + r.image * t.grad_output.s[0] + r.c * t.grad_output.s[1] + r.row * t.grad_output.s[2], {{width_, 1}, {r.rows, t.grad_output.s[2]}, {r.count, t.grad_output.s[1]}});
        const Floats<3> x(t.input.data + r.image * t.input.s[0] + r.c * t.input.s[1], {{p.in_width, 1}, {p.in_height, t.input.s[2]}, {r.count, t.input.s[1]}});
        if (r.count > 1 && !(gy.fits() && x.fits())) {
            for (int64_t c = r.c; c < r.c + r.count; c++) {
                if (!run(t, sums, {r.image, c, 1, r.row, r.rows}, accumulate, context)) {
                    return false;
                }
            }
            return true;
        }
        // The filters of a convolution are those of the correlation from the last tap to the first.
        const bool flip = p.filter_mode == FilterMode::kConvolution;
        const int64_t direction = flip ? -1 : 1;
        const Floats<3> out(sums + r.c * taps() + (flip ? taps() - 1 : 0), {{p.filter_width, direction}, {p.filter_height, direction * p.filter_width}, {r.count, taps()}});
        return call(kernel_, context, gy, x, static_cast<int32_t>(-p.pad_left), static_cast<int32_t>(r.row * stride_ - p.pad_top), out, static_cast<int32_t>(accumulate), out);
    }

    const Variant &kernel_;
    const int64_t h_, v_, m_, stride_;  ///< filter rows and columns of a register tile, rows of gy of a step; the problem's
    const int64_t lanes_, height_, width_;  ///< of the output
    Blocking blocking_{};
    size_t heap_bytes_ = 0, totals_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_depthwise(const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    const bool zeros = p.padding_mode == PaddingMode::kZeros || (p.pad_top | p.pad_bottom | p.pad_left | p.pad_right) == 0;
    const bool plain = p.layout == Layout::kNchw && p.in_channels == p.groups && p.out_channels == p.groups && p.stride_h == p.stride_w && p.dilation_h == 1 && p.dilation_w == 1;
    if (!plain || !zeros) {
        return Status(StatusCode::kUnsupported, "conv_depthwise_backward_filters takes depthwise NCHW layers with one stride, dilation 1, one output a channel and zero padding");
    }
    return best_variant<DepthwiseBackwardFilters>(request, "conv_depthwise_backward_filters", [&](const Variant &kernel, const auto &consider) {
        if (kernel.parameter("stride", 1) == p.stride_h) {
            consider(std::make_unique<DepthwiseBackwardFilters>(request, kernel));
        }
    });
}

}  // namespace fourfold
