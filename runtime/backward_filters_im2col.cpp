// bwd-filters, im2col: the patches of some hundred pixels as the rows of a matrix that stays in L2, and a matrix product with
// the gradient of the output, summed over those pixels:
//
//     gw[k, u] = sum_j gy[k, j] * rows[j, u]       u = (channel, tap)
//
// gemm does it with gy packed as its left operand. Small images stand one after the other in one matrix, so that a product is
// deep enough; the sums of several products are added up in a fixed order (RunningSums).
#include <algorithm>
#include <cmath>
#include <optional>

#include "backward_filters.h"
#include "cost_model.h"
#include "kernel.h"
#include "strip_input.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

/// Terms summed before the partial sum joins the total: see conv_direct's channel_block.
constexpr int32_t kDepthBlock = 256;
/// Pixels that im2row writes at once; its last ones may reach past a row.
constexpr int64_t kPixels = 8;
constexpr int64_t kColumns = 16;

struct Blocking {
    int64_t images;    ///< images in one product; over 1 only where strip is a whole image
    int64_t strip;     ///< output rows in one product
    int64_t channels;  ///< input channels of a task
    int64_t parts;     ///< of the sum over products
    bool shared;       ///< gy is packed once for all tasks, not by each for itself
    int slots;
};

class Im2colBackwardFilters final : public BackwardFiltersPlan {
public:
    Im2colBackwardFilters(const PlanRequest &request, const Variant &kernel)
        : BackwardFiltersPlan(request), geometry_(problem_), kernel_(kernel), im2row_(*find_variant("im2row")), m_(kernel.parameter("m", 1)), n_(kernel.parameter("n", 1)), tile_(n_ * vector_lanes(kernel.isa)) {
        variant = kernel.name;
        layout = "im2col";
        channels_ = problem_.in_channels / problem_.groups;
        outputs_ = problem_.out_channels / problem_.groups;
        padded_ = round_up(outputs_, m_);
        taps_ = geometry_.taps();
    }

    Status block(size_t workspace_limit) {
        Blocking b = preferred();
        lay_out(b);
        while (workspace_bytes > workspace_limit) {
            if (b.shared) {
                b.shared = false;
            } else if (b.parts > 1) {
                b.parts = (b.parts + 1) / 2;
            } else if (b.channels > 1) {
                b.channels = (b.channels + 1) / 2;
            } else if (b.images > 1) {
                b.images = (b.images + 1) / 2;
            } else if (b.strip > 1) {
                b.strip = (b.strip + 1) / 2;
            } else {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            lay_out(b);
        }
        const double limit = double(1 << 29);
        if (input_.value().scratch_floats(b.channels, readable()) > limit || static_cast<double>(row_pitch_) * static_cast<double>(most_pixels() + kPixels) > limit || static_cast<double>(padded_) * static_cast<double>(most_pixels()) > limit) {
            return Status(StatusCode::kUnsupported, "the patches of one output row take over 2^31 bytes, more than a kernel call can reach");
        }
        if (Status status = planes_within_reach(problem_); !status.ok()) {
            return status;
        }
        predict();
        serial_workspace_bytes = workspace_bytes;
        b.slots = affordable_slots(threads_, tasks(), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out(b);
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks());
        details = "products of " + std::to_string(b.images) + " images and " + std::to_string(b.strip) + " output rows in " + std::to_string(b.parts) + " parts, " + std::to_string(b.channels) + " of " + std::to_string(channels_) + " channels a task, " + std::to_string(tasks()) + " tasks, " + std::to_string(b.slots) + " at a time; " + std::to_string(geometry_.phases()) + " phases";
        return Status();
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution) const override {
        float *zeros = floats_at(workspace, zeros_offset_);
        std::fill_n(zeros, padded_, 0.0f);
        Status status;
        if (blocking_.shared) {
            status = parallel_for(execution, threads_, pieces() * problem_.groups, [&](int64_t index, int, KernelContext &context) {
                pack_gradient(t.grad_output, piece_at(index / problem_.groups), index % problem_.groups, packed_gradient(workspace, index), context);
                return true;
            });
        }
        if (!status.ok()) {
            return status;
        }
        return sum_by_tasks(t, blocking_.parts, workspace, blocking_.slots, tasks(), execution, [&](float *sums, std::byte *scratch, int64_t index, KernelContext &context) {
            return task(t, sums, zeros, workspace, scratch, index, context);
        });
    }

private:
    int64_t strips() const {
        return ceil_div(geometry_.out_height, blocking_.strip);
    }
    /// Products over all pixels.
    int64_t pieces() const {
        return ceil_div(problem_.batch, blocking_.images) * strips();
    }
    int64_t channel_blocks() const {
        return ceil_div(channels_, blocking_.channels);
    }
    int64_t tasks() const {
        return blocking_.parts * problem_.groups * channel_blocks();
    }
    int64_t most_pixels() const {
        return blocking_.images * blocking_.strip * geometry_.out_width;
    }
    int64_t readable() const {
        return geometry_.flat_pixels(blocking_.strip) + kPixels + offset_max_;
    }

    Blocking preferred() const {
        const double l2 = static_cast<double>(machine().l2_bytes) / sizeof(float);
        Blocking b{};
        b.slots = 1;
        b.shared = true;
        b.images = 1;
        // Columns: the more, the fewer tasks pack the same gradient; but some hundred pixels of them must stay in L2.
        const int64_t all = problem_.batch * geometry_.out_height * geometry_.out_width;
        const int64_t affordable_columns = static_cast<int64_t>(l2 / 3 / static_cast<double>(std::min<int64_t>(all, 384)));
        const int64_t wanted = std::max(4 * tile_, std::min(affordable_columns, ceil_div(channels_ * taps_ * problem_.groups, 8)));
        b.channels = std::clamp<int64_t>(ceil_div(wanted, taps_), 1, channels_);
        b.channels = ceil_div(channels_, ceil_div(channels_, b.channels));
        const double columns = static_cast<double>(round_up(b.channels * taps_, tile_));
        const int64_t pixels = std::max<int64_t>(1, static_cast<int64_t>(std::min(l2 / 3 / columns, l2 / 3 / static_cast<double>(padded_))));
        b.strip = std::clamp<int64_t>(pixels / geometry_.out_width, 1, geometry_.out_height);
        b.strip = ceil_div(geometry_.out_height, ceil_div(geometry_.out_height, b.strip));
        if (b.strip == geometry_.out_height) {
            b.images = std::clamp<int64_t>(pixels / (geometry_.out_height * geometry_.out_width), 1, problem_.batch);
        }
        const int64_t blocks = problem_.groups * ceil_div(channels_, b.channels);
        const int64_t pieces = ceil_div(problem_.batch, b.images) * ceil_div(geometry_.out_height, b.strip);
        const int64_t affordable = std::max<int64_t>(1, (int64_t{1} << 18) / problem_.filter_elements());
        b.parts = std::min({pieces, affordable, ceil_div(int64_t{16}, blocks)});
        return b;
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        offsets_ = filter_offsets(geometry_, b.strip);
        offset_max_ = *std::max_element(offsets_.begin(), offsets_.end());
        input_.emplace(geometry_, b.strip);
        row_pitch_ = std::max(round_up(b.channels * taps_, tile_), round_up(b.channels * taps_, kColumns));
        if (row_pitch_ % 1024 == 0) {
            row_pitch_ += kColumns;
        }
        Arena arena;
        zeros_offset_ = arena.reserve_floats(static_cast<double>(padded_));
        sums_offset_ = arena.reserve_floats(static_cast<double>(b.parts) * static_cast<double>(problem_.filter_elements()));
        shared_offset_ = arena.reserve_floats(b.shared ? static_cast<double>(pieces() * problem_.groups) * static_cast<double>(padded_) * static_cast<double>(most_pixels()) : 0.0);
        Arena slot;
        strip_offset_ = slot.reserve_floats(input_->scratch_floats(b.channels, readable()));
        rows_offset_ = slot.reserve_floats(static_cast<double>(row_pitch_) * static_cast<double>(most_pixels() + kPixels));
        grad_offset_ = slot.reserve_floats(b.shared ? 0.0 : static_cast<double>(padded_) * static_cast<double>(most_pixels()));
        // The product of a part's later pieces, before it is added to the sum.
        product_offset_ = slot.reserve_floats(pieces() > b.parts ? static_cast<double>(outputs_) * static_cast<double>(b.channels * taps_) : 0.0);
        totals_offset_ = slot.reserve(RunningSums::total_bytes(ceil_div(pieces(), b.parts), static_cast<double>(outputs_) * static_cast<double>(b.channels * taps_)));
        lay_out_slots(arena, slot, b.slots);
    }

    void predict() {
        const CostModel model(kernel_.isa);
        const Conv2dProblem &p = problem_;
        const Blocking &b = blocking_;
        const double images = static_cast<double>(p.batch), groups = static_cast<double>(p.groups), blocks = static_cast<double>(channel_blocks());
        const double pixels = images * static_cast<double>(geometry_.out_height * geometry_.out_width);
        const double columns = static_cast<double>(b.channels * taps_);
        const double tiles = groups * blocks * static_cast<double>(ceil_div(outputs_, m_)) * std::ceil(columns / static_cast<double>(tile_));
        const double product = pixels * tiles * model.tile_cycles(static_cast<int>(m_), static_cast<int>(n_));
        // The transposition moves some elements a cycle; a product's end stores its tile.
        const double unfold = pixels * groups * blocks * static_cast<double>(row_pitch_);
        const double pack = pixels * groups * (b.shared ? 1.0 : blocks) * static_cast<double>(padded_) * 1.5;
        const double ends = static_cast<double>(pieces()) * tiles * (30.0 + 4.0 * static_cast<double>(m_ * n_));
        double moved = 4.0 * static_cast<double>(p.filter_elements()) * 3.0 * static_cast<double>(pieces() - 1);
        if (!geometry_.in_place_shape) {
            moved += 3 * 4.0 * images * static_cast<double>(p.in_channels * geometry_.phases()) * static_cast<double>(geometry_.pitch * geometry_.out_height);
        }
        const double calls = static_cast<double>(pieces()) * groups * blocks * (1.0 + 2.0 * static_cast<double>(b.images));
        serial_seconds = (product + unfold + pack + ends) / model.hertz + moved / model.copy_bytes_per_second + calls * model.call_seconds + 1e-6;
    }

    /// The pixels of one product: `height` output rows of some images.
    struct Piece {
        int64_t image, images, first_row, height;
    };
    Piece piece_at(int64_t index) const {
        const int64_t image = index / strips() * blocking_.images, first_row = index % strips() * blocking_.strip;
        return {image, std::min(blocking_.images, problem_.batch - image), first_row, std::min(blocking_.strip, geometry_.out_height - first_row)};
    }
    float *packed_gradient(std::byte *workspace, int64_t index) const {
        return floats_at(workspace, shared_offset_) + index * padded_ * most_pixels();
    }

    bool task(const FilterGradientTensors &t, float *sums, const float *zeros, std::byte *workspace, std::byte *scratch, int64_t index, KernelContext &context) const {
        const int64_t first_channel = index % channel_blocks() * blocking_.channels;
        index /= channel_blocks();
        const int64_t g = index % problem_.groups, part = index / problem_.groups;
        const int64_t channels = std::min(blocking_.channels, channels_ - first_channel);
        const int64_t columns = channels * taps_;
        float *out = sums + part * problem_.filter_elements() + (g * outputs_ * channels_ + first_channel) * taps_;
        float *rows = floats_at(scratch, rows_offset_), *product = floats_at(scratch, product_offset_);
        const int64_t row = channels_ * taps_;
        RunningSums running(out, outputs_, columns, row, reinterpret_cast<double *>(scratch + totals_offset_));
        const Ints<1> offsets(offsets_.data(), {{taps_, 1}});
        const int64_t begin = pieces() * part / blocking_.parts, end = pieces() * (part + 1) / blocking_.parts;
        for (int64_t piece = begin; piece < end; piece++) {
            const auto [image, images, first_row, height] = piece_at(piece);
            const int64_t image_pixels = height * geometry_.out_width, pixels = images * image_pixels;
            for (int64_t i = 0; i < images; i++) {
                FlatStrip x;
                if (!input_->prepare(t.input, image + i, g * channels_ + first_channel, channels, first_row, height, readable(), floats_at(scratch, strip_offset_), x, context)) {
                    return false;
                }
                const Floats<2> from(x.data, {{readable(), 1}, {channels, x.channel_stride}});
                const Floats<3> to(rows + i * image_pixels * row_pitch_, {{round_up(columns, kColumns), 1}, {round_up(geometry_.out_width, kPixels), row_pitch_}, {height, geometry_.out_width * row_pitch_}});
                if (!call(im2row_, context, from, offsets, static_cast<int32_t>(offset_max_), static_cast<int32_t>(geometry_.pitch), to)) {
                    return false;
                }
            }
            // What a register tile reads beyond the last column is never stored, but old denormals would be slow.
            const int64_t filled = round_up(columns, kColumns), read = round_up(columns, tile_);
            for (int64_t j = 0; filled < read && j < pixels; j++) {
                std::fill(rows + j * row_pitch_ + filled, rows + j * row_pitch_ + read, 0.0f);
            }
            float *grad = blocking_.shared ? packed_gradient(workspace, piece * problem_.groups + g) : floats_at(scratch, grad_offset_);
            if (!blocking_.shared) {
                pack_gradient(t.grad_output, piece_at(piece), g, grad, context);
            }
            const bool first = !running.next();
            const Floats<3> left(grad, {{m_, 1}, {pixels, m_}, {padded_ / m_, m_ * pixels}});
            const Floats<2> right(rows, {{read, 1}, {pixels, row_pitch_}});
            const Floats<1> bias(zeros, {{padded_, 1}});
            const Floats<2> result(first ? out : product, {{columns, 1}, {outputs_, first ? row : columns}});
            const auto blocks = static_cast<int32_t>(ceil_div(pixels, kDepthBlock));
            if (!call(kernel_, context, left, right, bias, kDepthBlock, blocks, int32_t{0}, 0.0f, 0.0f, result)) {
                return false;
            }
            for (int64_t k = 0; !first && k < outputs_; k++) {
                for (int64_t u = 0; u < columns; u++) {
                    out[k * row + u] += product[k * columns + u];
                }
            }
        }
        running.finish();
        return true;
    }

    /// gy of one piece as gemm's left operand: (k % m, pixel, k / m), zero beyond the last channel.
    void pack_gradient(const StridedIn &gy, const Piece &piece, int64_t g, float *packed, KernelContext &context) const {
        const StageTimer timer(context.profile, "pack_gradient");
        const auto [image, images, first_row, height] = piece;
        const int64_t width = geometry_.out_width, pixels = images * height * width;
        for (int64_t block = 0; block < padded_; block += m_) {
            float *out = packed + block * pixels;
            for (int64_t i = 0; i < m_; i++) {
                const int64_t k = block + i;
                if (k >= outputs_) {
                    for (int64_t j = 0; j < pixels; j++) {
                        out[j * m_ + i] = 0.0f;
                    }
                    continue;
                }
                float *to = out + i;
                for (int64_t n = 0; n < images; n++) {
                    for (int64_t y = 0; y < height; y++) {
                        const float *from = gy.data + (image + n) * gy.s[0] + (g * outputs_ + k) * gy.s[1] + (first_row + y) * gy.s[2];
                        for (int64_t x = 0; x < width; x++, to += m_) {
                            *to = from[x * gy.s[3]];
                        }
                    }
                }
            }
        }
    }

    const StripGeometry geometry_;
    const Variant &kernel_, &im2row_;
    const int64_t m_, n_, tile_;
    int64_t channels_, outputs_, padded_, taps_;  ///< of a group; padded_ outputs in whole register tiles
    std::optional<StripInput> input_;
    Blocking blocking_{};
    std::vector<int32_t> offsets_;
    int64_t offset_max_ = 0, row_pitch_ = 0;
    size_t zeros_offset_ = 0, shared_offset_ = 0, strip_offset_ = 0, rows_offset_ = 0, grad_offset_ = 0, product_offset_ = 0, totals_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_im2col(const PlanRequest &request) {
    return best_variant<Im2colBackwardFilters>(request, "gemm", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<Im2colBackwardFilters>(request, kernel));
    });
}

}  // namespace fourfold
