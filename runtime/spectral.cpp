// SpectralPlan: per frequency a complex (rows x depth)(depth x columns) product,
//
//     fwd           rows = images, depth = ic, columns = oc        y  = x w
//     bwd-data      rows = images, depth = oc, columns = ic        gx = gy w^H
//     bwd-filters   rows = ic, depth = images, columns = oc        gw = x^H gy
//
// for blocks of neighbouring frequencies, in one of two ways:
//
//     complex_gemm       lanes along columns. The right operand goes into panels (frequency, columns/w, depth, w), once when filters
//                        are packed; with channels last, unpacked filters of whole panels are read where they are, and so are the
//                        left operand and the result; channel-first blocks are transposed on their way through the cache.
//     complex_multiply   lanes along frequencies, of channel-first spectra. Nothing is transposed: the left operand and the result
//                        stay where they are, the right one goes into blocks (frequency/p, columns, depth, p), so that what is read
//                        for each tile of rows lies together. As bwd-filters is conj(x) gy, with x on the right, its
//                        rows are oc and its columns ic.
//
// Sums run in blocks of at most 256 terms, in an order that no blocking of frequencies, rows or threads changes.
#include "fourfold/spectral.h"

#include <algorithm>
#include <array>
#include <iomanip>
#include <new>
#include <sstream>

#include "arena.h"
#include "capture.h"
#include "checks.h"
#include "cost_model.h"
#include "kernel.h"
#include "parallel.h"
#include "registry.h"
#include "spectral_candidates.h"
#include "tables.h"
#include "transposition.h"

namespace fourfold {
namespace {

constexpr int64_t kSumBlock = 256;
/// What a task transposes at a time: to be in the L2 where panels are few, and else more, since each block of rows reads all panels.
constexpr double kTransposedBytes = 512e3, kMostTransposedBytes = 2e6;
/// What complex_multiply reads in the L2: of the right operand for every tile of rows, of the left one for every tile of columns.
constexpr double kRightBytes = 1 << 19, kLeftBytes = 1 << 18;

/// A caller's tensor: strides of images (oc for filters), channels (ic for filters) and frequencies.
template<typename T>
struct Spectra {
    T *data = nullptr;
    int64_t n = 0, c = 0, f = 0;
};

/// One factor, or the result: strides of rows or columns (the outer index of the product), of the depth (of the result:
/// columns) and of frequencies.
template<typename T>
struct Matrix {
    T *data = nullptr;
    int64_t outer = 0, inner = 0, f = 0;
};

/// The sizes of the product.
struct ProductSizes {
    int64_t rows = 1, depth = 1, columns = 1;
};

/// The right operand in panels of w columns, and strides of depth, panels and frequencies.
struct Panels {
    const Complex *data = nullptr;
    int64_t depth = 0, block = 0, f = 0;
};

/// Sizes (n, channel, row, column); of filters (oc, ic, row, column), which nest the other way round with channels last.
struct Sizes {
    std::array<int64_t, 4> size;
    bool filters = false, output = false;
};

template<typename T>
Status resolve(const char *name, const TensorView<T> &view, SpectralOrder order, const Sizes &sizes, Spectra<T> &result) {
    if (view.data == nullptr) {
        return bad(std::string(name) + " is null");
    }
    if (reinterpret_cast<uintptr_t>(view.data) % alignof(Complex) != 0) {
        return bad(std::string(name) + " is not aligned to " + std::to_string(alignof(Complex)) + " bytes");
    }
    const std::array<int64_t, 4> &size = sizes.size;
    const int64_t frequencies = size[2] * size[3];
    const bool last = order == SpectralOrder::kBijc;
    Spectra<T> dense = {view.data, size[1] * frequencies, last ? 1 : frequencies, last ? size[1] : 1};
    if (last && sizes.filters) {
        dense = {view.data, 1, size[0], size[0] * size[1]};
    }
    result = dense;
    if (view.dense) {
        return Status();
    }
    const int64_t *s = view.strides;
    const auto text = [&] { return std::string(name) + " has strides " + std::to_string(s[0]) + "," + std::to_string(s[1]) + "," + std::to_string(s[2]) + "," + std::to_string(s[3]); };
    for (int d = 0; d < 4; d++) {
        if (size[d] > 1 && (s[d] < 1 || s[d] > (int64_t{1} << 59) / size[d])) {
            return bad(text() + "; each must be positive and the tensor must fit in memory");
        }
    }
    if (size[2] > 1 && size[3] > 1 && s[2] != size[3] * s[3]) {
        return bad(text() + "; rows of " + std::to_string(size[3]) + " frequencies must follow each other without a gap");
    }
    const int contiguous = !last ? (size[3] > 1 ? 3 : 2) : sizes.filters ? 0 : 1;
    if (size[contiguous] > 1 && s[contiguous] != 1) {
        return bad(text() + "; that of the last dimension in memory must be 1");
    }
    // A dimension of one element never steps.
    result.n = size[0] > 1 ? s[0] : dense.n;
    result.c = size[1] > 1 ? s[1] : dense.c;
    result.f = size[3] > 1 ? s[3] : size[2] > 1 ? s[2] : dense.f;
    if (sizes.output) {
        std::array<std::pair<int64_t, int64_t>, 3> steps = {{{result.n, size[0]}, {result.c, size[1]}, {result.f, frequencies}}};
        std::sort(steps.begin(), steps.end());
        int64_t reach = 1;
        for (const auto &[stride, count] : steps) {
            if (count > 1 && stride < reach) {
                return bad(text() + "; elements of an output must not overlap");
            }
            reach += (count - 1) * stride;
        }
    }
    return Status();
}

template<typename T>
std::pair<uintptr_t, uintptr_t> address_range(const Spectra<T> &v, const Sizes &sizes) {
    const int64_t last = (sizes.size[0] - 1) * v.n + (sizes.size[1] - 1) * v.c + (sizes.size[2] * sizes.size[3] - 1) * v.f;
    return block_range(v.data, static_cast<size_t>(last + 1) * sizeof(Complex));
}

const float *parts(const Complex *data) {
    return reinterpret_cast<const float *>(data);
}

}  // namespace

struct SpectralPlan::Impl {
    SpectralProblem problem;
    SpectralOptions options;
    std::vector<std::string> barred;  ///< variants that are only there for who names them
    const Variant *gemm = nullptr, *transpose = nullptr;
    const Variant *planes = nullptr;  ///< of complex_multiply, where that is the way; gemm is null then
    std::string variant;
    Tier tier = Tier::kCaller;
    std::string why = "named by the caller";
    int64_t tile_rows = 1, tile_columns = 1;
    int64_t tile_frequencies = 1;  ///< of complex_multiply
    int64_t rows = 1, depth = 1, columns = 1;
    double seconds_gemm = 0.0, seconds_planes = 0.0;  ///< predicted for one thread; 0: not in question
    int64_t packed_block = 1;  ///< frequencies of a block of complex_multiply's right operand
    int64_t block = 1;       ///< frequencies of a task
    int64_t row_block = 1;   ///< rows of a transposed block
    PackedHeader header{};
    size_t left_offset = 0, result_offset = 0, panel_offset = 0;
    size_t slot_bytes = 0, slot_bytes_unpacked = 0;

    bool filter_gradient() const {
        return problem.operation == Operation::kBackwardFilters;
    }
    bool channel_first() const {
        return problem.order == SpectralOrder::kBcij;
    }
    /// Complex numbers of one frequency's panels.
    int64_t panels() const {
        return planes != nullptr ? columns * depth : ceil_div(columns, tile_columns) * depth * tile_columns;
    }
    /// Filters as the caller has them are panels already, or planes that are read once.
    bool in_place() const {
        if (planes != nullptr) {
            return rows <= tile_rows;
        }
        return problem.operation == Operation::kForward && !channel_first() && columns % tile_columns == 0;
    }
    size_t packed_bytes() const {
        return filter_gradient() ? 0 : sizeof(PackedHeader) + static_cast<size_t>(round_up(panels() * problem.frequencies() * 8, kAlignment));
    }
    size_t workspace(bool packed) const {
        return (packed && !filter_gradient() ? slot_bytes : slot_bytes_unpacked) * static_cast<size_t>(slots());
    }
    int64_t tasks() const {
        if (planes != nullptr) {
            return ceil_div(problem.frequencies(), packed_block) * ceil_div(packed_block, block);
        }
        return ceil_div(problem.frequencies(), block);
    }
    int slots() const {
        return static_cast<int>(std::min<int64_t>(options.threads, tasks()));
    }
    Sizes input_sizes() const {
        return {{problem.batch, problem.in_channels, problem.height, problem.half_width}};
    }
    Sizes output_sizes() const {
        return {{problem.batch, problem.out_channels, problem.height, problem.half_width}};
    }
    Sizes filter_sizes() const {
        return {{problem.out_channels, problem.in_channels, problem.height, problem.half_width}, true};
    }

    ProductSizes gemm_sizes() const;
    ProductSizes planes_sizes() const;
    double gemm_seconds() const;
    double planes_seconds(const Variant &v) const;
    bool choose(const std::string &named);
    bool admits(const Variant &v, const std::string &named) const {
        return named.empty() ? std::find(barred.begin(), barred.end(), v.name) == barred.end() : named == v.name;
    }
    void choose_tile(const std::string &named);
    void choose_planes(const std::string &named);
    void choose_blocks();
    void choose_plane_blocks();
    Matrix<const Complex> right_of_filters(const Spectra<const Complex> &w) const {
        const bool forward = problem.operation == Operation::kForward;
        return {w.data, forward ? w.n : w.c, forward ? w.c : w.n, w.f};
    }
    void copy_planes(const Matrix<const Complex> &right, int64_t f, int64_t count, Complex *to, KernelContext &context) const;
    bool multiply_planes(const Matrix<const Complex> &left, const Matrix<const Complex> &right, const Matrix<Complex> &result, int64_t count, bool accumulate, KernelContext &context) const;
    Status run_planes(const Matrix<const Complex> &left, const Matrix<const Complex> &right, const Complex *packed, const Matrix<Complex> &result, bool accumulate, std::byte *workspace, const Execution &execution) const;
    bool make_panels(const Matrix<const Complex> &right, int64_t f, int64_t count, Complex *to, KernelContext &context) const;
    bool multiply(const Matrix<const Complex> &left, const Panels &right, const Matrix<Complex> &result, int64_t row_count, int64_t count, bool accumulate, KernelContext &context) const;
    Status run(const Matrix<const Complex> &left, const Matrix<const Complex> &right, const Complex *packed, const Matrix<Complex> &result, bool accumulate, std::byte *workspace, const Execution &execution) const;
};

ProductSizes SpectralPlan::Impl::gemm_sizes() const {
    const int64_t n = problem.batch, ic = problem.in_channels, oc = problem.out_channels;
    return filter_gradient() ? ProductSizes{ic, n, oc} : problem.operation == Operation::kBackwardData ? ProductSizes{n, oc, ic} : ProductSizes{n, ic, oc};
}

ProductSizes SpectralPlan::Impl::planes_sizes() const {
    const ProductSizes s = gemm_sizes();
    return filter_gradient() ? ProductSizes{s.columns, s.depth, s.rows} : s;
}

/// The tiles, the panels from the L2 for each tile of rows, and the transpositions; channels last, memory instead of these.
double SpectralPlan::Impl::gemm_seconds() const {
    const CostModel model(gemm->isa);
    const ProductSizes s = gemm_sizes();
    const double vectors = static_cast<double>(ceil_div(2 * tile_columns, model.lanes)), r = static_cast<double>(tile_rows), f = static_cast<double>(problem.frequencies());
    const double tiles = static_cast<double>(ceil_div(s.rows, tile_rows)) * static_cast<double>(ceil_div(s.columns, tile_columns));
    const double fma = 2.0 * r * vectors / (model.lanes >= 8 ? 2.0 : 1.0);
    const double compute = tiles * static_cast<double>(s.depth) * f * std::max({fma, (2.0 * r + vectors) / 2.0, 4.0}) / model.hertz;
    const double panel = tiles * static_cast<double>(s.depth * tile_columns) * f * sizeof(Complex) / 100e9;
    const double right = filter_gradient() ? static_cast<double>(s.depth) * static_cast<double>(s.columns) : 0.0;
    if (!channel_first()) {
        const double all = static_cast<double>(s.rows) * static_cast<double>(s.depth + s.columns) + static_cast<double>(s.depth) * static_cast<double>(s.columns);
        return std::max({compute, panel, all * f * sizeof(Complex) / 20e9});
    }
    const double moved = 2.0 * (static_cast<double>(s.rows) * static_cast<double>(s.depth + s.columns) + right) * f * sizeof(Complex) / 10e9;
    return std::max(compute, panel) + moved;
}

/// The tiles, what they read of the right operand from the L2, and memory, which takes stores into few streams better.
double SpectralPlan::Impl::planes_seconds(const Variant &v) const {
    const CostModel model(v.isa);
    const ProductSizes s = planes_sizes();
    const int64_t r = v.parameter("r", 1), w = v.parameter("w", 1), n = v.parameter("v", 1), f = problem.frequencies();
    const double vectors = static_cast<double>(ceil_div(2 * f, n * model.lanes) * n), streams = static_cast<double>(r * w);
    const double tiles = static_cast<double>(ceil_div(s.rows, r)) * static_cast<double>(ceil_div(s.columns, w));
    // Two FMAs for each product, and two shuffles of the right operand on one of their ports; without FMA the shuffles find others.
    const double arithmetic = model.lanes >= 8 ? streams + static_cast<double>(w) : 2.0 * streams;
    const double step = std::max({arithmetic, static_cast<double>(r + w) / 2.0, 4.0 / static_cast<double>(n)});
    const double compute = tiles * static_cast<double>(s.depth) * vectors * step / model.hertz;
    const double number = static_cast<double>(f) * sizeof(Complex);
    const double planes_read = static_cast<double>(s.depth) * number;
    // Of few frequencies even the right operand may be more than the L2 holds.
    const bool fits = static_cast<double>(s.depth) * static_cast<double>(s.columns) * 64.0 <= 2.0 * kRightBytes;
    const double right = static_cast<double>(ceil_div(s.rows, r)) * static_cast<double>(s.columns) * planes_read / (fits ? 100e9 : 30e9);
    const double left = static_cast<double>(s.rows) * planes_read * (1.0 / 24e9 + static_cast<double>(ceil_div(s.columns, w) - 1) / 100e9);
    const double stores = static_cast<double>(s.rows) * static_cast<double>(s.columns) * number / 20e9 * (1.0 + 0.05 * (streams - 1.0));
    return std::max({compute, right, left}) + stores;
}

/// The variant of that name, or of no name the one that is expected to be fastest. False where there is none.
bool SpectralPlan::Impl::choose(const std::string &named) {
    const ProductSizes sizes = gemm_sizes();
    rows = sizes.rows;
    depth = sizes.depth;
    columns = sizes.columns;
    choose_tile(named);
    choose_planes(named);
    variant = planes != nullptr ? planes->name : gemm != nullptr ? gemm->name : "";
    return !variant.empty();
}

/// Of complex_multiply the least predicted time, if that is less than complex_gemm's, or if it is named.
void SpectralPlan::Impl::choose_planes(const std::string &named) {
    seconds_gemm = gemm != nullptr ? gemm_seconds() : 0.0;
    if (!channel_first()) {
        return;
    }
    const Variant *best = nullptr;
    for (const Variant *v : variants_of("complex_multiply")) {
        if (admits(*v, named)) {
            const double seconds = planes_seconds(*v);
            if (best == nullptr || seconds < seconds_planes) {
                best = v;
                seconds_planes = seconds;
            }
        }
    }
    if (best == nullptr || (gemm != nullptr && seconds_gemm <= seconds_planes)) {
        return;
    }
    planes = best;
    gemm = nullptr;
    tile_rows = best->parameter("r", 1);
    tile_columns = best->parameter("w", 1);
    tile_frequencies = best->parameter("v", 1) * vector_lanes(best->isa) / 2;
    const ProductSizes s = planes_sizes();
    rows = s.rows;
    depth = s.depth;
    columns = s.columns;
}

/// Blocks of the right operand do not depend on threads, for they are what is packed; a task has one or a part of one.
void SpectralPlan::Impl::choose_plane_blocks() {
    const int64_t frequencies = problem.frequencies();
    const double number = static_cast<double>(depth) * sizeof(Complex);
    const double most = std::min(kRightBytes / (static_cast<double>(columns) * number), kLeftBytes / (static_cast<double>(tile_rows) * number));
    const int64_t whole = std::max<int64_t>(tile_frequencies, 8);
    packed_block = std::min(frequencies, std::max<int64_t>(1, static_cast<int64_t>(most) / whole) * whole);
    block = packed_block;
    if (options.threads > 1) {
        block = std::min(block, round_up(ceil_div(frequencies, int64_t{4} * options.threads), whole));
        // Tasks end where blocks do.
        block = std::min(packed_block, round_up(ceil_div(packed_block, ceil_div(packed_block, block)), whole));
    }
    Arena arena;
    slot_bytes = arena.bytes();
    panel_offset = arena.reserve(in_place() ? 0.0 : static_cast<double>(block) * static_cast<double>(panels()) * sizeof(Complex));
    slot_bytes_unpacked = arena.bytes();
}

/// The tile that computes least beyond the edges; of equals the first of the list.
void SpectralPlan::Impl::choose_tile(const std::string &named) {
    double least = 0.0;
    for (const Variant *v : variants_of("complex_gemm")) {
        if (!admits(*v, named)) {
            continue;
        }
        const int64_t r = v->parameter("r", 1), w = v->parameter("w", 4);
        const int64_t lanes = vector_lanes(v->isa), vectors = ceil_div(2 * w, lanes);
        const double step = std::max(static_cast<double>(r * vectors), (2.0 * static_cast<double>(r) + static_cast<double>(vectors)) / 2.0);
        const double cost = static_cast<double>(ceil_div(rows, r)) * static_cast<double>(ceil_div(columns, w)) * step;
        if (gemm == nullptr || cost < 0.97 * least) {
            gemm = v;
            least = cost;
            tile_rows = r;
            tile_columns = w;
        }
    }
}

void SpectralPlan::Impl::choose_blocks() {
    const int64_t frequencies = problem.frequencies();
    const double panel = static_cast<double>(panels()) * sizeof(Complex);
    block = std::clamp<int64_t>(static_cast<int64_t>(128e3 / panel), 1, 256);
    if (channel_first()) {
        // Runs of 2 to 8 cache lines of the caller's planes; a transposed block of all rows stays in the cache where it can.
        block = std::clamp<int64_t>(static_cast<int64_t>(kMostTransposedBytes / (static_cast<double>(rows) * static_cast<double>(depth + columns) * sizeof(Complex))) / 8 * 8, 16, 64);
    }
    block = std::min({block, frequencies, std::max<int64_t>(channel_first() ? 16 : 1, ceil_div(frequencies, 4 * options.threads))});
    row_block = rows;
    Arena arena;
    if (channel_first()) {
        const double row = static_cast<double>(block) * static_cast<double>(depth + columns) * sizeof(Complex);
        row_block = std::min(rows, std::max<int64_t>(1, static_cast<int64_t>((static_cast<double>(block) * panel > kTransposedBytes / 2 ? kMostTransposedBytes : kTransposedBytes) / row) / tile_rows) * tile_rows);
        left_offset = arena.reserve(static_cast<double>(block * row_block) * static_cast<double>(depth) * sizeof(Complex));
        result_offset = arena.reserve(static_cast<double>(block * row_block) * static_cast<double>(columns) * sizeof(Complex));
    }
    if (filter_gradient() && !channel_first()) {
        left_offset = arena.reserve(static_cast<double>(block * rows) * static_cast<double>(depth) * sizeof(Complex));
    }
    slot_bytes = arena.bytes();
    panel_offset = arena.reserve(in_place() ? 0.0 : static_cast<double>(block) * panel);
    slot_bytes_unpacked = arena.bytes();
}

/// `count` frequencies from f on, as (columns, depth, count).
void SpectralPlan::Impl::copy_planes(const Matrix<const Complex> &right, int64_t f, int64_t count, Complex *to, KernelContext &context) const {
    const StageTimer timer(context.profile, "copy_planes");
    for (int64_t k = 0; k < columns; k++) {
        for (int64_t d = 0; d < depth; d++) {
            std::copy_n(right.data + f + k * right.outer + d * right.inner, count, to + (k * depth + d) * count);
        }
    }
}

/// Of `count` frequencies, which are neighbours in all three.
bool SpectralPlan::Impl::multiply_planes(const Matrix<const Complex> &left, const Matrix<const Complex> &right, const Matrix<Complex> &result, int64_t count, bool accumulate, KernelContext &context) const {
    const float sign = problem.operation == Operation::kForward ? 1.0f : -1.0f;
    const int64_t fs = within_complex_reach(count, 1), rs = within_complex_reach(rows, std::max(left.outer, result.outer)), cs = within_complex_reach(columns, std::max(right.outer, result.inner));
    const int64_t ds = std::min(kSumBlock, within_complex_reach(depth, std::max(left.inner, right.inner)));
    for (int64_t r = 0; r < rows; r += rs) {
        for (int64_t c = 0; c < columns; c += cs) {
            for (int64_t f = 0; f < count; f += fs) {
                for (int64_t d = 0; d < depth; d += ds) {
                    const int64_t nr = std::min(rs, rows - r), nc = std::min(cs, columns - c), nf = std::min(fs, count - f), nd = std::min(ds, depth - d);
                    const Floats<3> x(parts(left.data + f + r * left.outer + d * left.inner), {{2 * nf, 1}, {nd, 2 * left.inner}, {nr, 2 * left.outer}});
                    const Floats<3> w(parts(right.data + f + c * right.outer + d * right.inner), {{2 * nf, 1}, {nd, 2 * right.inner}, {nc, 2 * right.outer}});
                    const Floats<3> out(parts(result.data + f + r * result.outer + c * result.inner), {{2 * nf, 1}, {nc, 2 * result.inner}, {nr, 2 * result.outer}});
                    const int32_t add = accumulate || d > 0 ? 1 : 0;
                    if (!call(*planes, context, x, w, sign, out, add, out)) {
                        return false;
                    }
                }
            }
        }
    }
    return true;
}

Status SpectralPlan::Impl::run_planes(const Matrix<const Complex> &left, const Matrix<const Complex> &right, const Complex *packed, const Matrix<Complex> &result, bool accumulate, std::byte *workspace, const Execution &execution) const {
    const size_t slot_size = packed != nullptr ? slot_bytes : slot_bytes_unpacked;
    return parallel_for(execution, slots(), tasks(), [&](int64_t index, int slot, KernelContext &context) {
        const int64_t per_block = ceil_div(packed_block, block), first = index / per_block * packed_block, within = index % per_block * block;
        const int64_t f = first + within, size = std::min(packed_block, problem.frequencies() - first), count = std::min(block, size - within);
        if (count <= 0) {
            return true;  // the last block may have fewer parts
        }
        Matrix<const Complex> planes_at = {right.data + f, right.outer, right.inner, 1};
        if (packed != nullptr) {
            planes_at = {packed + first * panels() + within, depth * size, size, 1};
        } else if (!in_place()) {
            auto *to = reinterpret_cast<Complex *>(workspace + static_cast<size_t>(slot) * slot_size + panel_offset);
            copy_planes(right, f, count, to, context);
            planes_at = {to, depth * count, count, 1};
        }
        return multiply_planes({left.data + f, left.outer, left.inner, 1}, planes_at, {result.data + f, result.outer, result.inner, 1}, count, accumulate, context);
    });
}

bool SpectralPlan::Impl::make_panels(const Matrix<const Complex> &right, int64_t f, int64_t count, Complex *to, KernelContext &context) const {
    const int64_t w = tile_columns;
    const bool conjugate = problem.operation == Operation::kBackwardData;
    for (int64_t first = 0; first < columns; first += w) {
        const int64_t width = std::min(w, columns - first);
        const Complex *from = right.data + f * right.f + first * right.outer;
        Complex *panel = to + first * depth;
        bool ok = true;
        if (channel_first()) {
            ok = Transposition{from, right.outer, right.inner, panel, panels(), w, count, width, depth, w, conjugate}.run(*transpose, context);
        } else if (conjugate) {
            ok = Transposition{from, right.outer, right.f, panel, w, panels(), depth, width, count, w, conjugate}.run(*transpose, context);
        } else {
            const StageTimer timer(context.profile, "copy_panels");
            for (int64_t d = 0; d < depth; d++) {
                for (int64_t i = 0; i < count; i++) {
                    Complex *row = panel + i * panels() + d * w;
                    std::copy_n(from + i * right.f + d * right.inner, width, row);
                    std::fill(row + width, row + w, Complex());
                }
            }
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool SpectralPlan::Impl::multiply(const Matrix<const Complex> &left, const Panels &right, const Matrix<Complex> &result, int64_t row_count, int64_t count, bool accumulate, KernelContext &context) const {
    const float sign = filter_gradient() ? -1.0f : 1.0f;
    const int64_t w = tile_columns, blocks = ceil_div(columns, w);
    const int64_t fs = within_complex_reach(count, std::max({left.f, result.f, right.f})), bs = within_complex_reach(blocks, right.block);
    const int64_t ds = std::min(kSumBlock, within_complex_reach(depth, std::max(left.inner, right.depth)));
    // Short sums only write: a tile of rows then goes through all frequencies, whose results lie side by side.
    const int64_t rs = std::min(depth <= 8 ? tile_rows : row_count, within_complex_reach(row_count, std::max(left.outer, result.outer)));
    for (int64_t f = 0; f < count; f += fs) {
        for (int64_t b = 0; b < blocks; b += bs) {
            for (int64_t r = 0; r < row_count; r += rs) {
                for (int64_t d = 0; d < depth; d += ds) {
                    const int64_t nf = std::min(fs, count - f), nb = std::min(bs, blocks - b), nr = std::min(rs, row_count - r), nd = std::min(ds, depth - d);
                    const int64_t width = std::min(nb * w, columns - b * w);
                    const Floats<4> x(parts(left.data + f * left.f + r * left.outer + d * left.inner), {{2, 1}, {nd, 2 * left.inner}, {nr, 2 * left.outer}, {nf, 2 * left.f}});
                    const Floats<4> panels(parts(right.data + f * right.f + b * right.block + d * right.depth), {{2 * w, 1}, {nd, 2 * right.depth}, {nb, 2 * right.block}, {nf, 2 * right.f}});
                    const Floats<3> out(parts(result.data + f * result.f + r * result.outer + b * w), {{2 * width, 1}, {nr, 2 * result.outer}, {nf, 2 * result.f}});
                    const int32_t add = accumulate || d > 0 ? 1 : 0;
                    if (!call(*gemm, context, x, panels, sign, out, add, out)) {
                        return false;
                    }
                }
            }
        }
    }
    return true;
}

Status SpectralPlan::Impl::run(const Matrix<const Complex> &left, const Matrix<const Complex> &right, const Complex *packed, const Matrix<Complex> &result, bool accumulate, std::byte *workspace, const Execution &execution) const {
    const size_t slot_size = packed != nullptr ? slot_bytes : slot_bytes_unpacked;
    return parallel_for(execution, slots(), tasks(), [&](int64_t index, int slot, KernelContext &context) {
        const int64_t f = index * block, count = std::min(block, problem.frequencies() - f);
        std::byte *base = workspace + static_cast<size_t>(slot) * slot_size;
        Panels panels_at = {packed, tile_columns, depth * tile_columns, panels()};
        if (packed != nullptr) {
            panels_at.data = packed + f * panels();
        } else if (in_place()) {
            panels_at = {right.data + f * right.f, right.inner, tile_columns, right.f};
        } else {
            auto *to = reinterpret_cast<Complex *>(base + panel_offset);
            if (!make_panels(right, f, count, to, context)) {
                return false;
            }
            panels_at.data = to;
        }
        if (!channel_first()) {
            Matrix<const Complex> from = {left.data + f * left.f, left.outer, left.inner, left.f};
            if (filter_gradient()) {
                // Images lie far apart, often at multiples of the cache's way.
                const StageTimer timer(context.profile, "copy_rows");
                auto *to = reinterpret_cast<Complex *>(base + left_offset);
                for (int64_t d = 0; d < depth; d++) {
                    for (int64_t i = 0; i < count; i++) {
                        std::copy_n(from.data + d * from.inner + i * from.f, rows, to + (i * depth + d) * rows);
                    }
                }
                from = {to, 1, rows, depth * rows};
            }
            return multiply(from, panels_at, {result.data + f * result.f, result.outer, 1, result.f}, rows, count, accumulate, context);
        }
        auto *l = reinterpret_cast<Complex *>(base + left_offset), *c = reinterpret_cast<Complex *>(base + result_offset);
        for (int64_t r = 0; r < rows; r += row_block) {
            const int64_t n = std::min(row_block, rows - r);
            const Complex *from = left.data + f + r * left.outer;
            Complex *to = result.data + f + r * result.outer;
            bool ok = Transposition{from, left.inner, left.outer, l, n * depth, depth, count, depth, n, depth}.run(*transpose, context);
            if (accumulate) {
                ok = ok && Transposition{to, result.inner, result.outer, c, n * columns, columns, count, columns, n, columns}.run(*transpose, context);
            }
            ok = ok && multiply({l, depth, 1, n * depth}, panels_at, {c, columns, 1, n * columns}, n, count, accumulate, context);
            ok = ok && Transposition{c, n * columns, columns, to, result.inner, result.outer, columns, count, n, count}.run(*transpose, context);
            if (!ok) {
                return false;
            }
        }
        return true;
    });
}

std::vector<SpectralCandidate> spectral_candidates(const SpectralProblem &problem) {
    std::vector<SpectralCandidate> list;
    for (const char *stage : {"complex_gemm", "complex_multiply"}) {
        for (const Variant *v : variants_of(stage)) {
            SpectralPlan::Impl impl;
            impl.problem = problem;
            if (impl.choose(v->name)) {  // complex_multiply is for channels first
                list.push_back({v->name, impl.planes != nullptr ? impl.seconds_planes : impl.seconds_gemm});
            }
        }
    }
    return list;
}

Result<SpectralPlan> SpectralPlan::create(const SpectralProblem &problem, const SpectralOptions &options) {
    try {
        Result<SpectralPlan> plan = make(problem, options);
        if (plan) {
            capture(problem);
        }
        if (plan && is_verbose() && !planning_parts()) {
            say_planned(problem.to_string(), plan->variant(), plan->impl_->tier, plan->impl_->why);
        }
        return plan;
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while planning");
    }
}

Result<SpectralPlan> SpectralPlan::make(const SpectralProblem &problem, const SpectralOptions &options) {
    auto impl = std::make_shared<Impl>();
    impl->problem = problem;
    impl->options = options;
    Status status = prepare_process(impl->options.threads);
    status = status.ok() ? problem.validate() : status;
    if (!status.ok()) {
        return status;
    }
    impl->transpose = find_variant("complex_transpose");
    Result<std::vector<std::string>> barred = process_blocked();
    if (!barred) {
        return barred.status();
    }
    impl->barred = std::move(*barred);
    const std::string stages = std::string("complex_gemm") + (impl->channel_first() ? " or complex_multiply" : "");
    bool chosen = !options.variant.empty() && impl->choose(options.variant);
    if (options.variant.empty()) {
        // Records decide for one thread, so that results do not depend on the number of threads.
        const std::shared_ptr<const Tables> tables = current_tables();
        const Tables::SpectralAnswer recorded = tables->spectral(problem, impl->barred);
        chosen = recorded.measured != nullptr && impl->choose(recorded.measured->variant);
        impl->tier = chosen ? recorded.tier : Tier::kCostModel;
        impl->why = chosen ? recorded.text : impl->channel_first() ? "least time by the cost model" : "the register tile that computes least beyond the edges";
        chosen = chosen || impl->choose("");
        if (!chosen) {
            return Status(StatusCode::kUnsupported, "no variant of " + stages + " is left by the block-list");
        }
    }
    if (!chosen) {
        return bad("variant '" + options.variant + "' is no variant of " + stages + " for this CPU; see list_variants()");
    }
    if (impl->planes != nullptr) {
        impl->choose_plane_blocks();
    } else {
        impl->choose_blocks();
    }
    SpectralProblem packed = problem;
    packed.batch = 1;
    if (!impl->filter_gradient()) {
        const std::string form = impl->planes != nullptr ? "planes of " + std::to_string(impl->packed_block) : "panels of " + std::to_string(impl->tile_columns);
        impl->header = make_header(std::string(version()) + "|" + form + "|" + packed.to_string(), impl->packed_bytes() - sizeof(PackedHeader));
    }
    SpectralPlan plan;
    plan.impl_ = std::move(impl);
    return plan;
}

const SpectralProblem &SpectralPlan::problem() const {
    return impl_->problem;
}

const std::string &SpectralPlan::variant() const {
    return impl_->variant;
}

int SpectralPlan::threads() const {
    return impl_->options.threads;
}

size_t SpectralPlan::workspace_bytes() const {
    return impl_->workspace(true);
}

size_t SpectralPlan::workspace_bytes_unpacked() const {
    return impl_->workspace(false);
}

size_t SpectralPlan::packed_filter_bytes() const {
    return impl_->packed_bytes();
}

std::string SpectralPlan::describe() const {
    const Impl &p = *impl_;
    std::ostringstream s;
    s << "problem    " << p.problem.to_string() << "\n"
      << "variant    " << p.variant << "\n"
      << "decided by " << to_string(p.tier) << ": " << p.why << "\n"
      << "blocking   " << p.rows << " x " << p.depth << " by " << p.depth << " x " << p.columns << " at " << p.problem.frequencies() << " frequencies, " << p.block << " at a time";
    if (p.planes != nullptr) {
        s << ", read where they lie";
    } else if (p.channel_first()) {
        s << ", " << p.row_block << " rows transposed in the cache at a time";
    }
    s << "\n";
    if (p.seconds_gemm > 0.0 && p.seconds_planes > 0.0) {
        s << std::setprecision(3) << "predicted  " << 1e3 * p.seconds_planes << " ms by complex_multiply, where spectra lie; " << 1e3 * p.seconds_gemm << " ms by complex_gemm, between transpositions\n";
    } else {
        s << std::setprecision(3) << "predicted  " << 1e3 * (p.planes != nullptr ? p.seconds_planes : p.seconds_gemm) << " ms\n";
    }
    s << "memory     workspace " << bytes_text(workspace_bytes()) << " (filters unpacked: " << bytes_text(workspace_bytes_unpacked()) << "), packed filters " << bytes_text(packed_filter_bytes()) << "\n"
      << "threads    " << p.options.threads << "\n";
    return s.str();
}

Status SpectralPlan::pack_filters(ConstSpectrumView filters, MemoryBlock packed, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return bad("the plan is empty; make one with SpectralPlan::create");
    }
    const Impl &p = *impl_;
    if (p.filter_gradient()) {
        return bad("bwd-filters reads no filters; there is nothing to pack");
    }
    Status status = check_block("packed", packed.data, packed.bytes, p.packed_bytes());
    Spectra<const Complex> w;
    if (status.ok()) {
        status = resolve("filters", filters, p.problem.order, p.filter_sizes(), w);
    }
    if (!status.ok()) {
        return status;
    }
    auto *bytes = static_cast<std::byte *>(packed.data);
    // The last bytes may be alignment only; saved blocks must not carry old memory.
    std::memset(bytes + p.packed_bytes() - kAlignment, 0, kAlignment);
    auto *panels = reinterpret_cast<Complex *>(bytes + sizeof(PackedHeader));
    const Execution execution = {context.executor != nullptr ? *context.executor : default_executor(), context.profile};
    const int64_t tasks = p.planes != nullptr ? ceil_div(p.problem.frequencies(), p.packed_block) : p.tasks();
    status = parallel_for(execution, p.slots(), tasks, [&](int64_t index, int, KernelContext &kernel) {
        if (p.planes != nullptr) {
            const int64_t first = index * p.packed_block;
            p.copy_planes(p.right_of_filters(w), first, std::min(p.packed_block, p.problem.frequencies() - first), panels + first * p.panels(), kernel);
            return true;
        }
        const int64_t f = index * p.block;
        return p.make_panels(p.right_of_filters(w), f, std::min(p.block, p.problem.frequencies() - f), panels + f * p.panels(), kernel);
    });
    if (status.ok()) {
        std::memcpy(bytes, &p.header, sizeof p.header);
    }
    return status;
}

Status SpectralPlan::execute(const SpectralTensors &t, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return bad("the plan is empty; make one with SpectralPlan::create");
    }
    const Impl &p = *impl_;
    const SpectralOrder order = p.problem.order;
    const bool data = p.problem.operation == Operation::kBackwardData, gradient = p.filter_gradient();
    const bool packed_given = !gradient && t.filters.packed.data != nullptr;

    Spectra<const Complex> in, other;
    Spectra<Complex> out;
    Sizes in_sizes = data ? p.output_sizes() : p.input_sizes(), other_sizes = gradient ? p.output_sizes() : p.filter_sizes();
    Sizes out_sizes = gradient ? p.filter_sizes() : data ? p.input_sizes() : p.output_sizes();
    out_sizes.output = true;
    const char *const in_name = data ? "grad_output" : "input", *const other_name = gradient ? "grad_output" : "filters";
    const char *const out_name = gradient ? "grad_filters" : data ? "grad_input" : "output";
    const ConstSpectrumView &in_view = data ? t.grad_output : t.input, &other_view = gradient ? t.grad_output : t.filters.view;
    const MutableSpectrumView &out_view = gradient ? t.grad_filters : data ? t.grad_input : t.output;
    Status status = resolve(in_name, in_view, order, in_sizes, in);
    if (status.ok() && !packed_given) {
        status = resolve(other_name, other_view, order, other_sizes, other);
    }
    if (status.ok()) {
        status = resolve(out_name, out_view, order, out_sizes, out);
    }
    const size_t needed = p.workspace(packed_given);
    if (status.ok()) {
        status = check_block("workspace", workspace.data, workspace.bytes, needed);
    }
    if (status.ok() && packed_given) {
        status = check_block("packed filters", t.filters.packed.data, t.filters.packed.bytes, p.packed_bytes());
    }
    if (!status.ok()) {
        return status;
    }
    const auto range = address_range(out, out_sizes);
    // Regions of one larger tensor interleave without sharing an element, so views are the caller's business.
    if (out_view.dense && in_view.dense && same_memory(range, address_range(in, in_sizes))) {
        return bad(std::string(in_name) + " and " + out_name + " overlap");
    }
    if (out_view.dense && !packed_given && other_view.dense && same_memory(range, address_range(other, other_sizes))) {
        return bad(std::string(other_name) + " and " + out_name + " overlap");
    }
    if (out_view.dense && packed_given && same_memory(range, block_range(t.filters.packed.data, p.packed_bytes()))) {
        return bad(std::string("packed filters and ") + out_name + " overlap");
    }
    if (needed > 0 && same_memory(range, block_range(workspace.data, needed))) {
        return bad(std::string("workspace and ") + out_name + " overlap");
    }
    const Complex *packed = nullptr;
    if (packed_given) {
        const auto *bytes = static_cast<const std::byte *>(t.filters.packed.data);
        if (std::memcmp(bytes, &p.header, sizeof(PackedHeader)) != 0) {
            return bad(std::memcmp(bytes, kMagic, sizeof kMagic) != 0 ? "packed filters are no block that pack_filters wrote" : "packed filters were packed for another problem, plan or version");
        }
        packed = reinterpret_cast<const Complex *>(bytes + sizeof(PackedHeader));
    }
    // Images are rows and channels the depth; of the filter gradient the other way round.
    const Matrix<const Complex> left = gradient ? Matrix<const Complex>{in.data, in.c, in.n, in.f} : Matrix<const Complex>{in.data, in.n, in.c, in.f};
    const Matrix<const Complex> right = gradient ? Matrix<const Complex>{other.data, other.c, other.n, other.f} : p.right_of_filters(other);
    // gw's rows are ic and its columns oc.
    const Matrix<Complex> result = gradient ? Matrix<Complex>{out.data, out.c, out.n, out.f} : Matrix<Complex>{out.data, out.n, out.c, out.f};
    const Execution execution = {context.executor != nullptr ? *context.executor : default_executor(), context.profile};
    if (p.planes != nullptr) {
        const Matrix<Complex> turned = gradient ? Matrix<Complex>{result.data, result.inner, result.outer, result.f} : result;
        return p.run_planes(gradient ? right : left, gradient ? left : right, packed, turned, t.accumulate, static_cast<std::byte *>(workspace.data), execution);
    }
    return p.run(left, right, packed, result, t.accumulate, static_cast<std::byte *>(workspace.data), execution);
}

}  // namespace fourfold
