// im2col: a strip's patches as columns that stay in L2, then a matrix product with the packed filters. The whole patch
// matrix never exists. 1x1 filters read the image itself as their columns.
#include <algorithm>
#include <optional>

#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "nhwc_moves.h"
#include "parallel.h"
#include "strip_input.h"
#include "thread_split.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

struct Blocking {
    int64_t images;    ///< images whose columns stand side by side; over 1 only where strip is a whole image
    int64_t strip;     ///< output rows of a task
    int64_t segment;   ///< output columns unfolded at once; less than a row only when strip is 1
    int64_t oc_block;  ///< output channels of a product, a multiple of m
    int64_t oc_parts;  ///< tasks that share a strip's output channels
    int slots;         ///< tasks at the same time
};

class Im2colPlan final : public AlgorithmPlan {
public:
    Im2colPlan(const PlanRequest &request, const Variant &kernel)
        : problem_(request.problem), geometry_(problem_), kernel_(kernel), im2col_(*find_variant("im2col", "exact=0")), m_(kernel.parameter("m", 1)), n_(kernel.parameter("n", 1)), tile_(n_ * vector_lanes(kernel.isa)), crop_(CropStage::find(problem_.layout)), post_(kernel_post_op(problem_)), packer_(geometry_, static_cast<int>(m_)), threads_(request.options.threads) {
        variant = kernel.name;
        outputs_ = problem_.out_channels / problem_.groups;
        channels_ = problem_.in_channels / problem_.groups;
        depth_ = channels_ * geometry_.taps();
        direct_columns_ = geometry_.taps() == 1 && geometry_.pitch == geometry_.out_width;
    }

    Status block(size_t workspace_limit) {
        // Decided, and ranked, for one thread; then split among the threads, which changes no sum.
        Blocking b = preferred();
        lay_out(b);
        while (workspace_bytes > workspace_limit) {
            if (b.images > 1) {
                b.images = (b.images + 1) / 2;
            } else if (b.strip > 1) {
                b.strip = (b.strip + 1) / 2;
            } else if (b.segment > tile_) {
                b.segment = std::max(tile_, round_up(b.segment / 2, tile_));
            } else if (b.oc_block > m_) {
                b.oc_block = std::max<int64_t>(m_, b.oc_block / 2 / m_ * m_);
            } else {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            lay_out(b);
        }
        serial_seconds = seconds(b);
        serial_workspace_bytes = workspace_bytes;
        const Blocking serial = b;
        split_for_threads(b);
        lay_out(b);
        if (workspace_bytes > workspace_limit) {
            b = serial;
            lay_out(b);
        }
        b.slots = affordable_slots(threads_, tasks(blocking_), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out(b);
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks(blocking_));
        if (input_.value().scratch_floats(channels_, readable()) > double(1 << 29) || static_cast<double>(depth_) * static_cast<double>(column_pitch_) > double(1 << 29)) {
            return Status(StatusCode::kUnsupported, "one output row reads over 2^31 bytes of input, more than a kernel call can reach");
        }
        if (Status status = planes_within_reach(problem_); !status.ok()) {
            return status;
        }
        layout = "im2col m" + std::to_string(m_);
        packed_bytes = packer_.packed_bytes();
        details = (in_place_columns() ? std::string("columns read in place, ") : std::string("columns unfolded, ")) + (b.images > 1 ? std::to_string(b.images) + " images side by side, " : "") + "strips of " + std::to_string(b.strip) + " output rows, " + std::to_string(b.segment) + " columns of a row at once, " + std::to_string(b.oc_block) + " output channels a product, " + std::to_string(tasks(blocking_)) + " tasks, " + std::to_string(b.slots) + " at a time";
        return Status();
    }

    Status pack(const StridedIn &filters, std::byte *packed, std::byte *, const Execution &execution) const override {
        return packer_.pack(filters, floats_at(packed, 0), execution, threads_);
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const PaddedBias bias = bias_.fill(t.bias, workspace);
        return parallel_for(execution, blocking_.slots, tasks(blocking_), [&](int64_t index, int slot, KernelContext &context) {
            return task(t, floats_at(packed, 0), bias, workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_, index, context);
        });
    }

private:
    int64_t strips(const Blocking &b) const {
        return ceil_div(geometry_.out_height, b.strip);
    }
    int64_t tasks(const Blocking &b) const {
        return ceil_div(problem_.batch, b.images) * problem_.groups * strips(b) * b.oc_parts;
    }
    /// Columns of a product: a segment of a row, whole rows, or whole images.
    static int64_t columns(const Blocking &b) {
        return b.images * b.strip * b.segment;
    }
    int64_t readable() const {
        const int64_t pixels = geometry_.flat_pixels(blocking_.strip);
        // im2col writes whole vectors, gemm reads whole tiles.
        return round_up(pixels, tile_) + kOverhang + offset_max_;
    }

    Blocking preferred() const {
        const double l2 = static_cast<double>(machine().l2_bytes) / sizeof(float);
        const double depth = static_cast<double>(depth_);
        Blocking b;
        b.slots = 1;
        b.images = 1;
        b.oc_parts = 1;
        b.oc_block = std::clamp<int64_t>(static_cast<int64_t>(l2 / 2 / depth) / m_ * m_, m_, round_up(outputs_, m_));
        b.strip = 1;
        b.segment = geometry_.out_width;
        while (b.segment > 2 * tile_ && depth * static_cast<double>(b.segment) > l2 / 3) {
            b.segment = std::max(tile_, round_up(b.segment / 2, tile_));
        }
        if (b.segment == geometry_.out_width) {
            // In NHWC the results are scattered to pixels from planes that are still in L2.
            const auto stays = [&](int64_t strip) { return !scatters_pixels(problem_) || static_cast<double>(b.oc_block * strip * b.segment) <= l2 / 4; };
            while (b.strip < geometry_.out_height && depth * static_cast<double>((b.strip + 1) * b.segment) <= l2 / 3 && stays(b.strip + 1)) {
                b.strip++;
            }
            int64_t best = b.strip, best_tiles = tiles(b);
            for (int64_t s = b.strip; s >= std::max<int64_t>(1, b.strip * 6 / 10); s--) {
                Blocking smaller = b;
                smaller.strip = s;
                if (tiles(smaller) < best_tiles) {
                    best = s;
                    best_tiles = tiles(smaller);
                }
            }
            b.strip = best;
        }
        // Images of few pixels would leave most lanes of a tile idle.
        const int64_t pixels = geometry_.out_height * geometry_.out_width;
        if (b.strip == geometry_.out_height && b.segment == geometry_.out_width && pixels < 2 * tile_) {
            const int64_t wanted = ceil_div(4 * tile_, pixels), affordable = static_cast<int64_t>(l2 / 3 / depth / static_cast<double>(pixels));
            b.images = std::clamp<int64_t>(std::min(wanted, affordable), 1, problem_.batch);
        }
        return b;
    }

    /// Tasks with which the threads are expected to end first, if the work is worth a wake-up.
    void split_for_threads(Blocking &b) const {
        if (threads_ <= 1 || problem_.flops() < 2e6) {
            return;
        }
        b = divided(b, threads_, tasks(b) / strips(b), geometry_.out_height, b.images > 1 ? strips(b) : geometry_.out_height, ceil_div(outputs_, m_),
                    [&](const Blocking &c) { return seconds(c); }, [&](const Blocking &c, int64_t rows) { return strip_tiles(c, rows); });
    }

    /// Register tiles of columns over the whole batch.
    int64_t tiles(const Blocking &b) const {
        if (b.images > 1) {
            return problem_.batch / b.images * ceil_div(columns(b), tile_) + ceil_div(problem_.batch % b.images * b.strip * b.segment, tile_);
        }
        return problem_.batch * image_tiles(b);
    }

    int64_t image_tiles(const Blocking &b) const {
        return geometry_.out_height / b.strip * strip_tiles(b, b.strip) + strip_tiles(b, geometry_.out_height % b.strip);
    }
    int64_t strip_tiles(const Blocking &b, int64_t rows) const {
        return b.segment < geometry_.out_width ? rows * ceil_div(geometry_.out_width, tile_) : ceil_div(b.images * rows * b.segment, tile_);
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        offsets_ = geometry_.offsets(b.strip);
        offset_max_ = *std::max_element(offsets_.begin(), offsets_.end());
        input_.emplace(geometry_, b.strip);
        // Side by side, the last image's overhang must not reach the next row.
        column_pitch_ = round_up(columns(b), tile_) + (b.images > 1 ? kOverhang : 0);
        if (column_pitch_ % 1024 == 0) {
            column_pitch_ += 16;  // rows 4 KiB apart would share few lines of L1
        }
        column_pitch_ = scatters_pixels(problem_) ? scattered_pitch(column_pitch_) : column_pitch_;
        Arena arena;
        bias_ = BiasLayout(arena, problem_, 1, round_up(outputs_, m_));
        slots_offset_ = arena.reserve(0);
        Arena slot;
        slot.reserve(sizeof(FlatStrip));
        strip_offset_ = slot.reserve_floats(input_->scratch_floats(channels_, readable()));
        columns_offset_ = slot.reserve_floats(in_place_columns() ? 0.0 : static_cast<double>(depth_) * static_cast<double>(column_pitch_) + kOverhang);
        flat_offset_ = slot.reserve_floats(static_cast<double>(column_pitch_) * static_cast<double>(std::min(b.oc_block, outputs_)));
        slot_bytes_ = slot.bytes();
        arena.reserve(static_cast<double>(slot_bytes_) * b.slots);
        workspace_bytes = arena.bytes();
    }

    /// What one thread is expected to take.
    double seconds(const Blocking &b) const {
        const CostModel model(kernel_.isa);
        const Conv2dProblem &p = problem_;
        const double images = static_cast<double>(p.batch), groups = static_cast<double>(p.groups);
        const double steps = groups * static_cast<double>(tiles(b)) * static_cast<double>(ceil_div(outputs_, m_)) * static_cast<double>(depth_);
        const double halo = static_cast<double>(geometry_.plane_rows(b.strip)) / static_cast<double>(b.strip);
        const double copied = 3 * 4.0 * images * static_cast<double>(p.in_channels * geometry_.phases()) * static_cast<double>(geometry_.pitch * geometry_.out_height) * halo;
        double moved = 0.0, nhwc = 0.0;
        if (gathers_pixels(p)) {
            nhwc += gather_seconds(copied / 12.0) * static_cast<double>(b.oc_parts);
        } else if (!geometry_.in_place_shape) {
            moved += copied;
        }
        if (!in_place_columns()) {
            moved += 1.5 * 4.0 * images * groups * static_cast<double>(depth_) * static_cast<double>(geometry_.out_height * round_up(geometry_.out_width, vector_lanes(kernel_.isa)));
        }
        moved *= static_cast<double>(b.oc_parts);
        if (in_place_columns() && geometry_.in_place_shape && !gathers_pixels(p)) {
            moved += 4.0 * static_cast<double>(p.input_elements()) * static_cast<double>(b.oc_parts - 1);
        }
        if (scatters_pixels(p)) {
            nhwc += scatter_seconds(p, std::min(b.oc_block, outputs_));
        } else if (p.residual) {
            moved += 2 * 4.0 * static_cast<double>(p.output_elements());
        }
        const double filters = packer_.packed_floats() * 4.0 * (packer_.packed_floats() * 4.0 > static_cast<double>(machine().l2_bytes) ? images / static_cast<double>(b.images) * static_cast<double>(strips(b)) : 1.0);
        const double segments = static_cast<double>(ceil_div(geometry_.out_width, b.segment));
        const int64_t of_a_part = ceil_div(ceil_div(outputs_, m_), b.oc_parts) * m_;
        const double calls = static_cast<double>(tasks(b)) * (static_cast<double>(b.images) * 3.0 + segments * (1.0 + static_cast<double>(ceil_div(of_a_part, b.oc_block))));
        return steps * model.tile_cycles(static_cast<int>(m_), static_cast<int>(n_)) / model.hertz + moved / model.copy_bytes_per_second + nhwc + filters / model.stream_bytes_per_second + calls * model.call_seconds + 1e-6;
    }

    /// The pixels of one product: columns [q, q + width) of `rows` output rows of `images` images, of group g.
    struct Piece {
        int64_t image, images, g, first_row, rows, q, width;

        int64_t image_pixels() const {
            return rows * width;
        }
        int64_t pixels() const {
            return images * image_pixels();
        }
    };
    /// The right operand of a product.
    struct Columns {
        const float *data;
        int64_t pitch;
    };

    bool task(const ForwardTensors &t, const float *packed, const PaddedBias &bias, std::byte *scratch, int64_t index, KernelContext &context) const {
        const int64_t part = index % blocking_.oc_parts;
        index /= blocking_.oc_parts;
        Piece piece{};
        piece.first_row = index % strips(blocking_) * blocking_.strip;
        piece.rows = std::min(blocking_.strip, geometry_.out_height - piece.first_row);
        index /= strips(blocking_);
        piece.g = index % problem_.groups;
        piece.image = index / problem_.groups * blocking_.images;
        piece.images = std::min(blocking_.images, problem_.batch - piece.image);

        const int64_t blocks = ceil_div(outputs_, m_);
        const int64_t begin = blocks * part / blocking_.oc_parts * m_;
        const int64_t end = std::min(outputs_, blocks * (part + 1) / blocking_.oc_parts * m_);
        for (piece.q = 0; piece.q < geometry_.out_width; piece.q += blocking_.segment) {
            piece.width = std::min(blocking_.segment, geometry_.out_width - piece.q);
            Columns columns{};
            if (!unfold(t, piece, scratch, columns, context)) {
                return false;
            }
            for (int64_t k = begin; k < end; k += blocking_.oc_block) {
                if (!product(t, packed, bias, columns, piece, k, std::min(blocking_.oc_block, end - k), floats_at(scratch, flat_offset_), context)) {
                    return false;
                }
            }
        }
        return true;
    }

    /// Brings the piece's columns together, image beside image; or finds that a 1x1 filter's strip is its own columns.
    bool unfold(const ForwardTensors &t, const Piece &piece, std::byte *scratch, Columns &columns, KernelContext &context) const {
        float *unfolded = floats_at(scratch, columns_offset_);
        columns = {unfolded, column_pitch_};
        const Ints<1> offsets(offsets_.data(), {{geometry_.taps(), 1}});
        for (int64_t i = 0; i < piece.images; i++) {
            // The strip of a row's first segment serves the others too.
            FlatStrip &x = strip_of(scratch);
            if (piece.q == 0 && !input_->prepare(t.input, piece.image + i, piece.g * channels_, channels_, piece.first_row, piece.rows, readable(), floats_at(scratch, strip_offset_), x, context)) {
                return false;
            }
            if (in_place_columns()) {
                columns = {x.data + piece.q, x.channel_stride};
                return true;
            }
            const int64_t whole = round_up(piece.width, vector_lanes(im2col_.isa));
            const Floats<2> from(x.data + piece.q, {{readable() - piece.q, 1}, {channels_, x.channel_stride}});
            const Floats<4> to(unfolded + i * piece.image_pixels(), {{whole, 1}, {piece.rows, piece.width}, {geometry_.taps(), column_pitch_}, {channels_, column_pitch_ * geometry_.taps()}});
            if (!call(im2col_, context, from, offsets, static_cast<int32_t>(offset_max_), static_cast<int32_t>(geometry_.pitch), to)) {
                return false;
            }
        }
        return true;
    }

    /// Output channels [k, k + count) of the piece.
    bool product(const ForwardTensors &t, const float *packed, const PaddedBias &bias, const Columns &columns, const Piece &piece, int64_t k, int64_t count, float *flat, KernelContext &context) const {
        const int64_t padded = round_up(outputs_, m_);
        const auto blocks = static_cast<int32_t>(ceil_div(depth_, kDepthBlock));
        const Floats<3> filters(packed + (piece.g * padded + k) * depth_, {{m_, 1}, {depth_, m_}, {ceil_div(count, m_), m_ * depth_}});
        const Floats<2> right(columns.data, {{round_up(piece.pixels(), tile_), 1}, {depth_, columns.pitch}});
        const Floats<1> biases(bias.of(piece.g, k), {{round_up(count, m_), 1}});
        const int64_t *s = t.output.s;
        const int64_t plane = piece.g * outputs_ + k;
        float *y = t.output.data + piece.image * s[0] + plane * s[1] + piece.first_row * s[2] + piece.q * s[3];
        const Floats<2> dense(y, {{piece.pixels(), 1}, {count, s[1]}});
        const bool adjacent = s[3] == 1 && piece.images == 1 && (piece.rows == 1 || (s[2] == geometry_.out_width && piece.width == geometry_.out_width));
        if (adjacent && t.residual.data == nullptr && dense.fits()) {
            return call(kernel_, context, filters, right, biases, kDepthBlock, blocks, post_.kind, post_.lo, post_.hi, dense);
        }
        const Floats<2> out(flat, {{piece.pixels(), 1}, {count, column_pitch_}});
        if (!call(kernel_, context, filters, right, biases, kDepthBlock, blocks, int32_t{0}, 0.0f, 0.0f, out)) {
            return false;
        }
        for (int64_t i = 0; i < piece.images; i++) {
            const PlanesIn from = {flat + i * piece.image_pixels(), piece.width, piece.rows, count, piece.width, column_pitch_};
            const PlanesOut to = {y + i * s[0], piece.width, piece.rows, count, s[2], s[1], s[3]};
            PlanesIn residual = {nullptr, 0, 0, 0, 0, 0};
            if (t.residual.data != nullptr) {
                const int64_t *r = t.residual.s;
                residual = {t.residual.data + (piece.image + i) * r[0] + plane * r[1] + piece.first_row * r[2] + piece.q * r[3], piece.width, piece.rows, count, r[2], r[1], r[3]};
            }
            if (!crop_.run(from, to, bias.none(), residual, post_, context)) {
                return false;
            }
        }
        return true;
    }

    bool in_place_columns() const {
        return direct_columns_ && blocking_.images == 1;
    }
    /// The task's strip, remembered from segment to segment at the start of its scratch.
    static FlatStrip &strip_of(std::byte *scratch) {
        return *reinterpret_cast<FlatStrip *>(scratch);
    }

    /// Terms summed before the partial sum joins the total: see conv_direct's channel_block.
    static constexpr int32_t kDepthBlock = 256;
    /// im2col's last vector may reach this far past its columns.
    static constexpr int64_t kOverhang = 16;

    const Conv2dProblem problem_;
    const StripGeometry geometry_;
    const Variant &kernel_;
    const Variant &im2col_;
    const int64_t m_, n_, tile_;
    const CropStage crop_;
    const KernelPostOp post_;
    const FilterPacker packer_;
    const int threads_;
    int64_t outputs_, channels_, depth_;  ///< of a group; depth = channels * taps
    bool direct_columns_;                 ///< the strip is its own columns
    std::optional<StripInput> input_;
    Blocking blocking_{};
    std::vector<int32_t> offsets_;
    int64_t offset_max_ = 0, column_pitch_ = 0;
    BiasLayout bias_;
    size_t slots_offset_ = 0, slot_bytes_ = 0, strip_offset_ = 0, columns_offset_ = 0, flat_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_im2col(const PlanRequest &request) {
    return best_variant<Im2colPlan>(request, "gemm", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<Im2colPlan>(request, kernel));
    });
}

}  // namespace fourfold
