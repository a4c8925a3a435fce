#include "tiled_plan.h"

#include <string>
#include <utility>

#include "beyond_l2.h"
#include "kernel.h"

namespace fourfold {

std::vector<TileTransform> fft_tile_sizes(Isa isa) {
    return tile_transforms(isa, "tile_forward", "tile_inverse", [](const Variant &forward, const Variant &inverse) {
        const int64_t t = forward.parameter("t", 0);
        return TileTransform{&forward, &inverse, t, t / 2 + 1, 2};
    });
}

double fft_tile_speed(const TileTransform &tile) {
    // Measured (schedules/cpu/tile_forward.cpp), forward and inverse together, t = 20, 24 and 32, 36, 40, 48.
    return tile.forward->parameter("by", 0) == 0 ? 1.0 : tile.t < 24 ? 1.3 : tile.t < 36 ? 1.45 : tile.t < 40 ? 1.8 : tile.t < 48 ? 1.6 : 1.5;
}

std::vector<TileTransform> winograd_tile_sizes(Isa isa, const PlanRequest &request, int64_t taps) {
    std::vector<TileTransform> list = tile_transforms(isa, "winograd_forward", taps == 2 ? "winograd_inverse_2x2" : "winograd_inverse", [&](const Variant &forward, const Variant &inverse) {
        const int64_t t = forward.parameter("m", 0) + 2;
        return TileTransform{&forward, &inverse, t, t, 1, taps};
    });
    const auto is_named = [&](const TileTransform &size) {
        return request.options.variant == size.forward->name || std::find(request.choice.begin(), request.choice.end(), size.forward->name) != request.choice.end();
    };
    const bool relaxed = request.options.accuracy == Accuracy::kRelaxed;
    list.erase(std::remove_if(list.begin(), list.end(), [&](const TileTransform &size) { return size.t > 7 && !relaxed && !is_named(size); }), list.end());
    return list;
}

size_t tile_heap_bytes(int64_t t) {
    return static_cast<size_t>(t * (t + 2) * ChannelBlocks::kLanes) * sizeof(float) + 4 * kAlignment;
}

std::vector<PointRun> hermitian_points(int64_t t) {
    return {{0, t / 2 + 1}, {t, t * t / 2}, {t * t / 2, t * t / 2 + t / 2 + 1}};
}

int64_t count_points(const std::vector<PointRun> &runs) {
    int64_t count = 0;
    for (const PointRun &run : runs) {
        count += run.end - run.begin;
    }
    return count;
}

TiledPlan::TiledPlan(const PlanRequest &request, const Variant &product, const TileTransform &tile, std::vector<PointRun> useful)
    : problem_(request.problem), product_(product), tile_(tile), blocks_(problem_), transpose_(*find_variant("block_channels", "layout=nchw")), threads_(request.options.threads), t_(tile.t), r_(product.parameter("r", 1)), width_(kLanes * product.parameter("v", 1)), factors_(product.parameter("mults", 4) == 3 ? 3 : tile.parts), useful_(std::move(useful)), useful_points_(count_points(useful_)) {
    variant = product.name;
    choice = std::string(tile.forward->name) + " " + product.name;
    const Conv2dProblem &p = problem_;
    step_h_ = t_ - (tile.taps > 0 ? tile.taps - 1 : blocks_.rows().shift_max);
    step_w_ = t_ - (tile.taps > 0 ? tile.taps - 1 : blocks_.columns().shift_max);
    channels_ = blocks_.channels();
    lattices_h_ = std::min(blocks_.lattice_h(), p.out_height());
    lattices_w_ = std::min(blocks_.lattice_w(), p.out_width());
    outputs_ = p.out_channels / p.groups;
    channel_blocks_ = ceil_div(channels_, kLanes);
    output_blocks_ = ceil_div(outputs_, width_);
    points_ = t_ * tile.columns;
    tiles_w_ = ceil_div(ceil_div(p.out_width(), blocks_.lattice_w()), std::max<int64_t>(1, step_w_));
    tiles_h_ = ceil_div(ceil_div(p.out_height(), blocks_.lattice_h()), std::max<int64_t>(1, step_h_));
    row_tiles_ = tiles_w_ * lattices_w_;
    rows_ = p.batch * tiles_h_ * lattices_h_;
    strip_width_ = round_up(((tiles_w_ - 1) * step_w_ + t_) * blocks_.lattice_w(), kLanes);
    out_width_ = round_up(tiles_w_ * step_w_ * blocks_.lattice_w(), kLanes);
}

Status TiledPlan::block(size_t workspace_limit) {
    const Conv2dProblem &p = problem_;
    if (Status status = check(); !status.ok()) {
        return status;
    }
    if (step_h_ < 1 || step_w_ < 1) {
        return Status(StatusCode::kUnsupported, "the filter spans " + std::to_string(blocks_.rows().shift_max + 1) + "x" + std::to_string(blocks_.columns().shift_max + 1) + " after decimation; the tile is " + std::to_string(t_) + "x" + std::to_string(t_));
    }
    if (Status status = planes_within_reach(p); !status.ok()) {
        return status;
    }
    packed_bytes = 0;
    const double packed = static_cast<double>(p.groups * points_) * static_cast<double>(filter_step()) * sizeof(float);
    if (packed > 1e15) {
        return Status(StatusCode::kResourceExhausted, "the transformed filters would need over 10^15 bytes");
    }
    packed_bytes = static_cast<size_t>(packed);
    // A block's transforms should stay near L2, but each block reads all filters once: the larger those are, the more tiles
    // should share them.
    const double per_row = transform_floats(rows_) / static_cast<double>(rows_) * sizeof(float);
    // Where the filters stay in L2, so do the transforms of a smaller block.
    const double l2 = static_cast<double>(machine().l2_bytes), l3 = static_cast<double>(machine().l3_bytes);
    const auto divide_within = [&](bool near, int threads) {
        // Threads that share a block have an L2 each, and wait for each other after every stage: 1.5 times as much beside
        // (measured with two threads, extrapolated to more).
        // Emerald Rapids, 2 threads, milliseconds with blocks as for one thread | so: 7x7 s2 3 -> 64 224x224 0.75 | 0.59, batch 4 3.16 | 2.29,
        // 7x7 16 -> 16 512x512 13.9 | 7.1, 11x11 3 -> 16 128x128 b4 2.33 | 1.73; networks' dense layers 1.00 to 1.15 times as fast.
        const double least = near ? near_share_of_l2() * l2 : block_share_of_l2() * l2 * (threads > 1 ? 1.5 * threads : 1.0);
        const double bytes = near ? least : std::clamp(packed / static_cast<double>(p.groups) / 2, least, std::max(least, l3 / 3));
        int64_t rows = std::clamp<int64_t>(static_cast<int64_t>(bytes / per_row), 1, rows_);
        const int64_t blocks = ceil_div(rows_, rows);
        rows = ceil_div(rows_, private_ ? round_up(blocks, threads) : blocks);
        divide(rows, threads);
        while (workspace_bytes > workspace_limit && rows > 1) {
            rows = (rows + 1) / 2;
            divide(rows, threads);
        }
    };
    // Ranked for one thread; then divided among the threads, which changes no sum.
    slots_ = 1;
    divide_within(near_filters(), 1);
    if (workspace_bytes > workspace_limit) {
        return workspace_exhausted(workspace_bytes, workspace_limit);
    }
    predict();
    const double ranked = serial_seconds;
    serial_workspace_bytes = workspace_bytes;
    if (threads_ > 1) {
        // Each thread takes whole blocks, or all share one that is large.
        if (near_filters()) {
            private_ = true;
            divide_within(true, threads_);
            const int64_t blocks = p.groups * group_blocks();
            // So many that they end together, or nearly.
            const bool even = blocks % threads_ == 0 || blocks >= 4 * threads_;
            private_ = even && workspace_bytes + static_cast<size_t>(threads_ - 1) * slot_bytes_ <= workspace_limit;
        }
        if (!private_) {
            divide_within(false, threads_);
        }
    }
    if (static_cast<double>(x_point_) * static_cast<double>(points_) > double(1 << 29) || static_cast<double>(y_point_) * static_cast<double>(points_) > double(1 << 29)) {
        return Status(StatusCode::kUnsupported, "the transforms of one row of tiles are 2^31 bytes or more, beyond a kernel call's reach");
    }
    if (filter_step() >= (int64_t{1} << 29)) {
        return Status(StatusCode::kUnsupported, "the filters of one point are 2^31 bytes or more, beyond a kernel call's reach");
    }
    const int64_t tasks = private_ ? p.groups * group_blocks() : block_bands_ * std::max(channel_blocks_, ceil_div(outputs_, kLanes));
    const size_t affordable = 1 + (workspace_limit - workspace_bytes) / slot_bytes_;
    slots_ = static_cast<int>(std::min({static_cast<size_t>(threads_), static_cast<size_t>(tasks), affordable}));
    lay_out();
    pack_slot_bytes_ = lay_out_packing(workspace_limit / static_cast<size_t>(threads_));
    pack_slots_ = static_cast<int64_t>(std::min({static_cast<size_t>(threads_), static_cast<size_t>(pack_tasks()), std::max<size_t>(1, workspace_limit / pack_slot_bytes_)}));
    pack_workspace_bytes = pack_slot_bytes_ * static_cast<size_t>(pack_slots_);
    details = "tiles of " + std::to_string(t_) + "x" + std::to_string(t_) + " that advance by " + std::to_string(step_h_) + "x" + std::to_string(step_w_) + ", " + std::to_string(rows_) + " rows of " + std::to_string(row_tiles_) + " tiles, " + std::to_string(block_rows_) + " rows at a time" + (private_ ? " and thread, " : ", ") + std::to_string(blocks_.phases()) + " phases";
    predict();
    serial_seconds = ranked;
    return Status();
}

Status TiledPlan::forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const {
    const Conv2dProblem &p = problem_;
    float *bias = floats_at(workspace, bias_offset_);
    std::fill_n(bias, p.groups * padded_outputs(), 0.0f);
    for (int64_t g = 0; t.bias != nullptr && g < p.groups; g++) {
        std::copy_n(t.bias + g * outputs_, outputs_, bias + g * padded_outputs());
    }
    const int64_t blocks = p.groups * group_blocks();
    if (private_) {
        return parallel_for(execution, slots_, blocks, [&](int64_t index, int slot, KernelContext &context) {
            const Block block = block_at(workspace, index, slot);
            bool ok = true;
            for (int64_t task = 0; task < input_tasks(block) && ok; task++) {
                ok = transform_input(t, workspace, block, task, slot, context);
            }
            ok = ok && multiply(packed, block, 0, 1, context);
            for (int64_t task = 0; task < output_tasks(block) && ok; task++) {
                ok = transform_output(t, workspace, block, task, slot, context);
            }
            return ok;
        });
    }
    const int64_t parts = std::min<int64_t>(useful_points_, 8 * threads_);
    for (int64_t index = 0; index < blocks; index++) {
        const Block block = block_at(workspace, index, 0);
        Status status = parallel_for(execution, slots_, input_tasks(block), [&](int64_t task, int slot, KernelContext &context) {
            return transform_input(t, workspace, block, task, slot, context);
        });
        if (status.ok()) {
            status = parallel_for(execution, threads_, parts, [&](int64_t part, int, KernelContext &context) {
                return multiply(packed, block, part, parts, context);
            });
        }
        if (status.ok()) {
            status = parallel_for(execution, slots_, output_tasks(block), [&](int64_t task, int slot, KernelContext &context) {
                return transform_output(t, workspace, block, task, slot, context);
            });
        }
        if (!status.ok()) {
            return status;
        }
    }
    return Status();
}

int64_t TiledPlan::group_blocks() const {
    return ceil_div(bands_, block_bands_);
}

TiledPlan::Block TiledPlan::block_at(std::byte *workspace, int64_t index, int slot) const {
    const int64_t first = index % group_blocks() * block_bands_, bands = std::min(block_bands_, bands_ - first);
    std::byte *base = private_ ? slot_at(workspace, slot) : workspace;
    return {index / group_blocks(), first, bands, row_of_band(first + bands) - row_of_band(first), floats_at(base, x_offset_), floats_at(base, y_offset_)};
}

int64_t TiledPlan::output_tasks(const Block &block) const {
    return block.bands * ceil_div(outputs_, kLanes);
}

/// A group's filters stay in L2, with room for transforms beside them.
bool TiledPlan::near_filters() const {
    return static_cast<double>(packed_bytes) <= 0.5 * static_cast<double>(problem_.groups) * static_cast<double>(machine().l2_bytes);
}

bool TiledPlan::gather(const StridedIn &w, const float *from, int64_t outputs, int64_t count, float *to, KernelContext &context) const {
    const int64_t width = problem_.filter_width, taps = problem_.filter_height * width;
    const bool together = w.s[1] == taps;
    const int64_t run = together ? count * taps : taps;
    // The transposition takes 8 neighbours at a time, and needs strides that a kernel's 32 bits reach.
    if (outputs > 0 && run >= 8 && w.s[2] == width && w.s[3] == 1 && kLanes * (w.s[0] + w.s[1]) < int64_t{1} << 29) {
        const Floats<3> planes(from, {{run, 1}, {together ? 1 : count, w.s[1]}, {outputs, w.s[0]}});
        const Floats<3> out(to, {{kLanes, 1}, {run, kLanes}, {together ? 1 : count, taps * kLanes}});
        return call(transpose_, context, planes, out);
    }
    std::fill_n(to, count * taps * kLanes, 0.0f);
    for (int64_t k = 0; k < outputs; k++) {
        for (int64_t c = 0; c < count; c++) {
            for (int64_t tap = 0; tap < taps; tap++) {
                to[(c * taps + tap) * kLanes + k] = from[k * w.s[0] + c * w.s[1] + tap / width * w.s[2] + tap % width * w.s[3]];
            }
        }
    }
    return true;
}

/// Rows are numbered by image, lattice and place; a band does not cross a lattice's border.
int64_t TiledPlan::row_of_band(int64_t index) const {
    const int64_t per_lattice = ceil_div(tiles_h_, band_rows_);
    return index / per_lattice * tiles_h_ + index % per_lattice * band_rows_;
}

TiledPlan::Band TiledPlan::band(int64_t index) const {
    const int64_t first = row_of_band(index), a = first / tiles_h_ % lattices_h_;
    return {first / tiles_h_ / lattices_h_, first % tiles_h_ * step_h_ * blocks_.lattice_h() + a, first, row_of_band(index + 1) - first};
}

/// Tiles of a block, in whole register tiles.
int64_t TiledPlan::block_tiles(int64_t rows) const {
    return round_up(rows * row_tiles_, r_);
}

/// Floats of both sides' transforms for so many rows of tiles.
double TiledPlan::transform_floats(int64_t rows) const {
    return static_cast<double>(points_ * tile_.parts) * static_cast<double>(block_tiles(rows)) * static_cast<double>(padded_channels() + padded_outputs());
}

/// Blocks of at most so many rows of tiles, and bands whose scratch leaves room in L2, of which each thread has some.
void TiledPlan::divide(int64_t rows, int threads) {
    const int64_t row_floats = strip_width_ * kLanes;
    const int64_t affordable = (static_cast<int64_t>(machine().l2_bytes / sizeof(float)) / 4 / row_floats - t_) / step_h_ + 1;
    int64_t most = std::clamp<int64_t>(std::min(rows, affordable), 1, tiles_h_);
    if (threads > 1 && !private_) {
        // A task for each thread at least. Emerald Rapids, 2 threads, b1 ic64 i56 oc64 f3 p1, 4 tasks | 8: 0.428 | 0.326 ms; where more
        // blocks follow, 8 lose up to 5 %.
        const int64_t tasks = rows * std::min(channel_blocks_, ceil_div(outputs_, kLanes));
        most = std::clamp<int64_t>(tasks / ((rows == rows_ ? 3 : 1) * threads), 1, most);
    }
    band_rows_ = ceil_div(tiles_h_, ceil_div(tiles_h_, most));
    bands_ = problem_.batch * lattices_h_ * ceil_div(tiles_h_, band_rows_);
    block_bands_ = std::min(bands_, std::max<int64_t>(1, rows / band_rows_));
    block_bands_ = ceil_div(bands_, ceil_div(bands_, block_bands_));
    block_rows_ = std::min(rows_, block_bands_ * band_rows_);
    lay_out();
}

void TiledPlan::lay_out() {
    const int64_t tiles = block_tiles(block_rows_);
    // A line more where tiles or points would be a power of two apart and share few lines of L1.
    const auto spread = [](int64_t floats) { return floats % 256 == 0 ? floats + kLanes : floats; };
    x_tile_ = spread(tile_.parts * padded_channels());
    y_tile_ = spread(tile_.parts * padded_outputs());
    x_point_ = tiles * x_tile_ + kLanes;
    y_point_ = tiles * y_tile_ + kLanes;
    Arena arena;
    bias_offset_ = arena.reserve_floats(static_cast<double>(problem_.groups * padded_outputs()));
    Arena slot;
    Arena &transforms = private_ ? slot : arena;
    x_offset_ = transforms.reserve_floats(static_cast<double>(points_) * static_cast<double>(x_point_));
    y_offset_ = transforms.reserve_floats(static_cast<double>(points_) * static_cast<double>(y_point_));
    slots_offset_ = arena.reserve(0);
    const int64_t in_rows = (band_rows_ - 1) * step_h_ + t_, out_rows = band_rows_ * step_h_;
    flat_offset_ = slot.reserve_floats(static_cast<double>(ChannelBlocks::scratch_floats(in_rows, strip_width_)));
    blocked_offset_ = slot.reserve_floats(static_cast<double>(std::max(in_rows * strip_width_, out_rows * out_width_) * kLanes) + static_cast<double>(kLanes));  // a piece from channel i on is read 16 wide
    heap_offset_ = slot.reserve(static_cast<double>(heap_bytes()));
    slot_bytes_ = slot.bytes();
    arena.reserve(static_cast<double>(slot_bytes_) * slots_);
    workspace_bytes = arena.bytes();
}

void TiledPlan::predict() {
    const CostModel model(product_.isa);
    const double groups = static_cast<double>(problem_.groups);
    const double tiles = static_cast<double>(rows_ * row_tiles_);
    const double vectors = static_cast<double>(kLanes) / model.lanes;
    const double transforms = groups * tiles * static_cast<double>(channel_blocks_ + padded_outputs() / kLanes) * transform_seconds(model);
    const double blocks = static_cast<double>(ceil_div(bands_, block_bands_));
    const double steps = groups * blocks * static_cast<double>(block_tiles(block_rows_) / r_ * output_blocks_) * static_cast<double>(channels_ * useful_points_);
    const int64_t mults = factors_ == 2 ? 4 : factors_;
    const double arithmetic = steps * static_cast<double>(mults * r_ * width_ / kLanes) * vectors / 2.0 / 0.85 / model.hertz;
    // The first register tile of a block to meet a panel of filters waits for it; to the others it is near.
    const double first = arithmetic / static_cast<double>(block_tiles(block_rows_) / r_);
    const BeyondL2 far = beyond_l2(machine().l3_bytes);
    const bool beyond = static_cast<double>(packed_bytes) > 0.65 * far.l3_bytes;
    // A panel one block of 16 wide asks for memory too slowly: 13 GB/s, where wider ones get 20 to 33.
    const double stream = static_cast<double>(packed_bytes) * (near_filters() ? 1.0 : blocks) / (beyond ? far.memory_bytes_per_second : far.l3_bytes_per_second) * (width_ == kLanes ? 2.2 : 1.0);
    const double multiply = arithmetic - first + std::max(first, stream);
    const double moved = 4.0 * groups * tiles * 2.0 * static_cast<double>(step_h_ + t_) * static_cast<double>(step_w_) * static_cast<double>(channel_blocks_ * kLanes + padded_outputs()) / 2;
    const double block_bytes = transform_floats(block_rows_) * sizeof(float);
    const double l2 = static_cast<double>(machine().l2_bytes);
    // Blocks that a workspace limit cut down to L2 gain nothing by that: only those that are meant for it count.
    const bool meant = near_filters() && near_share_of_l2() < 1.0;
    const double transformed = groups * blocks * block_bytes * 2 / transforms_bytes_per_second(block_bytes, meant ? l2 : 0.0, 1.7 * block_share_of_l2() * l2);
    const double calls = groups * (static_cast<double>(bands_ * (3 * channel_blocks_ + 2 * padded_outputs() / kLanes)) + blocks * 16);
    const double serial = transforms + multiply + moved / 30e9 + transformed + calls * model.call_seconds;
    serial_seconds = serial + 2e-6;
    const int64_t own = problem_.groups * group_blocks();
    const double at_once = private_ ? std::min(CostModel::parallel(threads_, own), static_cast<double>(own) / static_cast<double>(ceil_div(own, threads_))) : CostModel::parallel(threads_, block_bands_ * channel_blocks_);
    predicted_seconds = serial / at_once + 2e-6;
}

bool TiledPlan::transform_input(const ForwardTensors &t, std::byte *workspace, const Block &block, int64_t task, int slot, KernelContext &context) const {
    const int64_t cb = task % channel_blocks_;
    const Band at = band(block.first + task / channel_blocks_);
    std::byte *base = slot_at(workspace, slot);
    give_heap(context, base, heap_offset_);
    float *blocked = floats_at(base, blocked_offset_);
    const int64_t begin = cb * kLanes, count = std::min(kLanes, channels_ - begin);
    const int64_t height = (at.rows - 1) * step_h_ + t_;
    if (!blocks_.load(t.input, at.image, block.group, begin, count, at.top, height, strip_width_, blocked, floats_at(base, flat_offset_), context)) {
        return false;
    }
    const int64_t lattice = blocks_.lattice_w();
    for (int64_t a = 0; a < lattices_w_; a++) {
        const Floats<5> tiles(blocked + a * kLanes, {{kLanes, 1}, {t_, lattice * kLanes}, {tiles_w_, step_w_ * lattice * kLanes}, {t_, strip_width_ * kLanes}, {at.rows, step_h_ * strip_width_ * kLanes}});
        const int64_t tile = (at.first - row_of_band(block.first)) * row_tiles_ + a * tiles_w_;
        const Floats<6> points(block.x + tile * x_tile_ + begin, {{kLanes, 1}, {at.rows, row_tiles_ * x_tile_}, {tile_.parts, padded_channels()}, {tiles_w_, x_tile_}, {t_, x_point_}, {tile_.columns, x_point_ * t_}});
        if (!call(*tile_.forward, context, tiles, points)) {
            return false;
        }
    }
    return true;
}

bool TiledPlan::multiply(const std::byte *packed, const Block &block, int64_t part, int64_t parts, KernelContext &context) const {
    const int64_t tiles = block_tiles(block.rows);
    const int64_t step = filter_step();
    const float *filters = floats_at(packed, 0) + block.group * points_ * step;
    float *x = block.x, *y = block.y;
    return for_each_piece(useful_, useful_points_ * part / parts, useful_points_ * (part + 1) / parts, [&](int64_t first, int64_t count) {
        // 32-bit indices into the filters.
        const int64_t at_once = std::max<int64_t>(1, (int64_t{1} << 28) / step);
        for (int64_t f = first; f < first + count; f += at_once) {
            const int64_t n = std::min(at_once, first + count - f);
            // Tiles that only fill up the register tile: their products are never read, but old denormals would be slow.
            for (int64_t i = f; i < f + n; i++) {
                std::fill(x + i * x_point_ + block.rows * row_tiles_ * x_tile_, x + i * x_point_ + tiles * x_tile_, 0.0f);
            }
            const Floats<4> in(x + f * x_point_, {{channels_, 1}, {tile_.parts, padded_channels()}, {tiles, x_tile_}, {n, x_point_}});
            const Floats<5> w(filters + f * step, {{width_, 1}, {factors_, width_}, {channels_, factors_ * width_}, {output_blocks_, channels_ * factors_ * width_}, {n, step}});
            const Floats<4> out(y + f * y_point_, {{padded_outputs(), 1}, {tile_.parts, padded_outputs()}, {tiles, y_tile_}, {n, y_point_}});
            if (!call(product_, context, in, w, out)) {
                return false;
            }
        }
        return true;
    });
}

bool TiledPlan::transform_output(const ForwardTensors &t, std::byte *workspace, const Block &block, int64_t task, int slot, KernelContext &context) const {
    const int64_t blocks = ceil_div(outputs_, kLanes), kb = task % blocks;
    const Band at = band(block.first + task / blocks);
    const float *bias = floats_at(workspace, bias_offset_) + block.group * padded_outputs();
    const int64_t lattice = blocks_.lattice_w();
    const int64_t height = std::min(at.rows * step_h_, ceil_div(problem_.out_height() - at.top, blocks_.lattice_h()));
    if (height <= 0) {
        return true;
    }
    std::byte *base = slot_at(workspace, slot);
    give_heap(context, base, heap_offset_);
    float *blocked = floats_at(base, blocked_offset_);
    for (int64_t a = 0; a < lattices_w_; a++) {
        const int64_t tile = (at.first - row_of_band(block.first)) * row_tiles_ + a * tiles_w_;
        const Floats<6> points(block.y + tile * y_tile_ + kb * kLanes, {{kLanes, 1}, {at.rows, row_tiles_ * y_tile_}, {tile_.parts, padded_outputs()}, {tiles_w_, y_tile_}, {t_, y_point_}, {tile_.columns, y_point_ * t_}});
        const Floats<5> tiles(blocked + a * kLanes, {{kLanes, 1}, {step_w_, lattice * kLanes}, {tiles_w_, step_w_ * lattice * kLanes}, {std::min(height, step_h_), out_width_ * kLanes}, {at.rows, step_h_ * out_width_ * kLanes}});
        if (!call(*tile_.inverse, context, points, tiles)) {
            return false;
        }
    }
    const int64_t k = kb * kLanes;
    return blocks_.store(blocked, out_width_, bias + k, t, at.image, block.group * outputs_ + k, std::min(kLanes, outputs_ - k), at.top, height, context);
}

}  // namespace fourfold
