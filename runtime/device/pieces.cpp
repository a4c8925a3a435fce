#include "device/pieces.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "arena.h"
#include "checks.h"
#include "geometry.h"
#include "views.h"

namespace fourfold {
namespace {

/// `images` images and `rows` output rows of the problem. Rows of padding are rows of its input.
Conv2dProblem piece_of(const Conv2dProblem &problem, int64_t images, int64_t rows) {
    Conv2dProblem p = problem;
    p.batch = images;
    p.in_height = (rows - 1) * p.stride_h + p.dilation_h * (p.filter_height - 1) + 1;
    p.pad_top = p.pad_bottom = 0;
    return p;
}

size_t floats(int64_t count) {
    return static_cast<size_t>(count) * sizeof(float);
}

/// What the piece takes beside filters, packed filters and workspace.
double tensor_bytes(const Conv2dProblem &piece) {
    return 2.0 * sizeof(float) * (static_cast<double>(piece.batch * piece.in_channels) * static_cast<double>(piece.in_height * piece.in_width) + (piece.residual ? 2.0 : 1.0) * static_cast<double>(piece.batch * piece.out_channels) * static_cast<double>(piece.out_height() * piece.out_width())) + sizeof(float) * static_cast<double>(piece.filter_elements() + piece.out_channels);
}

/// Images of the host, read or written line by line as a piece has them: rows in NCHW, rows of all channels in NHWC.
template<typename T>
struct Images {
    Strided<T> view;
    bool last;  ///< channels are
    int64_t channels, width;

    int64_t line() const {
        return last ? channels * width : width;
    }
    bool contiguous() const {
        return last ? view.s[1] == 1 && view.s[3] == channels : view.s[3] == 1;
    }
    T *at(int64_t image, int64_t channel, int64_t row) const {
        return view.data + image * view.s[0] + channel * view.s[1] + row * view.s[2];
    }
    int64_t step(int64_t i) const {
        return last ? i / channels * view.s[3] + i % channels * view.s[1] : i * view.s[3];
    }

    /// Calls each(place in the piece's part, image, channel, row, first element of the line, elements) for the lines that make up `count`
    /// floats from `offset` on of a dense piece of `rows` rows.
    template<typename Each>
    void lines(int64_t rows, int64_t offset, int64_t count, const Each &each) const {
        const int64_t length = line(), planes = last ? 1 : channels;
        for (int64_t done = 0; done < count;) {
            const int64_t index = (offset + done) / length, first = (offset + done) % length, n = std::min(length - first, count - done);
            each(done, index / rows / planes, index / rows % planes, index % rows, first, n);
            done += n;
        }
    }
    void read(int64_t image, int64_t channel, int64_t row, int64_t first, int64_t n, float *to) const {
        const T *from = at(image, channel, row);
        if (contiguous()) {
            std::memcpy(to, from + first, floats(n));
            return;
        }
        for (int64_t i = 0; i < n; i++) {
            to[i] = from[step(first + i)];
        }
    }
    void write(int64_t image, int64_t channel, int64_t row, int64_t first, int64_t n, const float *from) const {
        T *to = at(image, channel, row);
        if (contiguous()) {
            std::memcpy(to + first, from, floats(n));
            return;
        }
        for (int64_t i = 0; i < n; i++) {
            to[step(first + i)] = from[i];
        }
    }
};

}  // namespace

Result<std::unique_ptr<ConvolutionInPieces>> ConvolutionInPieces::create(const Conv2dProblem &problem, const PlanOptions &options, size_t device_bytes) {
    if (Status status = problem.validate(); !status.ok()) {
        return status;
    }
    if (problem.operation != Operation::kForward) {
        const std::string text = problem.to_string();
        return device_error(options.device, StatusCode::kUnsupported, "only forward convolutions are done in pieces, and this is " + text.substr(0, text.find(' ')));
    }
    const Result<DeviceRuntime *> device = device_runtime(options.device);
    if (!device) {
        return device.status();
    }
    Status status;
    for (int64_t images = problem.batch, rows = problem.out_height();;) {
        const Conv2dProblem piece = piece_of(problem, images, rows);
        const double tensors = tensor_bytes(piece);
        if (tensors < static_cast<double>(device_bytes)) {
            PlanOptions within = options;
            within.workspace_limit = std::min(options.workspace_limit, device_bytes - static_cast<size_t>(tensors));
            const Result<Plan> plan = Plan::create(piece, within);
            status = plan.status();
            if (plan && tensors + static_cast<double>(plan->workspace_bytes_unpacked()) <= static_cast<double>(device_bytes)) {
                std::unique_ptr<ConvolutionInPieces> made(new ConvolutionInPieces(problem, *plan, **device));
                status = made->reserve();
                if (status.ok()) {
                    return made;
                }
            }
            if (!status.ok() && status.code() != StatusCode::kResourceExhausted && status.code() != StatusCode::kUnsupported) {
                return status;
            }
        }
        if (images > 1) {
            images = (images + 1) / 2;
        } else if (rows > 1) {
            rows = (rows + 1) / 2;
        } else {
            return !status.ok() ? status : device_error(options.device, StatusCode::kResourceExhausted, "one row of one image takes more than the " + std::to_string(device_bytes) + " bytes of memory that it may have");
        }
    }
}

Status ConvolutionInPieces::reserve() {
    const Conv2dProblem &p = plan_.problem();
    const auto allocate = [&](DeviceBuffer &buffer, size_t bytes) {
        Result<DeviceBuffer> memory = DeviceBuffer::allocate(plan_.device(), bytes);
        if (memory) {
            buffer = std::move(*memory);
        }
        return memory.status();
    };
    const size_t x = floats(p.input_elements()), y = floats(p.output_elements()), w = floats(p.filter_elements());
    Status status = sends_.make(device_);
    status = status.ok() ? fetches_.make(device_) : status;
    status = status.ok() ? sender_.make(device_, std::max({x, p.residual ? y : 0, w})) : status;
    status = status.ok() ? fetcher_.make(device_, y) : status;
    for (Slot &slot : slots_) {
        status = status.ok() ? allocate(slot.input, x) : status;
        status = status.ok() ? allocate(slot.residual, p.residual ? y : 0) : status;
        status = status.ok() ? allocate(slot.output, y) : status;
        status = status.ok() ? slot.sent.make(device_) : status;
        status = status.ok() ? slot.computed.make(device_) : status;
        status = status.ok() ? slot.fetched.make(device_) : status;
    }
    status = status.ok() ? allocate(filters_, w) : status;
    status = status.ok() ? allocate(packed_, plan_.packed_filter_bytes()) : status;
    status = status.ok() ? allocate(bias_, floats(p.out_channels)) : status;
    return status.ok() ? allocate(workspace_, plan_.workspace_bytes_unpacked() - plan_.packed_filter_bytes()) : status;
}

int64_t ConvolutionInPieces::pieces() const {
    return ceil_div(problem_.batch, plan_.problem().batch) * ceil_div(problem_.out_height(), plan_.problem().out_height());
}

int64_t ConvolutionInPieces::first_image(int64_t piece) const {
    const int64_t images = plan_.problem().batch;
    return std::min(piece / ceil_div(problem_.out_height(), plan_.problem().out_height()) * images, problem_.batch - images);
}

int64_t ConvolutionInPieces::first_row(int64_t piece) const {
    const int64_t rows = plan_.problem().out_height();
    return std::min(piece % ceil_div(problem_.out_height(), rows) * rows, problem_.out_height() - rows);
}

Status ConvolutionInPieces::pack_filters(ConstView filters, const ExecutionContext &context) {
    Status status = own_stream(plan_.device(), context.stream);
    if (!status.ok()) {
        return status;
    }
    const Conv2dProblem &p = problem_;
    StridedIn w;
    const std::array<int64_t, 4> sizes = filter_size(p);
    status = resolve("filters", filters, p.layout, sizes, Role::kFilters, w);
    if (status.ok()) {
        // In any order on the host, as (oc, ic, f0, f1) on the device.
        status = sender_.send(filters_.data(), filters_.bytes(), context.stream, [&](void *piece, size_t offset, size_t bytes) {
            for (size_t i = 0; i < bytes / sizeof(float); i++) {
                auto at = static_cast<int64_t>(offset / sizeof(float) + i);
                const int64_t column = at % sizes[3], row = (at /= sizes[3]) % sizes[2], channel = (at /= sizes[2]) % sizes[1];
                static_cast<float *>(piece)[i] = w.data[at / sizes[1] * w.s[0] + channel * w.s[1] + row * w.s[2] + column * w.s[3]];
            }
        });
    }
    const int64_t f = p.filter_height * p.filter_width;
    status = status.ok() ? plan_.pack_filters(ConstView(filters_.floats(), sizes[1] * f, f, p.filter_width, 1), packed_, workspace_, context) : status;
    packed_once_ = packed_once_ || status.ok();
    return finish(status, context.stream);
}

Status ConvolutionInPieces::send(const ForwardTensors &t, int64_t piece) {
    const Conv2dProblem &p = problem_, &q = plan_.problem();
    Slot &slot = slots_[piece % 2];
    const bool last = p.layout == Layout::kNhwc;
    const int64_t image = first_image(piece), row = first_row(piece);
    // After who computed from the slot before.
    Status status = device_.wait_in_stream(sends_.get(), slot.computed.get());
    const Images<const float> x = {t.input, last, p.in_channels, p.in_width};
    const int64_t origin = row * p.stride_h - p.pad_top, line = x.line(), planes = last ? 1 : p.in_channels;
    const float outside = p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0f;
    const bool constant = p.padding_mode == PaddingMode::kZeros || p.padding_mode == PaddingMode::kConstant;
    // `bytes` from `begin` on of the piece's input.
    const auto stage = [&](size_t begin, size_t bytes) {
        return sender_.send(reinterpret_cast<std::byte *>(slot.input.floats()) + begin, bytes, sends_.get(), [&](void *to, size_t offset, size_t count_bytes) {
            x.lines(q.in_height, static_cast<int64_t>((begin + offset) / sizeof(float)), static_cast<int64_t>(count_bytes / sizeof(float)), [&](int64_t done, int64_t n, int64_t channel, int64_t j, int64_t first, int64_t count) {
                float *const target = static_cast<float *>(to) + done;
                const int64_t from = origin + j;
                if (constant && (from < 0 || from >= p.in_height)) {
                    std::fill_n(target, count, outside);
                } else {
                    x.read(image + n, channel, constant ? from : padding_source(p.padding_mode, from, p.in_height), first, count, target);
                }
            });
        });
    };
    if (!input_pinned_) {
        status = status.ok() ? stage(0, slot.input.bytes()) : status;
    }
    // Rows of the image as they lie, a plane at a time, and through the stager those of padding before and after.
    const int64_t begin = std::clamp<int64_t>(-origin, 0, q.in_height), end = std::clamp<int64_t>(p.in_height - origin, begin, q.in_height);
    for (int64_t plane = 0; plane < q.batch * planes && input_pinned_ && status.ok(); plane++) {
        const size_t first = floats(plane * q.in_height * line), inside = first + floats(begin * line), behind = first + floats(end * line);
        status = begin > 0 ? stage(first, inside - first) : status;
        if (status.ok() && end > begin) {
            status = device_.begin_copy_to_device(reinterpret_cast<std::byte *>(slot.input.floats()) + inside, x.at(image + plane / planes, plane % planes, origin + begin), behind - inside, sends_.get());
        }
        status = status.ok() && end < q.in_height ? stage(behind, floats((q.in_height - end) * line)) : status;
    }
    if (status.ok() && p.residual) {
        const Images<const float> r = {t.residual, last, p.out_channels, p.out_width()};
        status = sender_.send(slot.residual.data(), slot.residual.bytes(), sends_.get(), [&](void *to, size_t offset, size_t bytes) {
            r.lines(q.out_height(), static_cast<int64_t>(offset / sizeof(float)), static_cast<int64_t>(bytes / sizeof(float)), [&](int64_t done, int64_t n, int64_t channel, int64_t j, int64_t first, int64_t count) {
                r.read(image + n, channel, row + j, first, count, static_cast<float *>(to) + done);
            });
        });
    }
    return status.ok() ? device_.record(slot.sent.get(), sends_.get()) : status;
}

Status ConvolutionInPieces::compute(int64_t piece, bool bias, const ExecutionContext &context) {
    Slot &slot = slots_[piece % 2];
    Tensors t;
    t.input = slot.input.floats();
    t.filters = Filters(ConstMemoryBlock(packed_));
    t.bias = bias ? bias_.floats() : nullptr;
    t.residual = problem_.residual ? ConstView(slot.residual.floats()) : ConstView();
    t.output = slot.output.floats();
    // Into what was fetched, of the piece before the last.
    Status status = device_.wait_in_stream(context.stream, slot.sent.get());
    status = status.ok() ? device_.wait_in_stream(context.stream, slot.fetched.get()) : status;
    status = status.ok() ? plan_.execute(t, workspace_, context) : status;
    return status.ok() ? device_.record(slot.computed.get(), context.stream) : status;
}

Status ConvolutionInPieces::fetch(const ForwardTensors &t, int64_t piece) {
    const Conv2dProblem &p = problem_;
    Slot &slot = slots_[piece % 2];
    const int64_t image = first_image(piece), row = first_row(piece);
    const Images<float> y = {t.output, p.layout == Layout::kNhwc, p.out_channels, p.out_width()};
    Status status = device_.wait_in_stream(fetches_.get(), slot.computed.get());
    const int64_t rows = plan_.problem().out_height(), plane_floats = rows * y.line(), planes = y.last ? 1 : p.out_channels;
    if (!output_pinned_) {
        status = !status.ok() ? status : fetcher_.fetch(slot.output.data(), slot.output.bytes(), fetches_.get(), [&](const void *from, size_t offset, size_t bytes) {
            y.lines(rows, static_cast<int64_t>(offset / sizeof(float)), static_cast<int64_t>(bytes / sizeof(float)), [&](int64_t done, int64_t n, int64_t channel, int64_t j, int64_t first, int64_t count) {
                y.write(image + n, channel, row + j, first, count, static_cast<const float *>(from) + done);
            });
        });
    }
    for (int64_t plane = 0; plane < plan_.problem().batch * planes && output_pinned_ && status.ok(); plane++) {
        status = device_.begin_copy_to_host(y.at(image + plane / planes, plane % planes, row), slot.output.floats() + plane * plane_floats, floats(plane_floats), fetches_.get());
    }
    return status.ok() ? device_.record(slot.fetched.get(), fetches_.get()) : status;
}

Status ConvolutionInPieces::run(const Tensors &tensors, const ExecutionContext &context) {
    ForwardTensors t;
    Status status = resolve_image(problem_, tensors, MemoryBlock(), 0, t);
    status = status.ok() && tensors.filters.view.data != nullptr ? pack_filters(tensors.filters.view, context) : status;
    if (status.ok() && !packed_once_) {
        status = bad("filters are null, and none were packed before");
    }
    if (status.ok() && t.bias != nullptr) {
        status = sender_.send(bias_.data(), t.bias, bias_.bytes(), context.stream);
    }
    input_pinned_ = status.ok() && tensors.input.dense && device_.in_host_memory(t.input.data, floats(problem_.input_elements()));
    output_pinned_ = status.ok() && tensors.output.dense && device_.in_host_memory(t.output.data, floats(problem_.output_elements()));
    for (int64_t piece = 0; piece < pieces() && status.ok(); piece++) {
        status = send(t, piece);
        status = status.ok() ? compute(piece, t.bias != nullptr, context) : status;
        status = status.ok() && piece > 0 ? fetch(t, piece - 1) : status;
    }
    return status.ok() ? fetch(t, pieces() - 1) : status;
}

Status ConvolutionInPieces::execute(const Tensors &tensors, const ExecutionContext &context) {
    if (Status status = own_stream(plan_.device(), context.stream); !status.ok()) {
        return status;
    }
    return finish(run(tensors, context), context.stream);
}

/// Waits until nothing uses the caller's memory or the slots, also after an error: nothing is under way between calls.
Status ConvolutionInPieces::finish(Status status, void *stream) {
    for (void *each : {sends_.get(), fetches_.get(), stream}) {
        const Status done = device_.synchronize(each);
        status = status.ok() ? done : status;
    }
    return status;
}

}  // namespace fourfold
