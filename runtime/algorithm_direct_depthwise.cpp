// direct, where every group has one input channel: depthwise layers and images. conv_depthwise reads the planes where they lie, or
// copies them between zeros while they are in cache, and writes the finished output; there is no pad stage for zeros, and no crop.
// conv_depthwise_masked is called like it, copies nothing and looks at the edges itself. For other padding modes the rows of a strip are copied
// between their padding, and then read in place.
// Planes up to 8 columns wide have conv_depthwise_small.
//
// A task is a run of planes, or a strip of rows of one. With a dilation of d rows each residue class of output rows is a problem
// of its own without one: rows e, e + d, ... read the input rows congruent to e - pad.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "geometry.h"
#include "kernel.h"
#include "parallel.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

/// The stage that reads zero padding from no copy.
constexpr const char *kMasked = "conv_depthwise_masked";

/// What a task covers.
struct Blocking {
    int64_t planes;  ///< input planes
    int64_t strip;   ///< output rows of a class, a multiple of m unless all
};

class DepthwisePlan final : public AlgorithmPlan {
public:
    /// `direct` is the variant that reads x where it lies, for problems without padding, or the strip that has been padded; null: `kernel` copies,
    /// or masks what lies beyond the edges.
    DepthwisePlan(const PlanRequest &request, const Variant &kernel, const Variant *direct)
        : problem_(request.problem), kernel_(kernel), direct_(direct), masked_(std::string(kernel.stage) == kMasked), copies_(direct == nullptr && !masked_), pack_(*find_variant("pack_filters")), m_(kernel.parameter("m", 1)), columns_(kernel.parameter("n", 1) * vector_lanes(kernel.isa)), stride_(kernel.parameter("stride", 1)), threads_(request.options.threads) {
        const Conv2dProblem &p = problem_;
        variant = direct != nullptr ? direct->name : kernel.name;
        multiplier_ = p.out_channels / p.groups;
        classes_ = std::min(p.dilation_h, p.out_height());
        class_rows_ = ceil_div(p.out_height(), classes_);
        extend_ = p.padding_mode != PaddingMode::kZeros && (p.pad_top > 0 || p.pad_bottom > 0 || p.pad_left > 0 || p.pad_right > 0);
        clamp_ = kernel_clamp(p);
        for (int64_t t = 0; t < taps(); t++) {
            const int64_t r = t % p.filter_height, s = t / p.filter_height;
            const bool flip = p.filter_mode == FilterMode::kConvolution;
            tap_rows_.push_back(static_cast<int32_t>(flip ? p.filter_height - 1 - r : r));
            tap_columns_.push_back(static_cast<int32_t>(flip ? p.filter_width - 1 - s : s));
        }
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        if (Status status = planes_within_reach(p); !status.ok()) {
            return status;
        }
        // Decided, and ranked, for one thread; then split among the threads. Strips are whole register tiles, so no sum changes.
        Blocking b{p.groups, class_rows_};
        const double l2 = static_cast<double>(machine().l2_bytes) / sizeof(float);
        while (b.strip > 4 * m_ && (copies_ || extend_) && (copies_ ? staged_floats(b.strip) : extended_floats(b.strip)) > l2 / 3) {
            b.strip = round_up((b.strip + 1) / 2, m_);
        }
        slots_ = 1;
        lay_out(b);
        const auto beyond_reach = [&] { return std::max(static_cast<double>(heap_bytes_), !copies_ && extend_ ? 4.0 * extended_floats(b.strip) : 0.0) > static_cast<double>(kReach); };
        while ((workspace_bytes > workspace_limit || beyond_reach()) && b.strip > m_) {
            b.strip = round_up((b.strip + 1) / 2, m_);
            lay_out(b);
        }
        if (beyond_reach()) {
            return Status(StatusCode::kUnsupported, "the rows of one register tile are over 2^30 bytes, more than a kernel call can reach");
        }
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        predict();
        serial_workspace_bytes = workspace_bytes;
        if (threads_ > 1 && p.flops() >= 2e6) {
            const int64_t wanted = 4 * threads_;
            if (p.batch * classes_ * strips() * p.groups >= wanted) {
                b.planes = std::max<int64_t>(1, p.groups * p.batch * classes_ * strips() / wanted);
                b.planes = std::min(b.planes, p.groups);
            } else {
                b.planes = 1;
                while (b.strip > 2 * m_ && p.batch * classes_ * ceil_div(class_rows_, b.strip) * p.groups < wanted) {
                    b.strip = round_up((b.strip + 1) / 2, m_);
                }
            }
        }
        lay_out(b);
        slots_ = affordable_slots(threads_, tasks(), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out(b);
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks());
        layout = "direct depthwise";
        Arena packed;
        packed.reserve_floats(static_cast<double>(p.out_channels * taps()));
        packed_bytes = packed.bytes();
        details = std::to_string(b.planes) + " of " + std::to_string(p.groups) + " planes a task, strips of " + std::to_string(b.strip) + " output rows, " + std::to_string(tasks()) + " tasks, " + std::to_string(slots_) + " at a time; " + (extend_ ? "rows are copied between their padding" : masked_ ? "the image is read where it lies, its edges under masks" : direct_ != nullptr ? "the image is read where it lies" : "rows are copied between zeros");
        return Status();
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const int64_t at_once = std::clamp<int64_t>((int64_t{1} << 22) / taps(), 1, p.out_channels);
        return parallel_for(execution, 1, ceil_div(p.out_channels, at_once), [&](int64_t task, int, KernelContext &context) {
            const int64_t k = task * at_once, count = std::min(at_once, p.out_channels - k);
            const KernelBuffer<float, 5> from(w.data + k * w.s[0], {{p.filter_width, w.s[3]}, {p.filter_height, w.s[2]}, {1, w.s[1]}, {1, w.s[0]}, {count, w.s[0]}});
            const KernelBuffer<float, 5> to(floats_at(packed, 0) + k * taps(), {{1, 1}, {taps(), 1}, {1, taps()}, {1, taps()}, {count, taps()}});
            if (!from.fits() && count > 1) {
                for (int64_t i = k; i < k + count; i++) {
                    const KernelBuffer<float, 5> one(w.data + i * w.s[0], {{p.filter_width, w.s[3]}, {p.filter_height, w.s[2]}, {1, w.s[1]}, {1, w.s[0]}, {1, w.s[0]}});
                    const KernelBuffer<float, 5> place(floats_at(packed, 0) + i * taps(), {{1, 1}, {taps(), 1}, {1, taps()}, {1, taps()}, {1, taps()}});
                    if (!call(pack_, context, one, Ints<2>(tap_rows_.data(), {{taps(), 1}, {1, taps()}}), Ints<1>(tap_columns_.data(), {{taps(), 1}}), place)) {
                        return false;
                    }
                }
                return true;
            }
            return call(pack_, context, from, Ints<2>(tap_rows_.data(), {{taps(), 1}, {1, taps()}}), Ints<1>(tap_columns_.data(), {{taps(), 1}}), to);
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const float *bias = bias_or_zeros(t.bias, floats_at(workspace, bias_offset_), problem_.out_channels);
        // Lanes past a row's end compute garbage that nobody stores, but denormals left in the workspace would slow them a hundredfold.
        for (int slot = 0; slot < slots_; slot++) {
            std::memset(workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_ + heap_offset_, 0, heap_bytes_);
        }
        return parallel_for(execution, slots_, tasks(), [&](int64_t index, int slot, KernelContext &context) {
            std::byte *scratch = workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_;
            context.heap = scratch + heap_offset_;
            context.heap_bytes = heap_bytes_;
            const int64_t runs = ceil_div(problem_.groups, blocking_.planes);
            const int64_t first_row = index % strips() * blocking_.strip;
            index /= strips();
            const int64_t e = index % classes_;
            index /= classes_;
            const int64_t c = index % runs * blocking_.planes;
            const Region region = {index / runs, c, std::min(blocking_.planes, problem_.groups - c), e, first_row, std::min(blocking_.strip, rows_of_class(e) - first_row)};
            return region.rows <= 0 || run(t, floats_at(packed, 0), bias, region, floats_at(scratch, extended_offset_), context);
        });
    }

private:
    /// Rows [row, row + rows) of class e of the outputs of `count` input planes from c on.
    struct Region {
        int64_t image, c, count, e, row, rows;
    };

    static constexpr size_t kReach = size_t{1} << 30;  ///< bytes

    int64_t taps() const {
        return problem_.filter_height * problem_.filter_width;
    }
    int64_t strips() const {
        return ceil_div(class_rows_, blocking_.strip);
    }
    int64_t tasks() const {
        return problem_.batch * ceil_div(problem_.groups, blocking_.planes) * classes_ * strips();
    }
    int64_t rows_of_class(int64_t e) const {
        return ceil_div(problem_.out_height() - e, classes_);
    }
    /// Columns and rows of the image that whole register tiles read.
    int64_t tile_columns() const {
        return (round_up(problem_.out_width(), columns_) - 1) * stride_ + (problem_.filter_width - 1) * problem_.dilation_w + 1;
    }
    int64_t tile_rows(int64_t rows) const {
        return (round_up(rows, m_) - 1) * stride_ + problem_.filter_height;
    }
    /// What the kernel allocates for its copy of a plane's strip.
    double staged_floats(int64_t rows) const {
        return static_cast<double>(round_up(tile_columns() + 1, 16) + 16) * static_cast<double>(tile_rows(rows) + stride_);
    }
    /// Rows of the image that so many output rows read, and the padded ones' pitch: whole register tiles read within it.
    int64_t extended_rows(int64_t rows) const {
        return (rows - 1) * stride_ + problem_.filter_height;
    }
    int64_t pitch() const {
        const int64_t width = round_up(std::max(problem_.in_width + problem_.pad_left + problem_.pad_right, tile_columns()), 16);
        return width % 1024 == 0 ? width + 16 : width;  // rows 4 KiB apart would fight for the same lines of L1
    }
    double extended_floats(int64_t rows) const {
        return static_cast<double>(pitch()) * static_cast<double>(tile_rows(rows));
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        Arena arena;
        bias_offset_ = arena.reserve_floats(static_cast<double>(problem_.out_channels));
        slots_offset_ = arena.reserve(0);
        Arena slot;
        // Where the image is read in place, only its last rows are copied: see run(). Padded rows are never copied again.
        const double staged = masked_ || (direct_ != nullptr && extend_) ? 0.0 : 4.0 * staged_floats(direct_ != nullptr ? std::min(b.strip, edge_rows()) : b.strip) + 512.0;
        heap_bytes_ = static_cast<size_t>(std::min(staged, 1e18));
        heap_offset_ = slot.reserve(staged);
        extended_offset_ = slot.reserve_floats(extend_ ? extended_floats(b.strip) : 0.0);
        slot_bytes_ = slot.bytes();
        arena.reserve(static_cast<double>(slot_bytes_) * slots_);
        workspace_bytes = arena.bytes();
    }

    void predict() {
        const CostModel model(kernel_.isa);
        const Conv2dProblem &p = problem_;
        const double n = static_cast<double>(columns_ / vector_lanes(kernel_.isa)), m = static_cast<double>(m_);
        const double planes = static_cast<double>(p.batch * p.groups);
        const double tiles = planes * static_cast<double>(multiplier_ * classes_ * ceil_div(class_rows_, m_)) * static_cast<double>(ceil_div(p.out_width(), columns_));
        const double f0 = static_cast<double>(p.filter_height), f1 = static_cast<double>(p.filter_width);
        // Rows of zeros are skipped where the filter is large.
        const double fma = m * n * f0 * f1 / (model.lanes >= 8 ? 2.0 : 1.0);
        const double load = f1 * (f0 + (m - 1) * static_cast<double>(stride_)) * n * (stride_ == 1 ? 1.0 : 3.0) + f0 * f1 / 2;
        const bool any = kernel_.parameter("f", 0) == 0;
        // Few sums wait for each other. Of a filter of one row, loads are all that counts (measured: 1x3 to 1x15).
        const bool row = m_ == 1 && p.filter_height == 1;
        // One vector of a small filter: those of successive tiles overlap, with nothing between them (measured: 3x3).
        const bool one = !any && m_ == 1 && n == 1;
        // Measured: 6.5 and 9 cycles for a vector of 3x3 with stride 1 and 2 within the image, three times as many at its sides; with more
        // sums half as many more at each side. SSE has no masks.
        const double edge_columns = std::min(1.0, ((p.pad_left > 0 ? 1.0 : 0.0) + (p.pad_right > 0 || p.out_width() % columns_ != 0 ? 1.0 : 0.0)) / static_cast<double>(ceil_div(p.out_width(), columns_)));
        const double edge_rows = std::min(1.0, ((p.pad_top > 0 ? 1.0 : 0.0) + (p.pad_bottom > 0 || class_rows_ % m_ != 0 ? 1.0 : 0.0)) / static_cast<double>(ceil_div(class_rows_, m_)));
        const double within = one ? f0 * f1 * (stride_ == 1 ? 0.72 : 0.97) : std::max(fma, load) + 3 * m * n;
        const double masked_cycles = model.lanes < 8 ? f0 * f1 * m * n * (stride_ == 1 ? 1.8 : 12.0) /* a guess */ : within * (1 + (one ? 2.0 : 0.5) * edge_columns) * (one ? 1.0 : 1 + 0.5 * edge_rows);
        const double cycles = masked_ ? masked_cycles : one ? 1.2 * f0 * f1 + 1 : row ? std::max(1.3 * fma, load) + 5 : (1.05 + 2.0 / (m * n)) * std::max(fma, load) + 3 * m * n + 40 + (any ? 6 * f1 * f0 / m + 20 : 0);
        const double pixels = static_cast<double>(p.input_elements() + p.output_elements() * (p.residual ? 2 : 1));
        const double copied = !copies_ ? 0.0 : planes * static_cast<double>(classes_) * static_cast<double>(ceil_div(class_rows_, blocking_.strip)) * staged_floats(blocking_.strip);
        const double extended = extend_ ? planes * static_cast<double>(classes_) * static_cast<double>(ceil_div(class_rows_, blocking_.strip)) * extended_floats(blocking_.strip) : 0.0;
        const double calls = static_cast<double>(tasks());
        serial_seconds = tiles * cycles / model.hertz + 4.0 * pixels / 80e9 + 4.0 * copied / 50e9 + 4.0 * extended / model.copy_bytes_per_second + calls * model.call_seconds + 1e-6;
    }

    /// Output rows of a class whose tiles may read past the image's end.
    int64_t edge_rows() const {
        const int64_t columns_beyond = std::max<int64_t>(0, tile_columns() - problem_.in_width);
        return (2 + columns_beyond / (problem_.in_width * problem_.dilation_h)) * m_;
    }

    bool run(const ForwardTensors &t, const float *packed, const float *bias, const Region &r, float *extended, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        if (extend_) {
            // Image row of the region's first tap row.
            const int64_t first = r.e + r.row * classes_step() - p.pad_top;
            for (int64_t c = r.c; c < r.c + r.count; c++) {
                const float *plane = t.input.data + r.image * t.input.s[0] + c * t.input.s[1];
                const int64_t width = p.in_width + p.pad_left + p.pad_right, height = extended_rows(r.rows);
                for (int64_t i = 0; i < height; i++) {
                    float *row = extended + i * pitch();
                    if (const int64_t y = padding_source(p.padding_mode, first + i * row_step(), p.in_height); y < 0) {
                        std::fill_n(row, width, p.padding_value);
                    } else {
                        pad_row(p, plane + y * t.input.s[2], 1, 1, row);
                    }
                    // What garbage is computed from nobody stores, but denormals would slow it.
                    std::fill(row + width, row + pitch(), 0.0f);
                }
                std::fill(extended + height * pitch(), extended + tile_rows(r.rows) * pitch(), 0.0f);
                const Source x = {extended, width, height, pitch(), 0, 0, 0};
                Region one = r;
                one.c = c;
                one.count = 1;
                if (!kernel(direct_ != nullptr ? *direct_ : kernel_, t, packed, bias, one, x, context)) {
                    return false;
                }
            }
            return true;
        }
        // Input rows of the class are congruent to rho; origin counts them.
        const int64_t step = row_step();
        const int64_t top = r.e - p.pad_top;
        const int64_t rho = ((top % step) + step) % step;
        const int64_t origin = (top - rho) / step + r.row * stride_;
        const int64_t height = rho < p.in_height ? ceil_div(p.in_height - rho, step) : 0;
        // The rows that the region reads, at least one.
        const int64_t begin = std::clamp<int64_t>(origin, 0, std::max<int64_t>(0, height - 1));
        const int64_t end = std::clamp<int64_t>(origin + extended_rows(r.rows), std::min(begin + 1, std::max<int64_t>(height, 1)), std::max<int64_t>(height, 1));
        const float *plane = t.input.data + r.image * t.input.s[0] + r.c * t.input.s[1];
        if (height == 0) {
            // Only zeros: any one row, and an origin past it.
            return kernel(kernel_, t, packed, bias, r, {plane, p.in_width, 1, t.input.s[2], t.input.s[1], -p.pad_left, 1}, context);
        }
        const Source x = {plane + (rho + begin * step) * t.input.s[2], p.in_width, end - begin, step * t.input.s[2], t.input.s[1], -p.pad_left, origin - begin};
        if (direct_ == nullptr) {
            return kernel(kernel_, t, packed, bias, r, x, context);
        }
        // In place, tiles read past the ends of rows and, in the last ones, past the plane: into the next plane where there is one.
        const int64_t reach = rho * t.input.s[2] + (tile_rows(r.rows) - 1 + origin) * x.row_stride + tile_columns();
        const int64_t inside = (p.in_height - 1) * t.input.s[2] + p.in_width;
        const bool dense = t.input.s[2] == p.in_width && t.input.s[1] == p.in_height * p.in_width;
        const int64_t safe = dense ? std::clamp<int64_t>(p.groups - r.c - ceil_div(std::max<int64_t>(0, reach - inside), inside), 0, r.count) : reach <= inside ? r.count : 0;
        Region part = r;
        if (safe > 0) {
            part.count = safe;
            if (!kernel(*direct_, t, packed, bias, part, x, context)) {
                return false;
            }
        }
        for (int64_t c = r.c + safe; c < r.c + r.count; c++) {
            // The rows whose tiles stay inside, then the rest from a copy.
            int64_t rows = r.rows;
            while (rows > 0 && rho * t.input.s[2] + (tile_rows(rows) - 1 + origin) * x.row_stride + tile_columns() > inside) {
                rows = (rows - 1) / m_ * m_;
            }
            Source at = x;
            at.data += (c - r.c) * x.plane_stride;
            part = {r.image, c, 1, r.e, r.row, rows};
            if (rows > 0 && !kernel(*direct_, t, packed, bias, part, at, context)) {
                return false;
            }
            if (rows < r.rows) {
                part.row += rows;
                part.rows = r.rows - rows;
                at.data += rows * stride_ * at.row_stride;
                at.height -= rows * stride_;
                if (!kernel(kernel_, t, packed, bias, part, at, context)) {
                    return false;
                }
            }
        }
        return true;
    }

    /// Rows of a class, and the pixel of x where its first output's first tap lies.
    struct Source {
        const float *data;
        int64_t width, height, row_stride, plane_stride, origin_x, origin_y;
    };

    /// Input rows between those that the taps of a class read, and between its outputs'.
    int64_t row_step() const {
        return problem_.dilation_h;
    }
    int64_t classes_step() const {
        return row_step() * stride_;
    }

    bool kernel(const Variant &kernel, const ForwardTensors &t, const float *packed, const float *bias, const Region &r, const Source &x, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t *s = t.output.s;
        const bool in_place = &kernel == direct_;
        const int64_t width = in_place ? tile_columns() : x.width, height = in_place ? tile_rows(r.rows) : x.height;
        const int64_t step = classes_;  // of its output rows
        const int64_t k = r.c * multiplier_;
        const Floats<4> w(packed + k * taps(), {{p.filter_height, 1}, {p.filter_width, p.filter_height}, {multiplier_, taps()}, {r.count, taps() * multiplier_}});
        const Floats<3> in(x.data, {{width, 1}, {height, x.row_stride}, {r.count, x.plane_stride}});
        const Floats<2> b(bias + k, {{multiplier_, 1}, {r.count, multiplier_}});
        const int64_t row = r.e + r.row * step;
        const Floats<4> out(t.output.data + r.image * s[0] + k * s[1] + row * s[2], {{p.out_width(), 1}, {r.rows, s[2] * step}, {multiplier_, s[1]}, {r.count, s[1] * multiplier_}});
        const bool use_residual = t.residual.data != nullptr;
        const StridedIn from = use_residual ? t.residual : StridedIn{t.output.data, {s[0], s[1], s[2], s[3]}};
        const Floats<4> residual(from.data + r.image * from.s[0] + k * from.s[1] + row * from.s[2], {{p.out_width(), 1}, {r.rows, from.s[2] * step}, {multiplier_, from.s[1]}, {r.count, from.s[1] * multiplier_}});
        if (r.count > 1 && !(w.fits() && in.fits() && out.fits() && residual.fits())) {
            for (int64_t c = 0; c < r.count; c++) {
                Region one = r;
                one.c = r.c + c;
                one.count = 1;
                Source at = x;
                at.data += c * x.plane_stride;
                if (!this->kernel(kernel, t, packed, bias, one, at, context)) {
                    return false;
                }
            }
            return true;
        }
        return call(kernel, context, w, in, static_cast<int32_t>(x.origin_x), static_cast<int32_t>(x.origin_y), static_cast<int32_t>(p.dilation_w), b, residual, static_cast<int32_t>(use_residual), clamp_.lo, clamp_.hi, out);
    }

    const Conv2dProblem problem_;
    const Variant &kernel_;
    const Variant *direct_;
    const bool masked_, copies_;  ///< whether the kernel masks the edges, or copies the image between zeros
    const Variant &pack_;
    const int64_t m_, columns_, stride_;  ///< of a register tile; the problem's
    const int threads_;
    int64_t multiplier_, classes_, class_rows_;  ///< outputs of a plane; residue classes of its rows; rows of the largest
    bool extend_;  ///< padding that is not zeros
    KernelPostOp clamp_;
    std::vector<int32_t> tap_rows_, tap_columns_;
    Blocking blocking_{};
    int slots_ = 1;
    size_t bias_offset_ = 0, slots_offset_ = 0, slot_bytes_ = 0, heap_offset_ = 0, heap_bytes_ = 0, extended_offset_ = 0;
};

/// Planes up to 8 columns wide: lanes are 16 channels.
class SmallPlanesPlan final : public AlgorithmPlan {
public:
    SmallPlanesPlan(const PlanRequest &request, const Variant &kernel)
        : problem_(request.problem), kernel_(kernel), pack_(*find_variant("pack_filters")), n_(kernel.parameter("n", 8)), blocks_(ceil_div(problem_.groups, kLanes)), clamp_(kernel_clamp(problem_)), threads_(request.options.threads) {
        const Conv2dProblem &p = problem_;
        variant = kernel.name;
        const bool flip = p.filter_mode == FilterMode::kConvolution;
        shifts_ = p.in_width + n_ - 1;
        for (int64_t r = 0; r < p.filter_height; r++) {
            for (int64_t j = 0; j < shifts_; j++) {
                const int64_t s = j - (n_ - 1) + p.pad_left;
                const bool inside = s >= 0 && s < p.filter_width;
                tap_rows_.push_back(static_cast<int32_t>(!inside ? -1 : flip ? p.filter_height - 1 - r : r));
                tap_columns_.push_back(static_cast<int32_t>(!inside ? 0 : flip ? p.filter_width - 1 - s : s));
            }
        }
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        if (Status status = planes_within_reach(p); !status.ok()) {
            return status;
        }
        run_ = blocks_;
        slots_ = 1;
        lay_out();
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        predict();
        serial_workspace_bytes = workspace_bytes;
        if (threads_ > 1 && p.flops() >= 2e6) {
            run_ = std::clamp<int64_t>(blocks_ * p.batch / (4 * threads_), 1, blocks_);
        }
        slots_ = affordable_slots(threads_, tasks(), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out();
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks());
        layout = "direct small planes n" + std::to_string(n_);
        Arena packed;
        packed.reserve_floats(static_cast<double>(blocks_ * block_floats()));
        packed_bytes = packed.bytes();
        details = "planes of 16 channels in the lanes of a vector, " + std::to_string(run_ * kLanes) + " channels a task, " + std::to_string(tasks()) + " tasks, " + std::to_string(slots_) + " at a time";
        return Status();
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const int64_t taps = shifts_ * p.filter_height;
        return parallel_for(execution, threads_, blocks_, [&](int64_t block, int, KernelContext &context) {
            const int64_t count = std::min(kLanes, p.groups - block * kLanes);
            const KernelBuffer<float, 5> from(w.data + block * kLanes * w.s[0], {{p.filter_width, w.s[3]}, {p.filter_height, w.s[2]}, {1, w.s[1]}, {count, w.s[0]}, {1, w.s[0]}});
            const KernelBuffer<float, 5> to(floats_at(packed, 0) + block * block_floats(), {{kLanes, 1}, {taps, kLanes}, {1, block_floats()}, {1, block_floats()}, {1, block_floats()}});
            return call(pack_, context, from, Ints<2>(tap_rows_.data(), {{taps, 1}, {1, taps}}), Ints<1>(tap_columns_.data(), {{taps, 1}}), to);
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const float *bias = bias_or_zeros(t.bias, floats_at(workspace, bias_offset_), problem_.out_channels);
        return parallel_for(execution, slots_, tasks(), [&](int64_t index, int slot, KernelContext &context) {
            context.heap = workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_;
            context.heap_bytes = slot_bytes_;
            const int64_t runs = ceil_div(blocks_, run_);
            const int64_t block = index % runs * run_;
            return run(t, floats_at(packed, 0), bias, index / runs, block, std::min(run_, blocks_ - block), context);
        });
    }

private:
    static constexpr int64_t kLanes = 16;

    int64_t tasks() const {
        return problem_.batch * ceil_div(blocks_, run_);
    }
    int64_t block_floats() const {
        return kLanes * shifts_ * problem_.filter_height;
    }

    void lay_out() {
        Arena arena;
        bias_offset_ = arena.reserve_floats(static_cast<double>(problem_.out_channels));
        slots_offset_ = arena.reserve(0);
        Arena slot;
        // The kernel's transposed planes of a block.
        slot.reserve_floats(static_cast<double>(kLanes * 8) * static_cast<double>(problem_.in_height) + 256.0);
        slot_bytes_ = slot.bytes();
        arena.reserve(static_cast<double>(slot_bytes_) * slots_);
        workspace_bytes = arena.bytes();
    }

    void predict() {
        const CostModel model(kernel_.isa);
        const Conv2dProblem &p = problem_;
        double rows = 0;  // of the image, over the output rows that read them
        for (int64_t r = 0; r < p.out_height(); r++) {
            rows += static_cast<double>(std::max<int64_t>(0, std::min(p.in_height, r - p.pad_top + p.filter_height) - std::max<int64_t>(0, r - p.pad_top)));
        }
        const double vectors = static_cast<double>(kLanes) / model.lanes;
        const double step = static_cast<double>(n_) * vectors * (model.lanes == 16 ? 0.6 : model.lanes == 8 ? 1.0 : 2.0);
        const double cycles = rows * (static_cast<double>(p.in_width) * step + 10) + 45 * vectors * static_cast<double>(p.in_height + p.out_height());
        const double filters = static_cast<double>(blocks_ * block_floats()) * 4.0;
        serial_seconds = static_cast<double>(p.batch * blocks_) * cycles / model.hertz + static_cast<double>(p.batch) * filters / 40e9 + 4.0 * static_cast<double>(p.input_elements() + p.output_elements()) / 80e9 + static_cast<double>(tasks()) * model.call_seconds + 1e-6;
    }

    bool run(const ForwardTensors &t, const float *packed, const float *bias, int64_t image, int64_t block, int64_t blocks, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t c = block * kLanes, count = std::min(blocks * kLanes, p.groups - c);
        const Floats<4> w(packed + block * block_floats(), {{kLanes, 1}, {shifts_, kLanes}, {p.filter_height, kLanes * shifts_}, {blocks, block_floats()}});
        const auto planes = [&](const auto &view, int64_t width, int64_t height) {
            return Floats<3>(view.data + image * view.s[0] + c * view.s[1], {{width, 1}, {height, view.s[2]}, {count, view.s[1]}});
        };
        const Floats<3> x = planes(t.input, p.in_width, p.in_height);
        const Floats<3> y = planes(t.output, p.out_width(), p.out_height());
        const bool use_residual = t.residual.data != nullptr;
        const Floats<3> residual = use_residual ? planes(t.residual, p.out_width(), p.out_height()) : planes(t.output, p.out_width(), p.out_height());
        if (blocks > 1 && !(w.fits() && x.fits() && y.fits() && residual.fits())) {
            for (int64_t b = block; b < block + blocks; b++) {
                if (!run(t, packed, bias, image, b, 1, context)) {
                    return false;
                }
            }
            return true;
        }
        return call(kernel_, context, w, x, static_cast<int32_t>(p.pad_top), Floats<1>(bias + c, {{count, 1}}), residual, static_cast<int32_t>(use_residual), clamp_.lo, clamp_.hi, y);
    }

    const Conv2dProblem problem_;
    const Variant &kernel_;
    const Variant &pack_;
    const int64_t n_, blocks_;  ///< output columns computed; blocks of 16 channels
    const KernelPostOp clamp_;
    const int threads_;
    int64_t shifts_;  ///< distances of a pixel of the image from one of the output, along a row
    std::vector<int32_t> tap_rows_, tap_columns_;
    int64_t run_ = 1;  ///< blocks of a task
    int slots_ = 1;
    size_t bias_offset_ = 0, slots_offset_ = 0, slot_bytes_ = 0;
};

/// Whether a variant of conv_depthwise or conv_depthwise_masked can do the problem.
bool suits(const Variant &kernel, const Conv2dProblem &p) {
    const int64_t f = kernel.parameter("f", 0), stride = kernel.parameter("stride", 1), shared = (kernel.parameter("m", 1) - 1) * stride;
    const bool strides = (p.stride_h == stride || p.out_height() == 1) && p.stride_w == stride;
    const bool dilations = p.dilation_h == 1 || stride == 1;
    return strides && dilations && (f > 0 ? p.filter_height == f && p.filter_width == f && p.dilation_w == 1 : p.filter_height > shared);
}

Result<std::unique_ptr<AlgorithmPlan>> plan_rows(const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    if (p.filter_height * p.filter_width > 256) {
        return Status(StatusCode::kUnsupported, "a filter of " + std::to_string(p.filter_height * p.filter_width) + " taps; depthwise kernels sum up to 256 at once");
    }
    const bool zeros = p.padding_mode == PaddingMode::kZeros && (p.pad_top > 0 || p.pad_bottom > 0 || p.pad_left > 0 || p.pad_right > 0);
    return best_variant<DepthwisePlan>(request, "conv_depthwise", [&](const Variant &kernel, const auto &consider) {
        if (!suits(kernel, p)) {
            return;
        }
        if (kernel.parameter("pad", 1) != 0) {
            consider(std::make_unique<DepthwisePlan>(request, kernel, nullptr));
            return;
        }
        // Reads in place, and leaves the last rows of an image without padding to its twin that copies.
        const auto agrees = [&](const Variant &twin, const char *key) { return twin.parameter(key, 0) == kernel.parameter(key, 0); };
        for (const Variant *twin : variants_of(kernel.stage, kernel.isa)) {
            if (!zeros && twin->parameter("pad", 0) == 1 && suits(*twin, p) && agrees(*twin, "f") && agrees(*twin, "m") && agrees(*twin, "n") && agrees(*twin, "stride")) {
                consider(std::make_unique<DepthwisePlan>(request, *twin, &kernel));
            }
        }
    });
}

/// As plan_rows(), without copies.
Result<std::unique_ptr<AlgorithmPlan>> plan_masked(const PlanRequest &request) {
    return best_variant<DepthwisePlan>(request, kMasked, [&](const Variant &kernel, const auto &consider) {
        if (suits(kernel, request.problem)) {
            consider(std::make_unique<DepthwisePlan>(request, kernel, nullptr));
        }
    });
}

Result<std::unique_ptr<AlgorithmPlan>> plan_small(const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    const bool plain = p.out_channels == p.groups && p.stride_h == 1 && p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 1;
    const bool zeros = p.padding_mode == PaddingMode::kZeros || (p.pad_top == 0 && p.pad_bottom == 0 && p.pad_left == 0 && p.pad_right == 0);
    if (!plain || !zeros || p.in_width > 8 || p.in_width * std::min(p.in_height, p.filter_height) > 256 || p.filter_height > 1024) {
        return Status(StatusCode::kUnsupported, "not a plain depthwise problem of planes up to 8 columns wide");
    }
    return best_variant<SmallPlanesPlan>(request, "conv_depthwise_small", [&](const Variant &kernel, const auto &consider) {
        if (p.out_width() <= kernel.parameter("n", 8)) {
            consider(std::make_unique<SmallPlanesPlan>(request, kernel));
        }
    });
}

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_direct_depthwise(const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    if (p.in_channels != p.groups) {
        return Status(StatusCode::kUnsupported, "groups of " + std::to_string(p.in_channels / p.groups) + " input channels; depthwise kernels take one");
    }
    if (p.layout != Layout::kNchw) {
        return plan_direct_depthwise_nhwc(request);
    }
    Result<std::unique_ptr<AlgorithmPlan>> small = plan_small(request);
    Result<std::unique_ptr<AlgorithmPlan>> rows = plan_rows(request), masked = plan_masked(request);
    const bool masked_is_better = masked.ok() && (!rows.ok() || (*masked)->ranked_seconds < (*rows)->ranked_seconds);
    // Where neither can, the one that says why: it was named, or needs less memory.
    const bool masked_says_why = !masked.ok() && !rows.ok() && (masked.status().code() == StatusCode::kResourceExhausted || (!request.options.variant.empty() && forced_variant(request.options, kMasked).ok()));
    if (masked_is_better || masked_says_why) {
        rows = std::move(masked);
    }
    return small.ok() && (!rows.ok() || (*small)->ranked_seconds < (*rows)->ranked_seconds) ? std::move(small) : std::move(rows);
}

}  // namespace fourfold
