// bwd-filters by whole-plane transforms: the forward problem in which images and input channels change places and gy is the
// filter, with stride and dilation exchanged:
//
//     gw[k,c,r] = sum_n sum_p x[n,c, p*s + r*d - pad] * gy[n,k,p]          (one axis written)
//
// is an image of "channels" n for each c, convolved with "filters" (k, n) of o taps. Padding stays what it is. Large batches are
// summed part by part; with groups image by image, since the groups then are what the channels of that problem are.
#include <algorithm>

#include "backward_filters.h"

namespace fourfold {
namespace {

class FftBackwardFilters final : public BackwardFiltersPlan {
public:
    explicit FftBackwardFilters(const PlanRequest &request)
        : BackwardFiltersPlan(request), images_(problem_.groups > 1 ? 1 : ceil_div(problem_.batch, ceil_div(problem_.batch, kImagesOfASum))), exchanged_(filter_gradient_problem(problem_, images_)) {
    }

    Status plan(const AlgorithmEntry &entry, const PlanRequest &request) {
        PlanRequest part = request;
        part.problem = exchanged_;
        part.rank = nullptr;  // it knows the whole problem only
        Arena arena;
        const double sums = static_cast<double>(exchanged_.batch) * static_cast<double>(exchanged_.out_channels) * static_cast<double>(exchanged_.out_height() * exchanged_.out_width());
        sums_offset_ = arena.reserve_floats(sums);
        totals_offset_ = arena.reserve(RunningSums::total_bytes(rounds(), sums));
        packed_offset_ = arena.bytes();
        size_t own = packed_offset_;
        // The size of the packed gradient is known with the plan; a limit then holds for what is left.
        for (int attempt = 0; attempt < 2; attempt++) {
            if (own > request.options.workspace_limit) {
                workspace_bytes = own;
                return workspace_exhausted(own, request.options.workspace_limit);
            }
            part.options.workspace_limit = request.options.workspace_limit - own;
            Result<std::unique_ptr<AlgorithmPlan>> plan = plan_forward(entry, part);
            if (!plan) {
                return Status(plan.status().code(), "as a forward problem, '" + exchanged_.to_string() + "': " + plan.status().message() + (attempt > 0 ? " (besides " + std::to_string(own) + " bytes)" : ""));
            }
            plan_ = std::move(*plan);
            size_t packed = plan_->packed_bytes, scratch = std::max(plan_->workspace_bytes, plan_->pack_workspace_bytes);
            if (problem_.batch % images_ != 0) {
                PlanRequest last = part;
                last.problem.in_channels = problem_.batch % images_;
                Result<std::unique_ptr<AlgorithmPlan>> rest = plan_forward(entry, last);
                if (!rest) {
                    return rest.status();
                }
                rest_ = std::move(*rest);
                packed = std::max(packed, rest_->packed_bytes);
                scratch = std::max({scratch, rest_->workspace_bytes, rest_->pack_workspace_bytes});
            }
            own = packed_offset_ + (packed + kAlignment - 1) / kAlignment * kAlignment;
            workspace_bytes = own + scratch;
            if (workspace_bytes <= request.options.workspace_limit) {
                break;
            }
        }
        scratch_offset_ = own;
        if (workspace_bytes > request.options.workspace_limit) {
            return workspace_exhausted(workspace_bytes, request.options.workspace_limit);
        }
        serial_workspace_bytes = own + std::max(plan_->serial_workspace_bytes, plan_->pack_workspace_bytes);
        if (rest_ != nullptr) {
            serial_workspace_bytes = std::max(serial_workspace_bytes, own + std::max(rest_->serial_workspace_bytes, rest_->pack_workspace_bytes));
        }
        variant = plan_->variant;
        choice = plan_->choice;
        layout = plan_->layout;
        details = "as '" + exchanged_.to_string() + "'" + (rounds() > 1 ? ", " + std::to_string(rounds()) + " times" : "") + ": " + plan_->details;
        // Packing transforms one plane for each of gy.
        const Conv2dProblem &q = exchanged_;
        const double times = static_cast<double>(problem_.batch) / static_cast<double>(images_);
        const double channels = static_cast<double>(q.in_channels / q.groups), outputs = static_cast<double>(q.out_channels / q.groups);
        const double packing = 2.0 * channels * outputs / (static_cast<double>(q.batch) * (channels + outputs));
        serial_seconds = plan_->serial_seconds * times * (1.0 + packing);
        predicted_seconds = plan_->predicted_seconds * times * (1.0 + packing);
        return Status();
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_, &q = exchanged_;
        float *sums = floats_at(workspace, sums_offset_);
        const int64_t plane = q.out_height() * q.out_width(), all = q.batch * q.out_channels * plane;
        RunningSums running(sums, 1, all, all, reinterpret_cast<double *>(workspace + totals_offset_));
        ForwardTensors one;
        one.output = {sums, {q.out_channels * plane, plane, q.out_width(), 1}};
        if (q.residual) {
            one.residual = {sums, {one.output.s[0], one.output.s[1], one.output.s[2], one.output.s[3]}};
        }
        for (int64_t round = 0; round < rounds(); round++) {
            if (!running.next() && q.residual) {
                std::fill_n(sums, all, 0.0f);
            }
            const int64_t n = round * images_;
            const AlgorithmPlan &plan = n + images_ <= p.batch ? *plan_ : *rest_;
            const int64_t *x = t.input.s, *gy = t.grad_output.s;
            one.input = {t.input.data + n * x[0], {x[1], p.groups > 1 ? q.batch * x[1] : x[0], x[2], x[3]}};
            const StridedIn filters = {t.grad_output.data + n * gy[0], {gy[1], gy[0], gy[2], gy[3]}};
            Status status = plan.pack(filters, workspace + packed_offset_, workspace + scratch_offset_, execution);
            if (status.ok()) {
                status = plan.forward(one, workspace + packed_offset_, workspace + scratch_offset_, execution);
            }
            if (!status.ok()) {
                return status;
            }
        }
        running.finish();
        const bool flip = p.filter_mode == FilterMode::kConvolution;
        const Status status = parallel_for(execution, threads_, p.out_channels, [&](int64_t k, int, KernelContext &) {
            const int64_t *w = t.grad_filters.s;
            for (int64_t c = 0; c < q.batch; c++) {
                for (int64_t r = 0; r < p.filter_height; r++) {
                    for (int64_t s = 0; s < p.filter_width; s++) {
                        const int64_t row = flip ? p.filter_height - 1 - r : r, column = flip ? p.filter_width - 1 - s : s;
                        t.grad_filters.data[k * w[0] + c * w[1] + r * w[2] + s * w[3]] = sums[(c * q.out_channels + k) * plane + row * q.out_width() + column];
                    }
                }
            }
            return true;
        });
        return status.ok() ? bias_gradient(p, t.grad_output, t.grad_bias, threads_, execution) : status;
    }

private:
    int64_t rounds() const {
        return ceil_div(problem_.batch, images_);
    }

    const int64_t images_;  ///< at a time
    const Conv2dProblem exchanged_;
    std::unique_ptr<AlgorithmPlan> plan_, rest_;  ///< of images_ images; of the last ones where they are fewer
    size_t sums_offset_ = 0, totals_offset_ = 0, packed_offset_ = 0, scratch_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_fft(const PlanRequest &request) {
    auto plan = std::make_unique<FftBackwardFilters>(request);
    for (const AlgorithmEntry &entry : algorithms()) {
        if (entry.algorithm == Algorithm::kFft) {
            if (Status status = plan->plan(entry, request); !status.ok()) {
                return status;
            }
        }
    }
    return std::unique_ptr<AlgorithmPlan>(std::move(plan));
}

}  // namespace fourfold
