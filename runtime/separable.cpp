// SeparablePlan: a pass along rows into some rows of t, then one down columns. Each is a Plan of its own, direct and depthwise.
//
// A task is a band of output rows of one image, and of one channel in NCHW. It slides over its band a strip at a time: rows of t that
// two strips share are moved, not computed again. Where rows are padded they are first copied, some at a time, between their padding,
// and then read in place: faster than kernels that pad. Rows of t beyond the image follow from the padding mode: zeros, a constant times
// the sum of the row filter, or the image's row that the mode reads there.
#include "fourfold/separable.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <new>
#include <optional>
#include <sstream>

#include "algorithm.h"
#include "arena.h"
#include "capture.h"
#include "checks.h"
#include "cost_model.h"
#include "geometry.h"
#include "parallel.h"
#include "registry.h"
#include "views.h"

namespace fourfold {
namespace {

constexpr double kTolerance = 0x1p-21, kSlack = 1e-9;
constexpr int64_t kRowBlock = 16;        ///< rows of t that one call makes
constexpr int64_t kBandsPerPlane = 16;   ///< at most: more would share fewer rows

Status check_problem(const Conv2dProblem &p) {
    if (Status status = p.validate(); !status.ok()) {
        return status;
    }
    if (p.operation != Operation::kForward) {
        return Status(StatusCode::kUnsupported, p.to_string() + " is not fwd; rank-one filters as two passes are");
    }
    if (p.groups != p.in_channels || p.out_channels != p.in_channels) {
        return Status(StatusCode::kUnsupported, p.to_string() + " sums over channels or makes several of one; rank-one filters as two passes take each channel alone");
    }
    return Status();
}

/// One pass along one axis, filters packed.
struct Pass {
    std::optional<Plan> plan;
    std::vector<AlignedBuffer> filters;  ///< of each channel, or of all at once

    /// With the variant that was measured fastest for one-dimensional filters, if it can do the problem: conv_depthwise reading in
    /// place, along rows one of them at a time, down columns as many as share their taps (1x15: 0.102 ms where conv_direct takes
    /// 0.172; 15x1: 0.081 and 0.135; 1x3: 0.041 and 0.101; on 256 rows of 1000, one thread of a Xeon with AVX-512).
    Status make(const Conv2dProblem &problem, PlanOptions options) {
        const Variant *best = nullptr;
        for (const Variant *v : variants_of("conv_depthwise")) {
            const int m = v->parameter("m", 1);
            const bool suits = v->parameter("f", 1) == 0 && v->parameter("pad", 1) == 0 && v->parameter("stride", 1) == 1 && m <= problem.filter_height;
            if (suits && (best == nullptr || m > best->parameter("m", 1))) {
                best = v;
            }
        }
        options.variant = best != nullptr ? best->name : "";
        Result<Plan> made = Plan::create(problem, options);
        if (!made && best != nullptr) {
            options.variant.clear();
            made = Plan::create(problem, options);
        }
        if (!made) {
            return made.status();
        }
        plan = std::move(*made);
        return Status();
    }
    /// Packs `taps` a channel for `problem.out_channels` channels at a time.
    Status pack(const std::vector<float> &factors, int64_t taps) {
        const int64_t at_once = plan->problem().out_channels, channels = static_cast<int64_t>(factors.size()) / taps;
        const AlignedBuffer scratch(plan->workspace_bytes_unpacked());
        for (int64_t k = 0; k < channels; k += at_once) {
            filters.emplace_back(plan->packed_filter_bytes());
            if (filters.back().data() == nullptr || (plan->workspace_bytes_unpacked() > 0 && scratch.data() == nullptr)) {
                return Status(StatusCode::kResourceExhausted, "memory ran out while packing filters");
            }
            const Conv2dProblem &p = plan->problem();
            const int64_t row = p.filter_width;
            if (Status status = plan->pack_filters(ConstView(factors.data() + k * taps, taps, taps, row, 1), filters.back(), scratch); !status.ok()) {
                return status;
            }
        }
        return Status();
    }
    Status run(const float *in, const int64_t *in_strides, const Tensors &post, const MutableView &out, size_t channel_block, MemoryBlock workspace, const ExecutionContext &context) const {
        Tensors tensors = post;
        tensors.input = ConstView(in, in_strides[0], in_strides[1], in_strides[2], in_strides[3]);
        tensors.filters = Filters(filters[channel_block]);
        tensors.output = out;
        return plan->execute(tensors, {workspace.data, plan->workspace_bytes()}, context);
    }
};

}  // namespace

struct SeparablePlan::Impl {
    Conv2dProblem problem;
    int threads = 1;
    int slots = 1;
    int64_t channel_blocks = 1, block_channels = 1;  ///< NCHW: one channel at a time; NHWC: all
    int64_t row_block = 1, overlap_from = 1;         ///< rows of a block; leftovers from which on a whole block is cheaper
    int64_t strip = 1, strips_per_band = 1, bands = 1;
    Pass row_pass, one_row;                 ///< row_block rows, and one
    Pass column_pass, last_column_pass;     ///< strip rows, and what is left in the last strip
    std::vector<float> constant;            ///< t outside the image, for constant padding, of each channel
    std::array<int64_t, 4> t_strides{};     ///< of t
    size_t padded_offset = 0, t_offset = 0, inner_offset = 0, slot_bytes = 0, workspace_bytes = 0;
    double predicted_seconds = 0.0;

    int64_t t_row() const {
        return problem.out_width() * block_channels;
    }
    int64_t padded_width() const {
        return problem.in_width + problem.pad_left + problem.pad_right;
    }
    bool pads_rows() const {
        return problem.pad_left > 0 || problem.pad_right > 0;
    }
    int64_t reach() const {
        return problem.dilation_h * (problem.filter_height - 1) + 1;
    }
    /// Rows of t under so many output rows.
    int64_t rows_under(int64_t output_rows) const {
        return (output_rows - 1) * problem.stride_h + reach();
    }
    int64_t strips() const {
        return ceil_div(problem.out_height(), strip);
    }
    int64_t tasks() const {
        return problem.batch * channel_blocks * bands;
    }

    Status plan_passes(const SeparableFilters &filters, const PlanOptions &options);
    Status lay_out(size_t limit);
    void predict();
    Status make_rows(const float *plane, const int64_t *s, int64_t channel_block, int64_t first, int64_t last, int64_t at, std::byte *scratch, const ExecutionContext &context) const;
    Status run_band(const ForwardTensors &tensors, int64_t task, std::byte *scratch, const ExecutionContext &context) const;
};

Status SeparablePlan::Impl::plan_passes(const SeparableFilters &filters, const PlanOptions &options) {
    const Conv2dProblem &p = problem;
    if (options.device != Device::kCpu) {
        return Status(StatusCode::kUnsupported, "filters of rank one have no two passes on device '" + to_string(options.device) + "'");
    }
    PlanOptions direct;
    direct.algorithm = Algorithm::kDirect;
    direct.device = options.device;
    direct.threads = 1;
    Conv2dProblem rows;
    rows.layout = p.layout;
    rows.in_channels = rows.out_channels = rows.groups = block_channels;
    rows.filter_mode = p.filter_mode;
    Conv2dProblem columns = rows;
    rows.in_height = row_block;
    rows.in_width = padded_width();
    rows.filter_width = p.filter_width;
    rows.stride_w = p.stride_w;
    rows.dilation_w = p.dilation_w;
    Conv2dProblem row = rows;
    row.in_height = 1;
    columns.in_width = p.out_width();
    columns.filter_height = p.filter_height;
    columns.stride_h = p.stride_h;
    columns.dilation_h = p.dilation_h;
    columns.post_op = p.post_op;
    columns.clamp_lo = p.clamp_lo;
    columns.clamp_hi = p.clamp_hi;
    columns.residual = p.residual;
    columns.in_height = rows_under(strip);
    Conv2dProblem last = columns;
    last.in_height = rows_under(p.out_height() - (strips() - 1) * strip);
    const struct {
        Pass &pass;
        const Conv2dProblem &problem;
        const std::vector<float> &factors;
        int64_t taps;
    } passes[] = {{row_pass, rows, filters.rows, p.filter_width}, {one_row, row, filters.rows, p.filter_width}, {column_pass, columns, filters.columns, p.filter_height}, {last_column_pass, last, filters.columns, p.filter_height}};
    for (const auto &[pass, of, factors, taps] : passes) {
        if (Status status = pass.make(of, direct); !status.ok()) {
            return status;
        }
        if (Status status = pass.pack(factors, taps); !status.ok()) {
            return status;
        }
    }
    overlap_from = std::clamp<int64_t>(static_cast<int64_t>(row_pass.plan->predicted_seconds() / one_row.plan->predicted_seconds()), 1, row_block);
    return Status();
}

/// Offsets, and as many slots as the limit leaves room for.
Status SeparablePlan::Impl::lay_out(size_t limit) {
    Arena slot;
    padded_offset = slot.reserve_floats(pads_rows() ? static_cast<double>(row_block * padded_width() * block_channels) : 0.0);
    t_offset = slot.reserve_floats(static_cast<double>(rows_under(strip)) * static_cast<double>(t_row()));
    size_t inner = 0;
    for (const Pass *pass : {&row_pass, &one_row, &column_pass, &last_column_pass}) {
        inner = std::max(inner, pass->plan->workspace_bytes());
    }
    inner_offset = slot.reserve(static_cast<double>(inner));
    slot_bytes = slot.bytes();
    slots = affordable_slots(threads, tasks(), slot_bytes, slot_bytes, limit);
    workspace_bytes = slot_bytes * static_cast<size_t>(slots);
    if (slot_bytes > limit) {
        return Status(StatusCode::kResourceExhausted, "the two passes need " + bytes_text(slot_bytes) + " of workspace; the limit is " + bytes_text(limit));
    }
    return Status();
}

void SeparablePlan::Impl::predict() {
    // Rows that bands share are made twice.
    const double rows = static_cast<double>(std::min(problem.in_height, problem.out_height() * problem.stride_h) + (bands - 1) * (reach() - 1));
    const double one = rows / static_cast<double>(row_block) * row_pass.plan->predicted_seconds() + static_cast<double>(strips()) * column_pass.plan->predicted_seconds();
    const double padded = pads_rows() ? rows * static_cast<double>(padded_width() * block_channels) * sizeof(float) / 30e9 : 0.0;
    const double moved = static_cast<double>(strips() - bands) * static_cast<double>(std::max<int64_t>(0, rows_under(strip) - strip * problem.stride_h) * t_row()) * sizeof(float);
    predicted_seconds = static_cast<double>(problem.batch * channel_blocks) * (one + padded + moved / 50e9) / CostModel::parallel(threads, tasks());
}

/// Rows [first, last) of t, numbered as rows of x, written from row `at` of the buffer on. Rows before `at` are rows of t too.
Status SeparablePlan::Impl::make_rows(const float *plane, const int64_t *s, int64_t channel_block, int64_t first, int64_t last, int64_t at, std::byte *scratch, const ExecutionContext &context) const {
    const int64_t height = problem.in_height;
    const auto block = static_cast<size_t>(channel_block);
    float *const t = floats_at(scratch, t_offset), *const padded = floats_at(scratch, padded_offset);
    const MemoryBlock inner = {scratch + inner_offset, slot_bytes - inner_offset};
    const int64_t padded_row = padded_width() * block_channels, padded_strides[4] = {1, 1, padded_row, block_channels};
    const auto row_of_t = [&](int64_t i) { return t + (at + i - first) * t_row(); };
    const auto run = [&](const Pass &pass, int64_t from, int64_t to) {
        const MutableView rows(row_of_t(to), t_strides[0], t_strides[1], t_strides[2], t_strides[3]);
        const float *source = plane + from * s[2];
        if (!pads_rows()) {
            return pass.run(source, s, Tensors(), rows, block, inner, context);
        }
        for (int64_t i = 0; i < pass.plan->problem().in_height; i++) {
            pad_row(problem, source + i * s[2], problem.in_width > 1 ? s[3] : block_channels, block_channels, padded + i * padded_row);
        }
        return pass.run(padded, padded_strides, Tensors(), rows, block, inner, context);
    };
    for (int64_t i = first; i < last;) {
        Status status;
        if (i < 0 || i >= height) {
            const int64_t source = padding_source(problem.padding_mode, i, height);
            if (source >= 0) {
                status = run(one_row, source, i);
            } else if (problem.padding_mode == PaddingMode::kZeros) {
                std::fill_n(row_of_t(i), t_row(), 0.0f);
            } else {
                const float *values = constant.data() + channel_block * block_channels;
                for (int64_t j = 0; j < t_row(); j++) {
                    row_of_t(i)[j] = values[j % block_channels];
                }
            }
            i++;
        } else {
            const int64_t left = std::min(last, height) - i;
            // Where a few rows are left, a block that ends with them makes some rows again.
            const int64_t back = row_block - left;
            const bool whole = left >= row_block, again = !whole && left >= overlap_from && i >= back && at + i - first >= back;
            if (whole || again) {
                status = run(row_pass, again ? i - back : i, again ? i - back : i);
                i += std::min(left, row_block);
            } else {
                status = run(one_row, i, i);
                i++;
            }
        }
        if (!status.ok()) {
            return status;
        }
    }
    return Status();
}

Status SeparablePlan::Impl::run_band(const ForwardTensors &tensors, int64_t task, std::byte *scratch, const ExecutionContext &context) const {
    const StridedIn &x = tensors.input, &residual = tensors.residual;
    const StridedOut &y = tensors.output;
    const int64_t band = task % bands, channel_block = task / bands % channel_blocks, image = task / bands / channel_blocks;
    const int64_t channel = channel_block * block_channels;
    const float *plane = x.data + image * x.s[0] + channel * x.s[1];
    float *const t = floats_at(scratch, t_offset);
    const MemoryBlock inner = {scratch + inner_offset, slot_bytes - inner_offset};
    const int64_t first_strip = band * strips_per_band, last_strip = std::min(strips(), first_strip + strips_per_band);
    int64_t made = 0;  // rows of t in the buffer
    for (int64_t k = first_strip; k < last_strip; k++) {
        const int64_t row = k * strip, rows = std::min(strip, problem.out_height() - row);
        const int64_t first = row * problem.stride_h - problem.pad_top, needed = rows_under(rows);
        // The strip before has left what lies under both.
        int64_t kept = k == first_strip ? 0 : std::max<int64_t>(0, made - strip * problem.stride_h);
        if (kept > 0) {
            std::memmove(t, t + (made - kept) * t_row(), static_cast<size_t>(kept * t_row()) * sizeof(float));
        }
        kept = std::min(kept, needed);
        if (Status status = make_rows(plane, x.s, channel_block, first + kept, first + needed, kept, scratch, context); !status.ok()) {
            return status;
        }
        made = needed;
        Tensors post;
        post.bias = tensors.bias == nullptr ? nullptr : tensors.bias + channel;
        if (problem.residual) {
            post.residual = ConstView(residual.data + image * residual.s[0] + channel * residual.s[1] + row * residual.s[2], residual.s[0], residual.s[1], residual.s[2], residual.s[3]);
        }
        const MutableView out(y.data + image * y.s[0] + channel * y.s[1] + row * y.s[2], y.s[0], y.s[1], y.s[2], y.s[3]);
        const Pass &pass = k + 1 == strips() ? last_column_pass : column_pass;
        if (Status status = pass.run(t, t_strides.data(), post, out, static_cast<size_t>(channel_block), inner, context); !status.ok()) {
            return status;
        }
    }
    return Status();
}

Result<SeparableFilters> separate(const Conv2dProblem &problem, ConstView filters) {
    try {
        if (Status status = check_problem(problem); !status.ok()) {
            return status;
        }
        const int64_t f0 = problem.filter_height, f1 = problem.filter_width;
        StridedIn w;
        if (Status status = resolve("filters", filters, Layout::kNchw, {problem.out_channels, 1, f0, f1}, Role::kFilters, w); !status.ok()) {
            return status;
        }
        SeparableFilters result;
        result.channels = problem.out_channels;
        result.height = f0;
        result.width = f1;
        result.columns.resize(static_cast<size_t>(result.channels * f0));
        result.rows.resize(static_cast<size_t>(result.channels * f1));
        for (int64_t k = 0; k < result.channels; k++) {
            const auto at = [&](int64_t r, int64_t s) { return w.data[k * w.s[0] + r * w.s[2] + s * w.s[3]]; };
            // The largest tap's column as it is, and its row divided by it: of integers that are products of integers, exact.
            int64_t pivot_r = 0, pivot_s = 0;
            for (int64_t r = 0; r < f0; r++) {
                for (int64_t s = 0; s < f1; s++) {
                    if (std::fabs(at(r, s)) > std::fabs(at(pivot_r, pivot_s))) {
                        pivot_r = r;
                        pivot_s = s;
                    }
                }
            }
            const float pivot = at(pivot_r, pivot_s);
            float *column = result.columns.data() + k * f0, *row = result.rows.data() + k * f1;
            for (int64_t r = 0; r < f0; r++) {
                column[r] = at(r, pivot_s);
            }
            for (int64_t s = 0; s < f1; s++) {
                row[s] = pivot == 0.0f ? 0.0f : at(pivot_r, s) / pivot;
            }
            double worst = 0.0;
            bool close = true;
            const double slack = kSlack * std::fabs(pivot) / static_cast<double>(f0 * f1);
            for (int64_t r = 0; r < f0; r++) {
                for (int64_t s = 0; s < f1; s++) {
                    const double deviation = std::fabs(static_cast<double>(at(r, s)) - static_cast<double>(column[r]) * row[s]);
                    close = close && deviation <= kTolerance * std::fabs(at(r, s)) + slack;
                    worst = std::isnan(deviation) ? deviation : std::max(worst, deviation);
                }
            }
            if (!close) {
                return Status(StatusCode::kUnsupported, "filter " + std::to_string(k) + " is not of rank one: it is up to " + std::to_string(worst) + " off the nearest outer product's taps, the largest of which is " + std::to_string(pivot));
            }
        }
        return result;
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while separating filters");
    }
}

Result<SeparablePlan> SeparablePlan::create(const Conv2dProblem &problem, ConstView filters, const PlanOptions &options) {
    const Result<SeparableFilters> factors = separate(problem, filters);
    return factors ? create(problem, *factors, options) : Result<SeparablePlan>(factors.status());
}

Result<SeparablePlan> SeparablePlan::create(const Conv2dProblem &problem, const SeparableFilters &filters, const PlanOptions &options) {
    try {
        Result<SeparablePlan> plan = make(problem, filters, options);
        if (plan) {
            capture(problem);
        }
        return plan;
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while planning");
    }
}

Result<SeparablePlan> SeparablePlan::make(const Conv2dProblem &problem, const SeparableFilters &filters, const PlanOptions &options) {
    if (Status status = check_problem(problem); !status.ok()) {
        return status;
    }
    if (options.algorithm != Algorithm::kAuto && options.algorithm != Algorithm::kDirect) {
        return Status(StatusCode::kUnsupported, std::string("rank-one filters as two passes are direct; '") + to_string(options.algorithm) + "' was named");
    }
    const auto sized = [&](const std::vector<float> &factors, int64_t taps) { return static_cast<int64_t>(factors.size()) == problem.out_channels * taps; };
    if (filters.channels != problem.out_channels || filters.height != problem.filter_height || filters.width != problem.filter_width || !sized(filters.columns, filters.height) || !sized(filters.rows, filters.width)) {
        return bad("the factors are of " + std::to_string(filters.channels) + " filters of " + std::to_string(filters.height) + "x" + std::to_string(filters.width) + " with " + std::to_string(filters.columns.size()) + " and " +
                   std::to_string(filters.rows.size()) + " values; '" + problem.to_string() + "' has " + std::to_string(problem.out_channels) + " of " + std::to_string(problem.filter_height) + "x" + std::to_string(problem.filter_width));
    }
    const PlansOfParts passes;
    auto impl = std::make_shared<Impl>();
    impl->problem = problem;
    impl->threads = options.threads;
    if (Status status = prepare_process(impl->threads); !status.ok()) {
        return status;
    }
    const bool nchw = problem.layout == Layout::kNchw;
    impl->block_channels = nchw ? 1 : problem.in_channels;
    impl->channel_blocks = nchw ? problem.in_channels : 1;
    const int64_t columns = problem.out_width();
    impl->t_strides = nchw ? std::array<int64_t, 4>{1, 1, columns, 1} : std::array<int64_t, 4>{1, 1, columns * impl->block_channels, impl->block_channels};
    for (int64_t k = 0; k < problem.out_channels && problem.padding_mode == PaddingMode::kConstant; k++) {
        double sum = 0.0;
        for (int64_t s = 0; s < problem.filter_width; s++) {
            sum += filters.rows[static_cast<size_t>(k * problem.filter_width + s)];
        }
        impl->constant.push_back(static_cast<float>(sum * problem.padding_value));
    }
    impl->row_block = std::min(kRowBlock, problem.in_height);
    // New rows of a strip: whole blocks, half of the L2 as long as most rows of t are new ones.
    const double half_l2 = static_cast<double>(machine().l2_bytes) / 2 / sizeof(float);
    const auto rows_in_cache = static_cast<int64_t>(half_l2 / static_cast<double>(impl->t_row())) - (impl->reach() - 1);
    const int64_t rows = round_up(std::max(rows_in_cache - kRowBlock + 1, impl->reach() / 2), kRowBlock);
    impl->strip = std::clamp<int64_t>(ceil_div(std::max(rows, kRowBlock), problem.stride_h), 1, problem.out_height());
    // Something to do for several threads, however many there are, where bands would share few rows.
    if (const int64_t quarter = ceil_div(problem.out_height(), 4); quarter >= kRowBlock && quarter * problem.stride_h >= 2 * (impl->reach() - 1)) {
        impl->strip = std::min(impl->strip, quarter);
    }
    Status status;
    do {
        const int64_t strips = impl->strips();
        impl->strips_per_band = ceil_div(strips, kBandsPerPlane);
        impl->bands = ceil_div(strips, impl->strips_per_band);
        for (Pass *pass : {&impl->row_pass, &impl->one_row, &impl->column_pass, &impl->last_column_pass}) {
            *pass = Pass();
        }
        status = impl->plan_passes(filters, options);
        if (!status.ok()) {
            return status;
        }
        status = impl->lay_out(options.workspace_limit);
    } while (!status.ok() && impl->strip > 1 && (impl->strip = ceil_div(impl->strip, 2)) > 0);
    if (!status.ok()) {
        return status;
    }
    impl->predict();
    SeparablePlan plan;
    plan.impl_ = std::move(impl);
    return plan;
}

const Conv2dProblem &SeparablePlan::problem() const {
    return impl_->problem;
}

int SeparablePlan::threads() const {
    return impl_->threads;
}

size_t SeparablePlan::workspace_bytes() const {
    return impl_->workspace_bytes;
}

double SeparablePlan::predicted_seconds() const {
    return impl_->predicted_seconds;
}

std::string SeparablePlan::describe() const {
    std::ostringstream s;
    s << "problem    " << impl_->problem.to_string() << "\n"
      << "algorithm  direct, rank-one filters as two passes\n"
      << "variants   rows " << impl_->row_pass.plan->variant() << ", columns " << impl_->column_pass.plan->variant() << "\n"
      << "blocking   strips of " << impl_->strip << " output rows, " << impl_->strips_per_band << " a task, " << impl_->tasks() << " tasks, " << impl_->slots << " at a time\n"
      << "memory     workspace " << bytes_text(workspace_bytes()) << "\n"
      << "threads    " << impl_->threads << "\n"
      << "predicted  " << impl_->predicted_seconds * 1e3 << " ms\n";
    return s.str();
}

Status SeparablePlan::execute(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return bad("the plan is empty; make one with SeparablePlan::create");
    }
    ForwardTensors t;
    Tensors given = tensors;
    given.filters = Filters();  // ignored, and may be anything
    if (Status status = resolve_image(impl_->problem, given, workspace, impl_->workspace_bytes, t); !status.ok()) {
        return status;
    }
    Executor &executor = context.executor != nullptr ? *context.executor : default_executor();
    auto *scratch = static_cast<std::byte *>(workspace.data);
    // A plan inside a task is for one thread and runs on it.
    ExecutionContext inner = context;
    inner.executor = &executor;
    return parallel_for({executor, context.profile}, impl_->slots, impl_->tasks(), [&](int64_t task, int slot, KernelContext &kernel) {
        const Status status = impl_->run_band(t, task, scratch + static_cast<size_t>(slot) * impl_->slot_bytes, inner);
        if (!status.ok()) {
            std::snprintf(kernel.text, sizeof kernel.text, "%s", status.message().c_str());
        }
        return status.ok();
    });
}

}  // namespace fourfold
