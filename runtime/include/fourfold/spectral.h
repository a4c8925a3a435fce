/// @file
/// The spectral product: convolution's sum over channels on half spectra that the caller has and keeps, and the transforms
/// between them and images.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "fourfold/plan.h"
#include "fourfold/problem.h"
#include "fourfold/status.h"
#include "fourfold/tensor.h"

namespace fourfold {

/// A complex64 number.
using Complex = std::complex<float>;
/// Spectra to be read.
using ConstSpectrumView = TensorView<const Complex>;
/// Spectra to be written.
using MutableSpectrumView = TensorView<Complex>;

/// Order of the dimensions in memory, last one fastest.
///
///     kBijc    x (b, i0, i1h, ic)   w (i0, i1h, ic, oc)   y (b, i0, i1h, oc)
///     kBcij    x (b, ic, i0, i1h)   w (oc, ic, i0, i1h)   y (b, oc, i0, i1h)
enum class SpectralOrder {
    kBijc,  ///< channels last
    kBcij,  ///< channels first
};
/// As parse_spectral_order reads it.
const char *to_string(SpectralOrder order);
/// "bijc", "bcij".
Result<SpectralOrder> parse_spectral_order(std::string_view name);

/// Products of complex64 numbers, summed over channels; a frequency is a pair (i0, i1h). `operation` is one of
///
///     kForward           y[b,f,k] = sum_c x[b,f,c] w[f,c,k]
///     kBackwardData      gx[b,f,c] = sum_k gy[b,f,k] conj(w[f,c,k])
///     kBackwardFilters   gw[f,c,k] = sum_b conj(x[b,f,c]) gy[b,f,k]
///
/// the two gradients such that Re<gy, y> = Re<gx, x> = Re<gw, w> (the convention of PyTorch's autograd).
struct SpectralProblem {
    Operation operation = Operation::kForward;  ///< the product, or a gradient of it
    int64_t batch = 1;  ///< images
    int64_t in_channels = 1;  ///< of x
    int64_t height = 1;      ///< rows of a spectrum: those of the image
    int64_t half_width = 1;  ///< columns of a half spectrum: width / 2 + 1
    int64_t out_channels = 1;  ///< of y
    SpectralOrder order = SpectralOrder::kBijc;  ///< of the dimensions in memory

    /// Of one half spectrum.
    constexpr int64_t frequencies() const {
        return height * half_width;
    }
    /// Real operations: 8 for a complex multiplication with its addition.
    constexpr double flops() const {
        return 8.0 * static_cast<double>(batch) * static_cast<double>(in_channels) * static_cast<double>(out_channels) * static_cast<double>(height) * static_cast<double>(half_width);
    }
    /// Errors: kInvalidArgument, naming the offending size.
    Status validate() const;
    /// "spectral b128 ic32 i28x15 oc64"; then "bwd-data" or "bwd-filters", and "bcij", where they apply.
    std::string to_string() const;
    /// Reads the same, tokens in any order. Does not validate the sizes.
    static Result<SpectralProblem> parse(std::string_view text);

    /// Equal in every member.
    friend constexpr bool operator==(const SpectralProblem &a, const SpectralProblem &b) {
        return a.operation == b.operation && a.batch == b.batch && a.in_channels == b.in_channels && a.height == b.height && a.half_width == b.half_width && a.out_channels == b.out_channels && a.order == b.order;
    }
    /// Different in a member.
    friend constexpr bool operator!=(const SpectralProblem &a, const SpectralProblem &b) {
        return !(a == b);
    }
};

/// What a spectral plan may take.
struct SpectralOptions {
    int threads = 0;      ///< at most this many at a time; 0 is one per hardware thread. Results do not depend on it.
    std::string variant;  ///< of complex_gemm or, for kBcij, complex_multiply, by name; empty: chosen
};

/// Filter spectra as the caller has them, or a block that SpectralPlan::pack_filters wrote.
struct SpectralFilters {
    ConstSpectrumView view;   ///< as the caller has them
    ConstMemoryBlock packed;  ///< or what pack_filters wrote; null data: not packed

    SpectralFilters() = default;
    /// Unpacked and dense.
    SpectralFilters(const Complex *data)  // NOLINT: implicit by design
        : view(data) {
    }
    /// Unpacked, by strides.
    SpectralFilters(ConstSpectrumView v)  // NOLINT
        : view(v) {
    }
    /// Packed.
    SpectralFilters(ConstMemoryBlock block)  // NOLINT
        : packed(block) {
    }
    /// Packed.
    SpectralFilters(const AlignedBuffer &block)  // NOLINT
        : packed(block) {
    }
};

/// The arguments of one execution: forward reads input and filters, kBackwardData grad_output and filters, kBackwardFilters
/// input and grad_output. Views index (n, channel, row, column), filters (oc, ic, row, column), whatever the order in memory;
/// strides count complex numbers, that of the order's last dimension is 1 and rows follow each other without a gap (row stride =
/// half_width * column stride). Inputs may not overlap outputs.
struct SpectralTensors {
    ConstSpectrumView input;  ///< x
    SpectralFilters filters;  ///< w
    MutableSpectrumView output;  ///< y
    ConstSpectrumView grad_output;  ///< gy
    MutableSpectrumView grad_input;  ///< gx
    MutableSpectrumView grad_filters;  ///< gw
    bool accumulate = false;  ///< adds to what the result holds instead of overwriting it
};

/// The product over kept spectra, by the convolution theorem as Mathieu, Henaff & LeCun (arXiv:1312.5851) use it in networks.
/// Immutable and cheap to copy; every member is safe to call from several threads at once.
class SpectralPlan {
public:
    struct Impl;

    /// Errors: kInvalidArgument (the problem or an option), kUnsupported (block_choices() or FOURFOLD_BLOCK leaves no variant; one that the
    /// options name is taken all the same), kResourceExhausted.
    static Result<SpectralPlan> create(const SpectralProblem &problem, const SpectralOptions &options = {});

    /// The problem that it was made for.
    const SpectralProblem &problem() const;
    /// "complex_gemm_avx512_r6_w16"; channel-first also "complex_multiply_avx512_r4_w3_v1".
    const std::string &variant() const;
    /// Of execute, at most.
    int threads() const;
    /// Bytes of workspace with packed filters.
    size_t workspace_bytes() const;
    /// The same with filters as they are. kBackwardFilters: both are the same.
    size_t workspace_bytes_unpacked() const;
    /// Bytes of the block that pack_filters writes; 0 for kBackwardFilters. pack_filters needs no workspace.
    size_t packed_filter_bytes() const;
    /// Several lines for people.
    std::string describe() const;

    /// Brings filters into the form that execute reads. The block starts with a header that execute checks, is free of
    /// pointers, and may be saved and reused by an equal plan of the same build, of any batch that leads to the same
    /// variant(): SpectralOptions::variant names one.
    Status pack_filters(ConstSpectrumView filters, MemoryBlock packed, const ExecutionContext &context = {}) const;
    /// Computes the problem. Allocates nothing, throws nothing, writes only to the result and the workspace, which must not be
    /// shared with a concurrent call. Errors: kInvalidArgument; the result is then untouched.
    Status execute(const SpectralTensors &tensors, MemoryBlock workspace, const ExecutionContext &context = {}) const;

private:
    static Result<SpectralPlan> make(const SpectralProblem &problem, const SpectralOptions &options);
    std::shared_ptr<const Impl> impl_;
};

/// What a transform may take, and by which library.
struct SpectralTransformOptions {
    int threads = 0;  ///< at most this many at a time; 0 is one per hardware thread. Results do not depend on it.
    FftBackend fft_backend = FftBackend::kAuto;  ///< of transforms of whole planes
    FftRigor fft_rigor = FftRigor::kEstimate;  ///< FFTW's planning effort
};

/// Images and filters to half spectra in an order of the product's, and back: NumPy's rfft2 and irfft2.
///
///     forward    X[u,v] = sum_{y,x} x[y,x] exp(-2 pi i (u*y/i0 + v*x/i1)),   0 <= u < i0, 0 <= v <= i1/2
///     inverse    its inverse, with the factor 1/(i0*i1); of columns 0 and, where i1 is even, i1/2 only the part is read that
///                a real image can have, (X[u] + conj(X[-u]))/2
///
/// Arrays are dense: images (b, c, i0, i1), spectra in the plan's order. Odd widths cost more than twice as much as even ones.
/// Immutable and cheap to copy; every member is safe to call from several threads at once, each with a workspace of its own.
/// None but create allocates or throws, and the workspace may be a SpectralPlan's, since neither keeps anything in it.
class SpectralTransform {
public:
    struct Impl;

    /// For images of height x width. Errors: kInvalidArgument; kUnsupported, with the sizes that the backend does without taking
    /// memory while it executes (KissFFT: factors 2, 3 and 5; FFTW: most); kResourceExhausted.
    static Result<SpectralTransform> create(int64_t height, int64_t width, SpectralOrder order, const SpectralTransformOptions &options = {});

    /// Rows of an image and of a spectrum.
    int64_t height() const;
    /// Columns of an image.
    int64_t width() const;
    /// Columns of a half spectrum: width()/2 + 1.
    int64_t half_width() const;
    /// The library that transforms.
    FftBackend backend() const;
    /// Bytes that each of the three below needs.
    size_t workspace_bytes() const;

    /// Images (batch, channels, height, width) to half spectra in the order. Errors of all three: kInvalidArgument, the output then
    /// untouched. Arrays may not overlap.
    Status forward(const float *images, int64_t batch, int64_t channels, Complex *spectra, MemoryBlock workspace, const ExecutionContext &context = {}) const;
    /// The inverse of forward.
    Status inverse(const Complex *spectra, int64_t batch, int64_t channels, float *images, MemoryBlock workspace, const ExecutionContext &context = {}) const;
    /// Spectra of filters (oc, ic, f0, f1) such that inverse(product(forward(x), filters)) is the problem's convolution of x with
    /// circular padding: sizes, padding at the top and left, dilation and filter mode are the problem's, whose stride and groups
    /// must be 1. Where it has less output than input, that is the first rows and columns: with no padding the valid part.
    Status filters(const Conv2dProblem &problem, const float *filters, Complex *spectra, MemoryBlock workspace, const ExecutionContext &context = {}) const;

private:
    std::shared_ptr<const Impl> impl_;
};

}  // namespace fourfold
