/// @file
/// A training step by whole-plane transforms, whose spectra the caller keeps: forward and both gradients share them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "fourfold/plan.h"
#include "fourfold/problem.h"
#include "fourfold/status.h"
#include "fourfold/tensor.h"

namespace fourfold {

/// How a TrainingPlan computes.
struct TrainingOptions {
    int threads = 0;  ///< at most this many at a time; 0 is one per hardware thread. Results do not depend on it.
    FftBackend fft_backend = FftBackend::kAuto;  ///< of transforms of whole planes
    FftRigor fft_rigor = FftRigor::kEstimate;  ///< FFTW's planning effort
    size_t workspace_limit = std::numeric_limits<size_t>::max();  ///< bytes; the spectra, which the caller keeps, do not count
};

/// With X, W and G the spectra of x (b, ic, i0, i1), w (oc, ic/groups, f0, f1) and grad_output gy (b, oc, o0, o1), on planes that
/// hold the padded image,
///
///     y = crop(inverse(sum_c X W)) + bias      gx = crop(inverse(sum_k G conj(W)))      gw = crop(inverse(sum_n conj(X) G))
///
/// so a step transforms x, w and gy once each, where three plans transform each of them twice:
///
///     transform_filters(w) -> W     transform_input(x) -> X     forward(X, W) -> y
///     transform_gradient(gy) -> G   backward_data(G, W) -> gx   backward_filters(X, G) -> gw, gb
///
/// For forward problems of any stride, dilation, padding mode, groups and layout, without residual and post-op. It pays where
/// transforms of whole planes do, for dense layers whose filters are nearly as large as the image; for smaller filters and for
/// depthwise layers three Plans, which choose the fastest algorithm each, take less time and memory (bench/RESULTS.md).
///
/// Spectra live in the caller's blocks, aligned to kAlignment. A block starts with a header: what it holds, for which problem,
/// and the step, any number that the caller gives. The products refuse blocks that are of another kind, plan or build, and two
/// blocks of different steps, such as x of this step with gy of the last. Filter spectra do not depend on the batch, so plans of
/// different batches may share them.
///
/// Immutable and cheap to copy; every member is safe to call from several threads at once, each with a workspace of its own.
/// None but create allocates or throws. Errors of all but create: kInvalidArgument, naming the argument; what would have been
/// written is then untouched.
class TrainingPlan {
public:
    struct Impl;

    /// Errors: kInvalidArgument (the problem or an option), kUnsupported (another operation than fwd, residual, post-op, planes
    /// that no FFT library of this build does, a block-list that leaves no spectral product), kResourceExhausted (memory, or more workspace than the limit with the smallest blocks).
    static Result<TrainingPlan> create(const Conv2dProblem &problem, const TrainingOptions &options = {});

    /// The forward problem.
    const Conv2dProblem &problem() const;
    /// At most so many at a time.
    int threads() const;
    /// The library that transforms.
    FftBackend backend() const;
    /// Bytes of the block X.
    size_t input_spectra_bytes() const;
    /// Bytes of the block W.
    size_t filter_spectra_bytes() const;
    /// Bytes of the block G.
    size_t gradient_spectra_bytes() const;
    /// Bytes of workspace, enough for every call.
    size_t workspace_bytes() const;
    /// Several lines for people.
    std::string describe() const;

    /// x (b, ic, i0, i1) -> X, marked with the step.
    Status transform_input(ConstView input, int64_t step, MemoryBlock spectra, MemoryBlock workspace, const ExecutionContext &context = {}) const;
    /// w (oc, ic/groups, f0, f1) -> W, marked with the step.
    Status transform_filters(ConstView filters, int64_t step, MemoryBlock spectra, MemoryBlock workspace, const ExecutionContext &context = {}) const;
    /// gy (b, oc, o0, o1) -> G, marked with the step.
    Status transform_gradient(ConstView grad_output, int64_t step, MemoryBlock spectra, MemoryBlock workspace, const ExecutionContext &context = {}) const;

    /// X, W -> y (b, oc, o0, o1). bias: oc values, or null.
    Status forward(ConstMemoryBlock input, ConstMemoryBlock filters, const float *bias, MutableView output, MemoryBlock workspace, const ExecutionContext &context = {}) const;
    /// G, W -> gx (b, ic, i0, i1).
    Status backward_data(ConstMemoryBlock gradient, ConstMemoryBlock filters, MutableView grad_input, MemoryBlock workspace, const ExecutionContext &context = {}) const;
    /// X, G -> gw (oc, ic/groups, f0, f1). grad_bias: oc values, or null.
    Status backward_filters(ConstMemoryBlock input, ConstMemoryBlock gradient, MutableView grad_filters, float *grad_bias, MemoryBlock workspace, const ExecutionContext &context = {}) const;

private:
    static Result<TrainingPlan> make(const Conv2dProblem &problem, const TrainingOptions &options);
    std::shared_ptr<const Impl> impl_;
};

}  // namespace fourfold
