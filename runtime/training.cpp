// TrainingPlan: forward and both gradients on the same spectra. With E the map that lays a padded, decimated image on planes, F
// the one that lays filters on them, R the crop, and * the cyclic convolution of planes, forward is y = R(E x * F w); its
// gradients are the adjoint maps,
//
//     gx = E^T( R^T gy  correlated with  F w )      gw = F^T( R^T gy  correlated with  E x )
//
// on planes of the same size, whatever that is: where forward is right, so are they. E^T adds each pixel of a plane to the pixel
// of the image that it was copied from, F^T picks each tap's place, R^T lays gy in a corner of a plane of zeros.
//
// Spectra have channels last, X (n, f, c), W (group, f, c, k), G (n, f, k), so that their products are SpectralPlan's; f counts
// frequencies as PlaneFft leaves them, c the phases of each channel of the group as well. A task brings 8 channels, a cache line of the
// spectrum, from or to their planes.
#include "fourfold/training.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <new>
#include <sstream>
#include <utility>
#include <vector>

#include "algorithm.h"
#include "arena.h"
#include "capture.h"
#include "checks.h"
#include "fourfold/spectral.h"
#include "plane_layout.h"
#include "registry.h"
#include "stages.h"
#include "transposition.h"
#include "views.h"

namespace fourfold {
namespace {

constexpr int64_t kBlock = 8;  ///< channels of a task

enum class Kind : uint32_t { kInput, kFilters, kGradient };

constexpr const char *kNames[] = {"input spectra", "filter spectra", "gradient spectra"};
const char *name_of(Kind kind) {
    return kNames[static_cast<uint32_t>(kind)];
}

/// A block of memory by its name in messages; null where there is none.
struct Block {
    const char *name;
    const void *data;
    size_t bytes;
};

/// In front of every block of spectra.
struct SpectraHeader {
    char magic[8];
    uint64_t layout;   ///< hash of everything that the block's form depends on
    uint64_t payload;  ///< bytes after the header
    int64_t step;
    Kind kind;
    char reserved[kAlignment - 36];
};
static_assert(sizeof(SpectraHeader) == kAlignment);
constexpr char kSpectraMagic[8] = {'4', 'f', 'o', 'l', 'd', 's', 'p', '1'};

SpectraHeader make_spectra_header(Kind kind, const std::string &layout, double numbers) {
    SpectraHeader h{};
    std::memcpy(h.magic, kSpectraMagic, sizeof h.magic);
    h.kind = kind;
    h.layout = hash_bytes(layout.data(), layout.size());
    h.payload = static_cast<uint64_t>(round_up(static_cast<int64_t>(numbers * sizeof(Complex)), kAlignment));
    return h;
}

/// The image's row (or column) that each element of a phase's plane was copied from; -1 where it was padding.
std::vector<int64_t> sources(int64_t first, int64_t step, int64_t count, PaddingMode mode, int64_t size) {
    std::vector<int64_t> list;
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = first + i * step;
        list.push_back(at >= 0 && at < size ? at : padding_source(mode, at, size));
    }
    return list;
}

}  // namespace

struct TrainingPlan::Impl {
    Impl(const Conv2dProblem &given, const Conv2dProblem &within_reach, const TrainingOptions &resolved, PlaneLayout layout)
        : problem(given), reachable(within_reach), options(resolved), planes(std::move(layout)) {
    }

    const Conv2dProblem problem;    ///< the caller's
    const Conv2dProblem reachable;  ///< the same with strides cut to what they mean
    const TrainingOptions options;
    const PlaneLayout planes;
    PadStage pad, copy;
    CropStage crop;
    const Variant *place = nullptr, *transpose = nullptr;
    int64_t channels = 1, outputs = 1;  ///< of a group; channels counts phases
    int64_t images = 1;                 ///< whose products are made at a time, a divisor of the batch
    int64_t gradient_channels = 1;      ///< of a group, whose filter gradients are made at a time, a divisor of channels
    std::vector<SpectralPlan> products;  ///< forward, bwd-data, bwd-filters
    std::vector<int32_t> row_places, column_places;
    std::vector<std::vector<int64_t>> row_sources, column_sources;  ///< of each phase
    bool crops = false;       ///< planes of gx are the image's, from row and column `lead` on
    SpectraHeader headers[3];
    int slots = 1;            ///< tasks at a time, each with memory of its own
    int64_t plane = 0;        ///< complex numbers from plane to plane
    size_t products_offset = 0, slots_offset = 0, scratch_offset = 0, slot_bytes = 0, workspace_bytes = 0;

    int64_t frequencies() const {
        return planes.fft->frequencies();
    }
    int64_t all_channels() const {
        return problem.groups * channels;
    }
    const SpectraHeader &header(Kind kind) const {
        return headers[static_cast<uint32_t>(kind)];
    }
    size_t bytes(Kind kind) const {
        return sizeof(SpectraHeader) + header(kind).payload;
    }
    Block block(Kind kind, const void *data) const {
        return {name_of(kind), data, bytes(kind)};
    }
    Block scratch(const MemoryBlock &workspace) const {
        return {"workspace", workspace.data, workspace_bytes};
    }
    size_t bias_bytes() const {
        return static_cast<size_t>(problem.out_channels) * sizeof(float);
    }

    /// `count` channels from planes in a slot to spectra, and back; `step` complex numbers from frequency to frequency.
    bool to_spectra(const std::byte *slot, int64_t count, Complex *spectra, int64_t step, KernelContext &context) const {
        return Transposition{reinterpret_cast<const Complex *>(slot), plane, 0, spectra, step, 0, frequencies(), count, 1, count}.run(*transpose, context);
    }
    bool to_planes(const Complex *spectra, int64_t count, int64_t step, std::byte *slot, KernelContext &context) const {
        if (!Transposition{spectra, step, 0, reinterpret_cast<Complex *>(slot), plane, 0, count, frequencies(), 1, frequencies()}.run(*transpose, context)) {
            return false;
        }
        const StageTimer timer(context.profile, "fft_inverse");
        for (int64_t i = 0; i < count; i++) {
            planes.fft->inverse(plane_at(slot, i), slot + scratch_offset);
        }
        return true;
    }
    float *plane_at(std::byte *slot, int64_t i) const {
        return reinterpret_cast<float *>(slot) + 2 * i * plane;
    }
    PlanesOut plane_out(std::byte *slot, int64_t i) const {
        return {plane_at(slot, i), planes.fft->n1, planes.fft->n0, 1, planes.fft->row_floats(), 2 * plane};
    }
    void to_frequencies(std::byte *slot, int64_t count, KernelContext &context) const {
        const StageTimer timer(context.profile, "fft_forward");
        for (int64_t i = 0; i < count; i++) {
            planes.fft->forward(plane_at(slot, i), slot + scratch_offset);
        }
    }

    /// task(index, slot's memory, context).
    template<typename Task>
    Status for_tasks(MemoryBlock workspace, const ExecutionContext &context, int64_t tasks, const Task &task) const {
        const Execution execution = {context.executor != nullptr ? *context.executor : default_executor(), context.profile};
        return parallel_for(execution, slots, tasks, [&](int64_t index, int slot, KernelContext &kernel) {
            return task(index, static_cast<std::byte *>(workspace.data) + slots_offset + static_cast<size_t>(slot) * slot_bytes, kernel);
        });
    }

    Status choose();
    Status lay_out(double frequencies);
    Status check_target(Kind kind, int64_t step, MemoryBlock spectra, MemoryBlock workspace) const;
    Status check_sources(Kind a, ConstMemoryBlock first, Kind b, ConstMemoryBlock second, MemoryBlock workspace) const;
    /// Writes a block by fill(payload), with its header once it holds what that says, and none until then.
    template<typename Fill>
    Status write(Kind kind, int64_t step, MemoryBlock spectra, const Fill &fill) const {
        SpectraHeader h = header(kind);
        h.step = step;
        std::memset(spectra.data, 0, sizeof h);
        const Status status = fill(reinterpret_cast<Complex *>(static_cast<std::byte *>(spectra.data) + sizeof h));
        if (status.ok()) {
            std::memcpy(spectra.data, &h, sizeof h);
        }
        return status;
    }

    /// Checks a tensor and writes the spectra that `transform`, one of those below, makes of it.
    using Transform = Status (Impl::*)(const StridedIn &, Complex *, MemoryBlock, const ExecutionContext &) const;
    Status check_and_transform(Kind kind, const char *name, const ConstView &view, const std::array<int64_t, 4> &size, Transform transform, int64_t step, MemoryBlock spectra, MemoryBlock workspace, const ExecutionContext &context) const;
    Status transform_input(const StridedIn &x, Complex *spectra, MemoryBlock workspace, const ExecutionContext &context) const;
    Status transform_filters(const StridedIn &w, Complex *spectra, MemoryBlock workspace, const ExecutionContext &context) const;
    Status transform_gradient(const StridedIn &gy, Complex *spectra, MemoryBlock workspace, const ExecutionContext &context) const;
    Status multiply(Operation operation, const Complex *left, int64_t left_channels, int64_t left_step, const Complex *filters, Complex *result, int64_t result_channels, int64_t result_step, MemoryBlock workspace, const ExecutionContext &context) const;
    Status forward(const Complex *x, const Complex *w, const float *bias, const StridedOut &y, MemoryBlock workspace, const ExecutionContext &context) const;
    Status backward_data(const Complex *g, const Complex *w, const StridedOut &gx, MemoryBlock workspace, const ExecutionContext &context) const;
    Status backward_filters(const Complex *x, const Complex *g, const StridedOut &gw, float *grad_bias, MemoryBlock workspace, const ExecutionContext &context) const;
    void add_plane(const float *from, int64_t phase, float *to, int64_t row_stride, int64_t column_stride) const;
    MemoryBlock products_workspace(MemoryBlock workspace) const {
        return {static_cast<std::byte *>(workspace.data) + slots_offset, workspace_bytes - slots_offset};
    }
};

namespace {

/// The largest divisor of `count` up to `most`, at least 1.
int64_t largest_divisor(int64_t count, double most) {
    int64_t d = static_cast<int64_t>(std::clamp(most, 1.0, static_cast<double>(count)));
    while (count % d != 0) {
        d--;
    }
    return d;
}

const Complex *payload(ConstMemoryBlock block) {
    return reinterpret_cast<const Complex *>(static_cast<const std::byte *>(block.data) + sizeof(SpectraHeader));
}

/// Channels [first, first + count) of a group in spectra of `all` channels.
template<typename T>
TensorView<T> group_view(T *data, int64_t first, int64_t all, int64_t columns, int64_t frequencies) {
    return {data + first, frequencies * all, 1, columns * all, all};
}

}  // namespace

/// Blocking, plans of the products, and memory. Nothing here depends on threads but the number of slots.
Status TrainingPlan::Impl::choose() {
    const Conv2dProblem &p = reachable;
    channels = p.in_channels / p.groups * planes.phases();
    outputs = p.out_channels / p.groups;
    const double f = static_cast<double>(frequencies()), all = static_cast<double>(all_channels());
    const double batch = static_cast<double>(p.batch), oc = static_cast<double>(p.out_channels);
    if (f * std::max({batch * all, batch * oc, all * static_cast<double>(outputs)}) > 0x1p56) {
        return Status(StatusCode::kResourceExhausted, "the spectra of '" + problem.to_string() + "' would need over 2^59 bytes");
    }
    pad = PadStage::find(p);
    copy = PadStage::find_zeros(p);
    crop = CropStage::find(p.layout);
    place = find_variant("place_filters");
    transpose = find_variant("complex_transpose");
    if (pad.variant == nullptr || copy.variant == nullptr || crop.variant == nullptr || place == nullptr || transpose == nullptr) {
        return Status(StatusCode::kUnsupported, "this library was made for a list of problems and has no training plans");
    }
    row_places = planes.row_places(p.filter_mode);
    column_places = planes.column_places(p.filter_mode);
    for (int64_t phase = 0; phase < planes.phases(); phase++) {
        row_sources.push_back(sources(planes.first_row(phase), p.stride_h, planes.used_rows(p, phase), p.padding_mode, p.in_height));
        column_sources.push_back(sources(planes.first_column(phase), p.stride_w, planes.used_columns(p, phase), p.padding_mode, p.in_width));
    }
    const bool repeats = p.padding_mode != PaddingMode::kZeros && p.padding_mode != PaddingMode::kConstant && !planes.rows.cyclic;
    crops = p.stride_h == 1 && p.stride_w == 1 && !repeats;

    // More images share one pass over the filters' spectra; filter gradients are transformed back while they are in the cache.
    const double most = std::max(64e6, 2.0 * static_cast<double>(machine().l3_bytes));
    images = largest_divisor(p.batch, most / (f * std::max(all, oc) * sizeof(Complex)));
    gradient_channels = largest_divisor(channels, 8e6 / (f * static_cast<double>(outputs) * sizeof(Complex)));
    plane = round_up(planes.fft->plane_floats(), 16) / 2;
    if (plane % 512 == 0) {
        plane += 8;  // planes a power of two apart would share few lines of L1
    }
    Status status = lay_out(f);
    while (status.ok() && workspace_bytes > options.workspace_limit) {
        if (images > 1) {
            images = largest_divisor(p.batch, static_cast<double>(images) / 2);
        } else if (gradient_channels > 1) {
            gradient_channels = largest_divisor(channels, static_cast<double>(gradient_channels) / 2);
        } else {
            return workspace_exhausted(workspace_bytes, options.workspace_limit);
        }
        status = lay_out(f);
    }
    // Blocks are those of one thread, so that results are the same for any number; then as many threads as fit.
    slots = options.threads;
    status = status.ok() ? lay_out(f) : status;
    while (status.ok() && workspace_bytes > options.workspace_limit) {
        slots = (slots + 1) / 2;
        status = lay_out(f);
    }
    if (!status.ok()) {
        return status;
    }

    const std::string layout = std::string(version()) + "|training " + to_string(planes.fft->backend) + " " + std::to_string(planes.fft->n0) + "x" + std::to_string(planes.fft->n1) + "|";
    Conv2dProblem any_batch = problem;
    any_batch.batch = 1;
    headers[0] = make_spectra_header(Kind::kInput, layout + problem.to_string(), batch * f * all);
    headers[1] = make_spectra_header(Kind::kFilters, layout + any_batch.to_string(), f * all * static_cast<double>(outputs));
    headers[2] = make_spectra_header(Kind::kGradient, layout + problem.to_string(), batch * f * oc);
    return Status();
}

/// Plans of the products, and memory, of the blocks.
Status TrainingPlan::Impl::lay_out(double f) {
    const double all = static_cast<double>(all_channels()), oc = static_cast<double>(problem.out_channels);
    size_t product_bytes = 0;
    products.clear();
    const PlansOfParts parts;
    for (Operation operation : {Operation::kForward, Operation::kBackwardData, Operation::kBackwardFilters}) {
        const bool filters = operation == Operation::kBackwardFilters;
        SpectralProblem product;
        product.operation = operation;
        product.batch = filters ? problem.batch : images;
        product.in_channels = filters ? gradient_channels : channels;
        product.out_channels = outputs;
        product.height = planes.fft->n1 / 2 + 1;
        product.half_width = planes.fft->n0;
        SpectralOptions spectral;
        spectral.threads = slots;
        Result<SpectralPlan> plan = SpectralPlan::create(product, spectral);
        if (!plan) {
            return plan.status();
        }
        product_bytes = std::max(product_bytes, plan->workspace_bytes_unpacked());
        products.push_back(std::move(*plan));
    }
    Arena arena;
    products_offset = arena.reserve(std::max(static_cast<double>(images) * std::max(all, oc), static_cast<double>(gradient_channels * outputs)) * f * sizeof(Complex));
    slots_offset = arena.bytes();
    Arena slot;
    slot.reserve(static_cast<double>(std::min(kBlock, std::max(all_channels(), problem.out_channels)) * plane) * sizeof(Complex));
    scratch_offset = slot.reserve(static_cast<double>(planes.fft->scratch_bytes()));
    slot_bytes = slot.bytes();
    arena.reserve(std::max(static_cast<double>(slot_bytes) * slots, static_cast<double>(product_bytes)));
    workspace_bytes = arena.bytes();
    return Status();
}

Status TrainingPlan::Impl::check_target(Kind kind, int64_t step, MemoryBlock spectra, MemoryBlock workspace) const {
    Status status = check_block(name_of(kind), spectra.data, spectra.bytes, bytes(kind));
    if (status.ok() && step < 0) {
        status = bad("step is " + std::to_string(step) + "; it must be at least 0");
    }
    if (status.ok()) {
        status = check_block("workspace", workspace.data, workspace.bytes, workspace_bytes);
    }
    if (status.ok() && same_memory(block_range(spectra.data, bytes(kind)), block_range(workspace.data, workspace_bytes))) {
        status = bad(std::string("workspace and ") + name_of(kind) + " overlap");
    }
    return status;
}

Status TrainingPlan::Impl::check_sources(Kind a, ConstMemoryBlock first, Kind b, ConstMemoryBlock second, MemoryBlock workspace) const {
    SpectraHeader found[2];
    const struct {
        Kind kind;
        ConstMemoryBlock block;
    } given[2] = {{a, first}, {b, second}};
    for (int i = 0; i < 2; i++) {
        const auto &[kind, block] = given[i];
        if (Status status = check_block(name_of(kind), block.data, block.bytes, bytes(kind)); !status.ok()) {
            return status;
        }
        std::memcpy(&found[i], block.data, sizeof(SpectraHeader));
        SpectraHeader same = found[i];
        same.step = 0;
        if (std::memcmp(same.magic, kSpectraMagic, sizeof kSpectraMagic) != 0) {
            return bad(std::string(name_of(kind)) + ": the block is none that this plan's transforms wrote");
        }
        if (same.kind != kind && static_cast<uint32_t>(same.kind) < 3) {
            return bad(std::string(name_of(kind)) + ": the block holds " + name_of(same.kind));
        }
        if (std::memcmp(&same, &header(kind), sizeof same) != 0) {
            return bad(std::string(name_of(kind)) + " were made for another problem, plan or version");
        }
        if (same_memory(block_range(block.data, bytes(kind)), block_range(workspace.data, workspace_bytes))) {
            return bad(std::string("workspace and ") + name_of(kind) + " overlap");
        }
    }
    if (found[0].step != found[1].step) {
        return bad(std::string(name_of(a)) + " are of step " + std::to_string(found[0].step) + ", " + name_of(b) + " of step " + std::to_string(found[1].step));
    }
    return check_block("workspace", workspace.data, workspace.bytes, workspace_bytes);
}

Status TrainingPlan::Impl::transform_input(const StridedIn &x, Complex *spectra, MemoryBlock workspace, const ExecutionContext &context) const {
    const Conv2dProblem &p = reachable;
    const int64_t all = all_channels(), blocks = ceil_div(all, kBlock), phases = planes.phases();
    return for_tasks(workspace, context, p.batch * blocks, [&](int64_t index, std::byte *slot, KernelContext &kernel) {
        const int64_t n = index / blocks, first = index % blocks * kBlock, count = std::min(kBlock, all - first);
        for (int64_t i = 0; i < count; i++) {
            const int64_t c = (first + i) / phases, phase = (first + i) % phases;
            const PlanesIn in = {x.data + n * x.s[0] + c * x.s[1], p.in_width, p.in_height, 1, x.s[2], x.s[1], x.s[3]};
            if (!pad.run_within(in, plane_out(slot, i), planes.used_columns(p, phase), planes.used_rows(p, phase), p.stride_w, p.stride_h, planes.first_column(phase), planes.first_row(phase), kernel)) {
                return false;
            }
        }
        to_frequencies(slot, count, kernel);
        return to_spectra(slot, count, spectra + n * frequencies() * all + first, all, kernel);
    });
}

/// With the factor 1/(n0*n1) of the inverse transforms that follow.
Status TrainingPlan::Impl::transform_filters(const StridedIn &w, Complex *spectra, MemoryBlock workspace, const ExecutionContext &context) const {
    const Conv2dProblem &p = reachable;
    const int64_t blocks = ceil_div(outputs, kBlock), phases = planes.phases(), columns = planes.column_phases();
    const float scale = static_cast<float>(1.0 / (static_cast<double>(planes.fft->n0) * static_cast<double>(planes.fft->n1)));
    return for_tasks(workspace, context, p.groups * channels * blocks, [&](int64_t index, std::byte *slot, KernelContext &kernel) {
        const int64_t first = index % blocks * kBlock, count = std::min(kBlock, outputs - first);
        const int64_t v = index / blocks % channels, g = index / blocks / channels, c = v / phases, phase = v % phases;
        const Ints<1> rows(row_places.data() + phase / columns * p.filter_height, {{p.filter_height, 1}});
        const Ints<1> cols(column_places.data() + phase % columns * p.filter_width, {{p.filter_width, 1}});
        for (int64_t i = 0; i < count; i++) {
            // Filters may lie far apart: one call each.
            const Floats<3> from(w.data + (g * outputs + first + i) * w.s[0] + c * w.s[1], {{p.filter_width, w.s[3]}, {p.filter_height, w.s[2]}, {1, 0}});
            const Floats<3> to(plane_at(slot, i), {{planes.fft->n1, 1}, {planes.fft->n0, planes.fft->row_floats()}, {1, 2 * plane}});
            if (!call(*place, kernel, from, rows, cols, to)) {
                return false;
            }
        }
        to_frequencies(slot, count, kernel);
        for (int64_t i = 0; i < count; i++) {
            float *const at = plane_at(slot, i);
            std::transform(at, at + 2 * frequencies(), at, [scale](float value) { return scale * value; });
        }
        return to_spectra(slot, count, spectra + (g * frequencies() * channels + v) * outputs + first, channels * outputs, kernel);
    });
}

Status TrainingPlan::Impl::transform_gradient(const StridedIn &gy, Complex *spectra, MemoryBlock workspace, const ExecutionContext &context) const {
    const Conv2dProblem &p = reachable;
    const int64_t all = p.out_channels, blocks = ceil_div(all, kBlock);
    return for_tasks(workspace, context, p.batch * blocks, [&](int64_t index, std::byte *slot, KernelContext &kernel) {
        const int64_t n = index / blocks, first = index % blocks * kBlock, count = std::min(kBlock, all - first);
        for (int64_t i = 0; i < count; i++) {
            const PlanesIn in = {gy.data + n * gy.s[0] + (first + i) * gy.s[1], p.out_width(), p.out_height(), 1, gy.s[2], gy.s[1], gy.s[3]};
            if (!copy.run(in, plane_out(slot, i), 1, 1, 0, 0, kernel)) {
                return false;
            }
        }
        to_frequencies(slot, count, kernel);
        return to_spectra(slot, count, spectra + n * frequencies() * all + first, all, kernel);
    });
}

/// Of `images` images, group by group: channels from `left_step` times the group on.
Status TrainingPlan::Impl::multiply(Operation operation, const Complex *left, int64_t left_channels, int64_t left_step, const Complex *filters, Complex *result, int64_t result_channels, int64_t result_step, MemoryBlock workspace, const ExecutionContext &context) const {
    const bool data = operation == Operation::kBackwardData;
    const int64_t columns = planes.fft->n0;
    Status status;
    for (int64_t g = 0; g < problem.groups && status.ok(); g++) {
        SpectralTensors t;
        const ConstSpectrumView in = group_view(left, g * left_step, left_channels, columns, frequencies());
        const MutableSpectrumView out = group_view(result, g * result_step, result_channels, columns, frequencies());
        (data ? t.grad_output : t.input) = in;
        (data ? t.grad_input : t.output) = out;
        t.filters = filters + g * frequencies() * channels * outputs;
        status = products[data ? 1 : 0].execute(t, products_workspace(workspace), context);
    }
    return status;
}

Status TrainingPlan::Impl::forward(const Complex *x, const Complex *w, const float *bias, const StridedOut &y, MemoryBlock workspace, const ExecutionContext &context) const {
    const Conv2dProblem &p = reachable;
    const int64_t f = frequencies(), blocks = ceil_div(p.out_channels, kBlock);
    auto *const products_at = reinterpret_cast<Complex *>(static_cast<std::byte *>(workspace.data) + products_offset);
    Status status;
    for (int64_t begin = 0; begin < p.batch && status.ok(); begin += images) {
        status = multiply(Operation::kForward, x + begin * f * all_channels(), all_channels(), channels, w, products_at, p.out_channels, outputs, workspace, context);
        if (!status.ok()) {
            break;
        }
        status = for_tasks(workspace, context, images * blocks, [&](int64_t index, std::byte *slot, KernelContext &kernel) {
            const int64_t n = index / blocks, first = index % blocks * kBlock, count = std::min(kBlock, p.out_channels - first);
            if (!to_planes(products_at + n * f * p.out_channels + first, count, p.out_channels, slot, kernel)) {
                return false;
            }
            for (int64_t i = 0; i < count; i++) {
                const float zero = 0.0f;
                const PlanesIn in = {plane_at(slot, i), planes.fft->n1, planes.fft->n0, 1, planes.fft->row_floats(), 2 * plane};
                const PlanesOut out = {y.data + (begin + n) * y.s[0] + (first + i) * y.s[1], p.out_width(), p.out_height(), 1, y.s[2], y.s[1], y.s[3]};
                if (!crop.run(in, out, bias != nullptr ? bias + first + i : &zero, {nullptr, 0, 0, 0, 0, 0}, KernelPostOp(), kernel)) {
                    return false;
                }
            }
            return true;
        });
    }
    return status;
}

/// E^T for one plane.
void TrainingPlan::Impl::add_plane(const float *from, int64_t phase, float *to, int64_t row_stride, int64_t column_stride) const {
    const std::vector<int64_t> &rows = row_sources[static_cast<size_t>(phase)], &columns = column_sources[static_cast<size_t>(phase)];
    for (size_t r = 0; r < rows.size(); r++) {
        if (rows[r] < 0) {
            continue;
        }
        const float *const row = from + static_cast<int64_t>(r) * planes.fft->row_floats();
        float *const target = to + rows[r] * row_stride;
        for (size_t c = 0; c < columns.size(); c++) {
            if (columns[c] >= 0) {
                target[columns[c] * column_stride] += row[c];
            }
        }
    }
}

Status TrainingPlan::Impl::backward_data(const Complex *g, const Complex *w, const StridedOut &gx, MemoryBlock workspace, const ExecutionContext &context) const {
    const Conv2dProblem &p = reachable;
    const int64_t f = frequencies(), all = all_channels(), phases = planes.phases();
    // A task owns whole channels of gx, whose phases add up.
    const int64_t at_once = std::max<int64_t>(1, kBlock / phases), blocks = ceil_div(p.in_channels, at_once);
    auto *const products_at = reinterpret_cast<Complex *>(static_cast<std::byte *>(workspace.data) + products_offset);
    Status status;
    for (int64_t begin = 0; begin < p.batch && status.ok(); begin += images) {
        status = multiply(Operation::kBackwardData, g + begin * f * p.out_channels, p.out_channels, outputs, w, products_at, all, channels, workspace, context);
        if (!status.ok()) {
            break;
        }
        status = for_tasks(workspace, context, images * blocks, [&](int64_t index, std::byte *slot, KernelContext &kernel) {
            const int64_t n = index / blocks, channel = index % blocks * at_once, count = std::min(at_once, p.in_channels - channel);
            const auto image_plane = [&](int64_t c) { return gx.data + (begin + n) * gx.s[0] + c * gx.s[1]; };
            for (int64_t c = channel; c < channel + count && !crops; c++) {
                for (int64_t row = 0; row < p.in_height; row++) {
                    for (int64_t column = 0; column < p.in_width; column++) {
                        image_plane(c)[row * gx.s[2] + column * gx.s[3]] = 0.0f;
                    }
                }
            }
            for (int64_t v = channel * phases; v < (channel + count) * phases; v += kBlock) {
                const int64_t some = std::min(kBlock, (channel + count) * phases - v);
                if (!to_planes(products_at + n * f * all + v, some, all, slot, kernel)) {
                    return false;
                }
                for (int64_t i = 0; i < some; i++) {
                    float *const target = image_plane((v + i) / phases);
                    if (!crops) {
                        const StageTimer timer(kernel.profile, "add_planes");
                        add_plane(plane_at(slot, i), (v + i) % phases, target, gx.s[2], gx.s[3]);
                        continue;
                    }
                    const float zero = 0.0f;
                    const int64_t row_floats = planes.fft->row_floats(), lead = planes.rows.lead * row_floats + planes.columns.lead;
                    const PlanesIn in = {plane_at(slot, i) + lead, p.in_width, p.in_height, 1, row_floats, 2 * plane};
                    const PlanesOut out = {target, p.in_width, p.in_height, 1, gx.s[2], gx.s[1], gx.s[3]};
                    if (!crop.run(in, out, &zero, {nullptr, 0, 0, 0, 0, 0}, KernelPostOp(), kernel)) {
                        return false;
                    }
                }
            }
            return true;
        });
    }
    return status;
}

Status TrainingPlan::Impl::backward_filters(const Complex *x, const Complex *g, const StridedOut &gw, float *grad_bias, MemoryBlock workspace, const ExecutionContext &context) const {
    const Conv2dProblem &p = reachable;
    const int64_t f = frequencies(), all = all_channels(), blocks = ceil_div(outputs, kBlock), phases = planes.phases(), phase_columns = planes.column_phases();
    const float scale = static_cast<float>(1.0 / (static_cast<double>(planes.fft->n0) * static_cast<double>(planes.fft->n1)));
    auto *const products_at = reinterpret_cast<Complex *>(static_cast<std::byte *>(workspace.data) + products_offset);
    for (int64_t group = 0; group < p.groups; group++) {
        for (int64_t begin = 0; begin < channels; begin += gradient_channels) {
            SpectralTensors t;
            t.input = group_view(x, group * channels + begin, all, planes.fft->n0, f);
            t.grad_output = group_view(g, group * outputs, p.out_channels, planes.fft->n0, f);
            t.grad_filters = products_at;
            Status status = products[2].execute(t, products_workspace(workspace), context);
            if (status.ok()) {
                status = for_tasks(workspace, context, gradient_channels * blocks, [&](int64_t index, std::byte *slot, KernelContext &kernel) {
                    const int64_t v = index / blocks, first = index % blocks * kBlock, count = std::min(kBlock, outputs - first);
                    if (!to_planes(products_at + v * outputs + first, count, gradient_channels * outputs, slot, kernel)) {
                        return false;
                    }
                    const StageTimer timer(kernel.profile, "store_filters");
                    const int64_t c = (begin + v) / phases, phase = (begin + v) % phases;
                    const int32_t *const rows = row_places.data() + phase / phase_columns * p.filter_height, *const columns = column_places.data() + phase % phase_columns * p.filter_width;
                    for (int64_t i = 0; i < count; i++) {
                        const float *const from = plane_at(slot, i);
                        float *const to = gw.data + (group * outputs + first + i) * gw.s[0] + c * gw.s[1];
                        for (int64_t r = 0; r < p.filter_height; r++) {
                            for (int64_t s = 0; s < p.filter_width; s++) {
                                if (rows[r] >= 0 && columns[s] >= 0) {
                                    to[r * gw.s[2] + s * gw.s[3]] = scale * from[rows[r] * planes.fft->row_floats() + columns[s]];
                                }
                            }
                        }
                    }
                    return true;
                });
            }
            if (!status.ok()) {
                return status;
            }
        }
    }
    // Frequency 0 is the sum of a plane.
    for (int64_t k = 0; grad_bias != nullptr && k < p.out_channels; k++) {
        double sum = 0.0;
        for (int64_t n = 0; n < p.batch; n++) {
            sum += static_cast<double>(g[n * f * p.out_channels + k].real());
        }
        grad_bias[k] = static_cast<float>(sum);
    }
    return Status();
}

Result<TrainingPlan> TrainingPlan::create(const Conv2dProblem &problem, const TrainingOptions &options) {
    try {
        return make(problem, options);
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while planning");
    }
}

Result<TrainingPlan> TrainingPlan::make(const Conv2dProblem &problem, const TrainingOptions &options) {
    TrainingOptions resolved = options;
    Status status = prepare_process(resolved.threads);
    status = status.ok() ? problem.validate() : status;
    if (!status.ok()) {
        return status;
    }
    if (problem.operation != Operation::kForward) {
        return Status(StatusCode::kUnsupported, "a training plan is made for the forward problem, whose gradients it has; '" + problem.to_string() + "' is another operation");
    }
    if (problem.residual || problem.post_op != PostOp::kNone) {
        return Status(StatusCode::kUnsupported, "a training plan has no residual and no post-op, whose gradients are the caller's ('" + problem.to_string() + "')");
    }
    const Result<Conv2dProblem> reachable = reachable_problem(problem);
    if (!reachable) {
        return reachable.status();
    }
    Result<PlaneLayout> planes = PlaneLayout::make(*reachable, options.fft_backend, options.fft_rigor);
    if (!planes) {
        return planes.status();
    }
    auto impl = std::make_shared<Impl>(problem, *reachable, resolved, std::move(*planes));
    status = impl->choose();
    if (!status.ok()) {
        return status;
    }
    TrainingPlan plan;
    plan.impl_ = std::move(impl);
    return plan;
}

const Conv2dProblem &TrainingPlan::problem() const {
    return impl_->problem;
}

int TrainingPlan::threads() const {
    return impl_->options.threads;
}

FftBackend TrainingPlan::backend() const {
    return impl_->planes.fft->backend;
}

size_t TrainingPlan::input_spectra_bytes() const {
    return impl_->bytes(Kind::kInput);
}

size_t TrainingPlan::filter_spectra_bytes() const {
    return impl_->bytes(Kind::kFilters);
}

size_t TrainingPlan::gradient_spectra_bytes() const {
    return impl_->bytes(Kind::kGradient);
}

size_t TrainingPlan::workspace_bytes() const {
    return impl_->workspace_bytes;
}

std::string TrainingPlan::describe() const {
    const Impl &p = *impl_;
    std::ostringstream s;
    s << "problem    " << p.problem.to_string() << "\n"
      << "transforms " << p.planes.fft->n0 << "x" << p.planes.fft->n1 << " by " << to_string(p.planes.fft->backend) << ", " << p.planes.phases() << " phases\n"
      << "products   " << p.products[0].variant() << ", " << p.products[1].variant() << ", " << p.products[2].variant() << "; " << p.images << " of " << p.problem.batch << " images, filter gradients of " << p.gradient_channels << " of " << p.channels << " planes at a time\n"
      << "memory     input spectra " << bytes_text(input_spectra_bytes()) << ", filter spectra " << bytes_text(filter_spectra_bytes()) << ", gradient spectra " << bytes_text(gradient_spectra_bytes()) << ", workspace " << bytes_text(workspace_bytes()) << "\n"
      << "threads    " << p.options.threads << "\n";
    return s.str();
}

namespace {

Status empty_plan() {
    return bad("the plan is empty; make one with TrainingPlan::create");
}

/// A dense tensor and blocks; of views only the caller knows what lies between.
template<typename T>
Status apart(const char *name, const TensorView<T> &view, std::pair<uintptr_t, uintptr_t> range, std::initializer_list<Block> blocks) {
    for (const Block &block : blocks) {
        if (view.dense && block.data != nullptr && same_memory(range, block_range(block.data, block.bytes))) {
            return bad(std::string(name) + " and " + block.name + " overlap");
        }
    }
    return Status();
}

Status check_bias(const char *name, const float *bias) {
    return reinterpret_cast<uintptr_t>(bias) % alignof(float) != 0 ? bad(std::string(name) + " is not aligned to " + std::to_string(alignof(float)) + " bytes") : Status();
}

}  // namespace

Status TrainingPlan::Impl::check_and_transform(Kind kind, const char *name, const ConstView &view, const std::array<int64_t, 4> &size, Transform transform, int64_t step, MemoryBlock spectra, MemoryBlock workspace, const ExecutionContext &context) const {
    StridedIn strided;
    Status status = resolve(name, view, problem.layout, size, kind == Kind::kFilters ? Role::kFilters : Role::kInput, strided);
    status = status.ok() ? check_target(kind, step, spectra, workspace) : status;
    status = status.ok() ? apart(name, view, address_range(strided, size), {block(kind, spectra.data), {"workspace", workspace.data, workspace_bytes}}) : status;
    return status.ok() ? write(kind, step, spectra, [&](Complex *to) { return (this->*transform)(strided, to, workspace, context); }) : status;
}

Status TrainingPlan::transform_input(ConstView input, int64_t step, MemoryBlock spectra, MemoryBlock workspace, const ExecutionContext &context) const {
    return impl_ == nullptr ? empty_plan() : impl_->check_and_transform(Kind::kInput, "input", input, input_size(impl_->problem), &Impl::transform_input, step, spectra, workspace, context);
}

Status TrainingPlan::transform_filters(ConstView filters, int64_t step, MemoryBlock spectra, MemoryBlock workspace, const ExecutionContext &context) const {
    return impl_ == nullptr ? empty_plan() : impl_->check_and_transform(Kind::kFilters, "filters", filters, filter_size(impl_->problem), &Impl::transform_filters, step, spectra, workspace, context);
}

Status TrainingPlan::transform_gradient(ConstView grad_output, int64_t step, MemoryBlock spectra, MemoryBlock workspace, const ExecutionContext &context) const {
    return impl_ == nullptr ? empty_plan() : impl_->check_and_transform(Kind::kGradient, "grad_output", grad_output, output_size(impl_->problem), &Impl::transform_gradient, step, spectra, workspace, context);
}

Status TrainingPlan::forward(ConstMemoryBlock input, ConstMemoryBlock filters, const float *bias, MutableView output, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return empty_plan();
    }
    const Impl &p = *impl_;
    StridedOut y;
    Status status = p.check_sources(Kind::kInput, input, Kind::kFilters, filters, workspace);
    status = status.ok() ? resolve("output", output, p.problem.layout, output_size(p.problem), Role::kOutput, y) : status;
    status = status.ok() ? check_bias("bias", bias) : status;
    if (status.ok()) {
        status = apart("output", output, address_range(y, output_size(p.problem)), {p.block(Kind::kInput, input.data), p.block(Kind::kFilters, filters.data), p.scratch(workspace), {"bias", bias, p.bias_bytes()}});
    }
    return status.ok() ? p.forward(payload(input), payload(filters), bias, y, workspace, context) : status;
}

Status TrainingPlan::backward_data(ConstMemoryBlock gradient, ConstMemoryBlock filters, MutableView grad_input, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return empty_plan();
    }
    const Impl &p = *impl_;
    StridedOut gx;
    Status status = p.check_sources(Kind::kGradient, gradient, Kind::kFilters, filters, workspace);
    status = status.ok() ? resolve("grad_input", grad_input, p.problem.layout, input_size(p.problem), Role::kOutput, gx) : status;
    if (status.ok()) {
        status = apart("grad_input", grad_input, address_range(gx, input_size(p.problem)), {p.block(Kind::kGradient, gradient.data), p.block(Kind::kFilters, filters.data), p.scratch(workspace)});
    }
    return status.ok() ? p.backward_data(payload(gradient), payload(filters), gx, workspace, context) : status;
}

Status TrainingPlan::backward_filters(ConstMemoryBlock input, ConstMemoryBlock gradient, MutableView grad_filters, float *grad_bias, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return empty_plan();
    }
    const Impl &p = *impl_;
    StridedOut gw;
    Status status = p.check_sources(Kind::kInput, input, Kind::kGradient, gradient, workspace);
    status = status.ok() ? resolve("grad_filters", grad_filters, p.problem.layout, filter_size(p.problem), Role::kFilterGradient, gw) : status;
    status = status.ok() ? check_bias("grad_bias", grad_bias) : status;
    const Block x = p.block(Kind::kInput, input.data), g = p.block(Kind::kGradient, gradient.data), scratch = p.scratch(workspace);
    if (status.ok()) {
        status = apart("grad_filters", grad_filters, address_range(gw, filter_size(p.problem)), {x, g, scratch, {"grad_bias", grad_bias, p.bias_bytes()}});
    }
    if (status.ok() && grad_bias != nullptr) {
        status = apart("grad_bias", MutableView(grad_bias), block_range(grad_bias, p.bias_bytes()), {x, g, scratch});
    }
    return status.ok() ? p.backward_filters(payload(input), payload(gradient), gw, grad_bias, workspace, context) : status;
}

}  // namespace fourfold
