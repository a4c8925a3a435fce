// SpectralTransform: planes through a PlaneFft in a slot of the workspace. Its spectra lie transposed (v, u); the stage
// complex_transpose brings blocks of channels from and to the caller's order.
#include <algorithm>
#include <cstring>
#include <new>

#include "arena.h"
#include "checks.h"
#include "fft/fft.h"
#include "fourfold/spectral.h"
#include "parallel.h"
#include "registry.h"
#include "transposition.h"

namespace fourfold {
namespace {

/// Channels of one task: with channels last, a cache line of the spectrum.
constexpr int64_t kChannelBlock = 8;

/// Spectra as two counts of planes: strides of both and of frequencies.
struct Planes {
    int64_t n = 1, c = 1;
    int64_t n_stride = 0, c_stride = 0, f_stride = 0;
};

}  // namespace

struct SpectralTransform::Impl {
    int64_t height = 1, width = 1, half_width = 1;
    SpectralOrder order = SpectralOrder::kBijc;
    int threads = 1;
    /// Of height x width; where width is odd, of height x 2*width, whose complex half transforms the plane with imaginary part 0.
    std::shared_ptr<const PlaneFft> fft;
    const Variant *transpose = nullptr;
    int64_t plane_floats = 0;
    size_t scratch_offset = 0, slot_bytes = 0;

    int64_t frequencies() const {
        return height * half_width;
    }
    int64_t channel_block() const {
        return order == SpectralOrder::kBijc ? kChannelBlock : 1;
    }
    size_t workspace() const {
        return slot_bytes * static_cast<size_t>(threads);
    }
    /// Of x or y, and of filters.
    Planes image_planes(int64_t batch, int64_t channels) const {
        const int64_t f = frequencies();
        return order == SpectralOrder::kBijc ? Planes{batch, channels, f * channels, 1, channels} : Planes{batch, channels, f * channels, f, 1};
    }
    Planes filter_planes(int64_t oc, int64_t ic) const {
        const int64_t f = frequencies();
        return order == SpectralOrder::kBijc ? Planes{ic, oc, oc, 1, ic * oc} : Planes{oc, ic, f * ic, f, 1};
    }

    /// A real plane, height x width, to (v, u); both in `plane`.
    void to_spectrum(float *plane, std::byte *scratch) const {
        if (width % 2 == 0) {
            fft->forward(plane, scratch);
            return;
        }
        for (int64_t i = height * width; i-- > 0;) {
            plane[2 * i] = plane[i];
            plane[2 * i + 1] = 0.0f;
        }
        fft->forward_complex(plane, scratch);
    }

    /// Back, not scaled; what no real plane's spectrum has in columns 0 and width/2 is left out, as NumPy's irfft2 does.
    void to_plane(float *plane, std::byte *scratch) const {
        auto *const columns = reinterpret_cast<Complex *>(plane);
        const auto mirror = [&](int64_t u) { return u == 0 ? 0 : height - u; };
        if (width % 2 == 0) {
            for (int64_t v : {int64_t{0}, width / 2}) {
                Complex *const column = columns + v * height;
                for (int64_t u = 0; 2 * u <= height; u++) {
                    const Complex mean = 0.5f * (column[u] + std::conj(column[mirror(u)]));
                    column[u] = mean;
                    column[mirror(u)] = std::conj(mean);
                }
            }
            fft->inverse(plane, scratch);
            return;
        }
        // The other half; of the whole the real part is taken, which comes of column 0's Hermitian part alone.
        for (int64_t v = half_width; v < width; v++) {
            for (int64_t u = 0; u < height; u++) {
                columns[v * height + u] = std::conj(columns[(width - v) * height + mirror(u)]);
            }
        }
        fft->inverse_complex(plane, scratch);
        for (int64_t i = 0; i < height * width; i++) {
            plane[i] = plane[2 * i];
        }
    }

    /// work(n, first, count, slot_base, context) for blocks of channels.
    template<typename Work>
    Status for_blocks(const Planes &planes, MemoryBlock workspace, const ExecutionContext &context, const Work &work) const {
        const int64_t block = channel_block(), blocks = ceil_div(planes.c, block);
        const Execution execution = {context.executor != nullptr ? *context.executor : default_executor(), context.profile};
        return parallel_for(execution, threads, planes.n * blocks, [&](int64_t index, int slot, KernelContext &kernel) {
            const int64_t first = index % blocks * block;
            return work(index / blocks, first, std::min(block, planes.c - first), static_cast<std::byte *>(workspace.data) + static_cast<size_t>(slot) * slot_bytes, kernel);
        });
    }

    /// fill(n, c, plane) writes a real plane.
    template<typename Fill>
    Status forward(const Planes &planes, Complex *spectra, MemoryBlock workspace, const ExecutionContext &context, const Fill &fill) const {
        return for_blocks(planes, workspace, context, [&](int64_t n, int64_t first, int64_t count, std::byte *base, KernelContext &kernel) {
            auto *const at = reinterpret_cast<float *>(base);
            {
                const StageTimer timer(kernel.profile, "fft_forward");
                for (int64_t i = 0; i < count; i++) {
                    fill(n, first + i, at + i * plane_floats);
                    to_spectrum(at + i * plane_floats, base + scratch_offset);
                }
            }
            const auto *const from = reinterpret_cast<const Complex *>(base);
            Complex *const to = spectra + n * planes.n_stride + first * planes.c_stride;
            const int64_t plane = plane_floats / 2, f = planes.f_stride;
            if (order == SpectralOrder::kBcij) {
                return Transposition{from, height, plane, to, half_width, frequencies(), height, half_width, 1, half_width}.run(*transpose, kernel);
            }
            return Transposition{from, plane, height, to, half_width * f, f, height, count, half_width, count}.run(*transpose, kernel);
        });
    }

    Status inverse(const Planes &planes, const Complex *spectra, float *images, MemoryBlock workspace, const ExecutionContext &context) const {
        const float scale = 1.0f / (static_cast<float>(height) * static_cast<float>(width));
        return for_blocks(planes, workspace, context, [&](int64_t n, int64_t first, int64_t count, std::byte *base, KernelContext &kernel) {
            const Complex *const from = spectra + n * planes.n_stride + first * planes.c_stride;
            auto *const to = reinterpret_cast<Complex *>(base);
            const int64_t plane = plane_floats / 2, f = planes.f_stride;
            const bool ok = order == SpectralOrder::kBcij ? Transposition{from, half_width, frequencies(), to, height, plane, half_width, height, 1, height}.run(*transpose, kernel)
                                                          : Transposition{from, half_width * f, f, to, plane, height, count, height, half_width, height}.run(*transpose, kernel);
            if (!ok) {
                return false;
            }
            const StageTimer timer(kernel.profile, "fft_inverse");
            for (int64_t i = 0; i < count; i++) {
                float *const at = reinterpret_cast<float *>(base) + i * plane_floats;
                to_plane(at, base + scratch_offset);
                float *const image = images + (n * planes.c + first + i) * height * width;
                std::transform(at, at + height * width, image, [&](float value) { return value * scale; });
            }
            return true;
        });
    }
};

namespace {

/// Counts of planes, arrays and the workspace. The arrays are a real one and a spectrum; `out` is the one written.
struct Arrays {
    const char *real_name, *spectra_name;
    const void *real, *spectra;
    size_t real_bytes, spectra_bytes;
    bool spectra_written;
};

Status check(const Arrays &a, MemoryBlock workspace, size_t needed) {
    const struct {
        const char *name;
        const void *data;
        size_t bytes, alignment;
    } arrays[] = {{a.real_name, a.real, a.real_bytes, alignof(float)}, {a.spectra_name, a.spectra, a.spectra_bytes, alignof(Complex)}};
    for (const auto &array : arrays) {
        if (array.data == nullptr) {
            return bad(std::string(array.name) + " is null");
        }
        if (reinterpret_cast<uintptr_t>(array.data) % array.alignment != 0) {
            return bad(std::string(array.name) + " is not aligned to " + std::to_string(array.alignment) + " bytes");
        }
    }
    if (const Status status = check_block("workspace", workspace.data, workspace.bytes, needed); !status.ok()) {
        return status;
    }
    const auto real = block_range(a.real, a.real_bytes), spectra = block_range(a.spectra, a.spectra_bytes);
    if (same_memory(real, spectra)) {
        return bad(std::string(a.real_name) + " and " + a.spectra_name + " overlap");
    }
    if (same_memory(a.spectra_written ? spectra : real, block_range(workspace.data, needed))) {
        return bad(std::string("workspace and ") + (a.spectra_written ? a.spectra_name : a.real_name) + " overlap");
    }
    return Status();
}

}  // namespace

Result<SpectralTransform> SpectralTransform::create(int64_t height, int64_t width, SpectralOrder order, const SpectralTransformOptions &options) {
    try {
        auto impl = std::make_shared<Impl>();
        impl->threads = options.threads;
        if (Status status = prepare_process(impl->threads); !status.ok()) {
            return status;
        }
        for (int64_t size : {height, width}) {
            if (size < 1 || size > int64_t{1} << 29) {
                return bad("the images are " + std::to_string(height) + "x" + std::to_string(width) + "; sizes must be 1 to 2^29");
            }
        }
        impl->height = height;
        impl->width = width;
        impl->half_width = width / 2 + 1;
        impl->order = order;
        impl->transpose = find_variant("complex_transpose");
        if (impl->transpose == nullptr) {
            return Status(StatusCode::kUnsupported, "this library was made for a list of problems and has no spectral transforms");
        }
        Status refused(StatusCode::kUnsupported, "the FFT backend '" + std::string(to_string(options.fft_backend)) + "' is not in this build");
        for (const FftBackendEntry &entry : fft_backend_entries()) {
            if (options.fft_backend != FftBackend::kAuto && options.fft_backend != entry.backend) {
                continue;
            }
            Result<std::shared_ptr<const PlaneFft>> fft = entry.plan(height, width % 2 == 0 ? width : 2 * width, options.fft_rigor);
            if (!fft) {
                refused = Status(fft.status().code(), "images of " + std::to_string(height) + "x" + std::to_string(width) + ": " + fft.status().message());
                continue;
            }
            impl->fft = *fft;
            break;
        }
        if (impl->fft == nullptr) {
            return refused;
        }
        impl->plane_floats = round_up(impl->fft->plane_floats(), static_cast<int64_t>(kAlignment / sizeof(float)));
        Arena arena;
        arena.reserve_floats(static_cast<double>(impl->plane_floats) * static_cast<double>(impl->channel_block()));
        impl->scratch_offset = arena.reserve(static_cast<double>(impl->fft->scratch_bytes()));
        impl->slot_bytes = arena.bytes();
        SpectralTransform transform;
        transform.impl_ = std::move(impl);
        return transform;
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while planning");
    }
}

int64_t SpectralTransform::height() const {
    return impl_->height;
}

int64_t SpectralTransform::width() const {
    return impl_->width;
}

int64_t SpectralTransform::half_width() const {
    return impl_->half_width;
}

FftBackend SpectralTransform::backend() const {
    return impl_->fft->backend;
}

size_t SpectralTransform::workspace_bytes() const {
    return impl_->workspace();
}

namespace {

/// Of batch x channels planes.
Status check_counts(int64_t batch, int64_t channels, int64_t frequencies) {
    if (batch < 1 || channels < 1) {
        return bad((batch < 1 ? "batch is " + std::to_string(batch) : "channels is " + std::to_string(channels)) + "; it must be at least 1");
    }
    if (static_cast<double>(batch) * static_cast<double>(channels) * static_cast<double>(frequencies) > 0x1p58) {
        return bad(std::to_string(batch) + " x " + std::to_string(channels) + " planes do not fit in memory");
    }
    return Status();
}

}  // namespace

Status SpectralTransform::forward(const float *images, int64_t batch, int64_t channels, Complex *spectra, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return bad("the transform is empty; make one with SpectralTransform::create");
    }
    const Impl &p = *impl_;
    Status status = check_counts(batch, channels, p.frequencies());
    const auto count = static_cast<size_t>(status.ok() ? batch * channels : 0), size = static_cast<size_t>(p.height * p.width);
    status = status.ok() ? check({"images", "spectra", images, spectra, count * size * sizeof(float), count * static_cast<size_t>(p.frequencies()) * sizeof(Complex), true}, workspace, p.workspace()) : status;
    if (!status.ok()) {
        return status;
    }
    return p.forward(p.image_planes(batch, channels), spectra, workspace, context, [&](int64_t n, int64_t c, float *plane) {
        std::memcpy(plane, images + (n * channels + c) * p.height * p.width, size * sizeof(float));
    });
}

Status SpectralTransform::inverse(const Complex *spectra, int64_t batch, int64_t channels, float *images, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return bad("the transform is empty; make one with SpectralTransform::create");
    }
    const Impl &p = *impl_;
    Status status = check_counts(batch, channels, p.frequencies());
    const auto count = static_cast<size_t>(status.ok() ? batch * channels : 0), size = static_cast<size_t>(p.height * p.width);
    status = status.ok() ? check({"images", "spectra", images, spectra, count * size * sizeof(float), count * static_cast<size_t>(p.frequencies()) * sizeof(Complex), false}, workspace, p.workspace()) : status;
    return status.ok() ? p.inverse(p.image_planes(batch, channels), spectra, images, workspace, context) : status;
}

Status SpectralTransform::filters(const Conv2dProblem &problem, const float *filters, Complex *spectra, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return bad("the transform is empty; make one with SpectralTransform::create");
    }
    const Impl &p = *impl_;
    Status status = problem.validate();
    if (status.ok() && (problem.in_height != p.height || problem.in_width != p.width)) {
        status = bad("the problem's images are " + std::to_string(problem.in_height) + "x" + std::to_string(problem.in_width) + ", the transform's planes " + std::to_string(p.height) + "x" + std::to_string(p.width));
    }
    if (status.ok() && (problem.stride_h != 1 || problem.stride_w != 1 || problem.groups != 1)) {
        status = bad("filter spectra are of a problem with stride 1 and one group (" + problem.to_string() + ")");
    }
    const int64_t oc = problem.out_channels, ic = problem.in_channels, f0 = problem.filter_height, f1 = problem.filter_width;
    status = status.ok() ? check_counts(oc, ic, std::max(p.frequencies(), f0 * f1)) : status;
    const auto count = static_cast<size_t>(status.ok() ? oc * ic : 0);
    status = status.ok() ? check({"filters", "spectra", filters, spectra, count * static_cast<size_t>(f0 * f1) * sizeof(float), count * static_cast<size_t>(p.frequencies()) * sizeof(Complex), true}, workspace, p.workspace()) : status;
    if (!status.ok()) {
        return status;
    }
    const Planes planes = p.filter_planes(oc, ic);
    const bool last = p.order == SpectralOrder::kBijc, flipped = problem.filter_mode == FilterMode::kConvolution;
    const auto wrapped = [](int64_t position, int64_t size) { return (position % size + size) % size; };
    return p.forward(planes, spectra, workspace, context, [&](int64_t n, int64_t c, float *plane) {
        const float *const taps = filters + (last ? c * ic + n : n * ic + c) * f0 * f1;
        std::fill_n(plane, p.height * p.width, 0.0f);
        // y[p] = sum_r x[p + r*d - pad] w[r] is a circular convolution with w[r] at -(r*d - pad).
        for (int64_t r = 0; r < f0; r++) {
            float *const row = plane + wrapped(problem.pad_top - r * problem.dilation_h, p.height) * p.width;
            for (int64_t s = 0; s < f1; s++) {
                row[wrapped(problem.pad_left - s * problem.dilation_w, p.width)] += taps[flipped ? (f0 - 1 - r) * f1 + f1 - 1 - s : r * f1 + s];
            }
        }
    });
}

}  // namespace fourfold
