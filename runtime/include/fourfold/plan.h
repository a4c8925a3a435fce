/// @file
/// Plan: algorithm + variants + workspace layout for one problem. Made once, questioned, executed many times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fourfold/device.h"
#include "fourfold/executor.h"
#include "fourfold/problem.h"
#include "fourfold/profile.h"
#include "fourfold/status.h"
#include "fourfold/tensor.h"

namespace fourfold {

/// How to compute a problem. kAuto picks among the generated ones; kNaive is the plain loop nest in C++, a baseline that
/// kAuto picks only where nothing else can do the problem.
enum class Algorithm {
    kAuto,      ///< the fastest, as far as records and predictions tell
    kNaive,     ///< the loop nest
    kDirect,    ///< the sum as it is written, lanes along pixels or output channels
    kIm2col,    ///< patches as columns, then a matrix product; Chellapilla, Puri & Simard, IWFHR 2006
    kFft,       ///< product of the spectra of whole planes; Mathieu, Henaff & LeCun, arXiv:1312.5851
    kFftTiled,  ///< the same on overlapping tiles: overlap-save; Oppenheim & Schafer, Discrete-Time Signal Processing
    kWinograd,  ///< minimal filtering on overlapping tiles, filters or their phases of 2x2 to 3x3; Lavin & Gray, arXiv:1509.09308
};
/// Which library transforms whole planes. kAuto is FFTW where it was built in, otherwise KissFFT.
enum class FftBackend {
    kAuto,     ///< the first of fft_backends()
    kFftw,     ///< FFTW3, under the GPL
    kKissFft,  ///< KissFFT, under a BSD licence
};
/// FFTW's planning effort: none, or measured at plan time. Estimated plans are the same in every run.
enum class FftRigor {
    kEstimate,  ///< FFTW_ESTIMATE
    kMeasure,   ///< FFTW_MEASURE
    kPatient,   ///< FFTW_PATIENT
};

/// What kAuto may give up for speed, as a limit of max|y - exact| / max(|x| conv |w| + |b|) with inputs in [-1, 1]. A named
/// algorithm is not held back, except that winograd takes its largest tile, F(6x6,3x3), only when kRelaxed.
enum class Accuracy {
    kStrict,   ///< 2e-6: no winograd
    kDefault,  ///< 2e-5: winograd's F(2x2,3x3) to F(5x5,3x3), F(4x4,2x2), F(6x6,2x2); these stay below 5e-6 as measured
    kRelaxed,  ///< 1e-4: F(6x6,3x3) too; 6e-6 as measured
};

/// How plans are chosen: from tables and predictions in microseconds, or by timing the likely ones when the plan is made, some
/// tenths of a second, remembered by the process. What was measured may differ from run to run.
enum class Effort {
    kTable,    ///< tables and predictions
    kMeasure,  ///< timed when the plan is made
};
/// Whether what an execution reads is in the caches before; records of either state are kept apart.
enum class CacheState {
    kWarm,  ///< it is
    kCold,  ///< it must come from memory
};
/// What decided for a plan; see tuning.h.
enum class Tier {
    kCaller,       ///< an option named it
    kEnvironment,  ///< FOURFOLD_CHOICE named it
    kRecord,       ///< this problem was measured
    kNeighbours,   ///< problems like it were
    kFamily,       ///< one of the two above, on a related machine
    kCostModel,    ///< a prediction
    kReference,    ///< nothing else can do it than the loop nest
    kMeasured,     ///< timed when the plan was made
};

/// As parse_algorithm reads it.
const char *to_string(Algorithm algorithm);
/// The library's name.
const char *to_string(FftBackend backend);
/// As parse_accuracy reads it.
const char *to_string(Accuracy accuracy);
/// "auto", "naive", "direct", "im2col", "fft", "fft_tiled", "winograd".
Result<Algorithm> parse_algorithm(std::string_view name);
/// "strict", "default", "relaxed".
Result<Accuracy> parse_accuracy(std::string_view name);

/// What a plan may take and who decides; the defaults leave everything to the library.
struct PlanOptions {
    Algorithm algorithm = Algorithm::kAuto;  ///< of a named one, the variant that a table has as its fastest, if any
    Device device;        ///< where it computes; on a GPU every pointer given to pack_filters and execute is one of the device's (device.h)
    int threads = 0;  ///< at most this many at a time; 0 is one per hardware thread. Results do not depend on it.
    size_t workspace_limit = std::numeric_limits<size_t>::max();       ///< bytes, filters packed
    size_t packed_filter_limit = std::numeric_limits<size_t>::max();   ///< bytes
    std::string variant;  ///< forces the main stage's variant by name (see list_variants()), or the tile size of fft_tiled
                          ///< or winograd by a variant of tile_forward or winograd_forward; empty: chosen
    Accuracy accuracy = Accuracy::kDefault;  ///< what kAuto may give up for speed
    FftBackend fft_backend = FftBackend::kAuto;  ///< of transforms of whole planes
    FftRigor fft_rigor = FftRigor::kEstimate;  ///< FFTW's planning effort
    std::string choice;  ///< forces a plan by what was chosen for it, as Plan::choice() prints it: an algorithm, then names of
                         ///< variants and key=value; what is left out is chosen. Replaces `algorithm` and `variant`.
    Effort effort = Effort::kTable;  ///< from tables, or timed now
    CacheState cache = CacheState::kWarm;  ///< whose records to follow
    bool choose_for_threads = false;   ///< prefer what was measured with as many threads. Otherwise choices are the ones for one
                                       ///< thread, whatever `threads` is, and with them every bit of the results.
    bool packs_each_time = false;      ///< filters come as they are with every execution, as in training: plans are ranked with the
                                       ///< time of packing them, and records, of packed filters, do not decide
    std::vector<std::string> blocked;  ///< algorithms and variants by name that kAuto must not pick; a name that this build has
                                       ///< neither as one nor as the other, on no rung and for no GPU, is kInvalidArgument
};

/// Filters as the caller has them (oc, ic/groups, f0, f1), or a block that Plan::pack_filters wrote.
struct Filters {
    ConstView view;           ///< as the caller has them
    ConstMemoryBlock packed;  ///< or what pack_filters wrote; null data: not packed

    Filters() = default;
    /// Unpacked and dense.
    Filters(const float *data)  // NOLINT: implicit by design
        : view(data) {
    }
    /// Unpacked, in any order.
    Filters(ConstView v)  // NOLINT
        : view(v) {
    }
    /// Packed.
    Filters(ConstMemoryBlock block)  // NOLINT
        : packed(block) {
    }
    /// Packed.
    Filters(const AlignedBuffer &block)  // NOLINT
        : packed(block) {
    }
    /// Whether a packed block was given.
    bool is_packed() const {
        return packed.data != nullptr;
    }
};

/// The arguments of one execution; which are needed depends on the operation. Inputs may not overlap outputs;
/// regions of one larger tensor that have no element in common may interleave.
///
///     fwd           input, filters, bias, residual -> output
///     bwd-data      grad_output, filters, bias, residual -> grad_input; the bias has ic values, the residual x's shape
///     bwd-filters   input, grad_output -> grad_filters, and grad_bias where it is given
///     unfold        input -> output, the columns as (b, ic, f0*f1, o0*o1): dense, that is PyTorch's (b, ic*f0*f1, o0*o1)
///     fold          input, the columns -> output, of x's shape
struct Tensors {
    ConstView input;                ///< x, or columns
    Filters filters;                ///< w, as it is or packed
    const float *bias = nullptr;    ///< one value for each channel of what is computed, or null
    ConstView residual;             ///< of the shape of what is computed, when problem.residual
    MutableView output;             ///< y, or columns, or what is folded from them
    ConstView grad_output;          ///< y's shape; of a transposed convolution the layer's input
    MutableView grad_input;         ///< x's shape; of a transposed convolution the layer's output
    MutableView grad_filters;       ///< w's shape
    float *grad_bias = nullptr;     ///< oc values, or null
};

/// Where one execution runs, and what it reports to.
struct ExecutionContext {
    Executor *executor = nullptr;  ///< null: default_executor()
    void *stream = nullptr;        ///< CUstream that the work is put into, unfinished when execute returns; null: the device's default one.
                                   ///< The plan must live until then. Null on OpenCL, unused on the CPU
    Profile *profile = nullptr;    ///< filled when given; see profile.h
};

/// One algorithm's answer to a problem, as explain() lists it.
struct Candidate {
    Algorithm algorithm = Algorithm::kAuto;  ///< whose answer it is
    bool supported = false;  ///< whether it can compute the problem
    bool chosen = false;  ///< whether Plan::create takes it
    std::string reason;   ///< why not; or what decided
    std::string variant;  ///< the main stage's variant
    std::string choice;   ///< algorithm, variants and key=value: what PlanOptions::choice takes
    double predicted_seconds = 0.0;  ///< by the cost model
    double corrected_seconds = 0.0;  ///< for one thread, as measurements correct it: what candidates were ranked by
    size_t workspace_bytes = 0;  ///< as Plan::workspace_bytes
    size_t packed_filter_bytes = 0;  ///< as Plan::packed_filter_bytes
};

/// Immutable and cheap to copy; every member is safe to call from several threads at once.
class Plan {
public:
    struct Impl;

    /// Errors: kInvalidArgument (the problem or an option), kUnsupported (the named algorithm or device cannot do it),
    /// kResourceExhausted (a limit cannot be met even by blocking).
    static Result<Plan> create(const Conv2dProblem &problem, const PlanOptions &options = {});

    /// The problem that it was made for.
    const Conv2dProblem &problem() const;
    /// What was chosen; never kAuto.
    Algorithm algorithm() const;
    /// The main stage's variant, such as "conv_direct_avx512_m8_n3".
    const std::string &variant() const;
    /// Of execute, at most.
    int threads() const;
    /// Where the tensors, packed filters and workspace of an execution must lie.
    Device device() const;
    /// All that was chosen, such as "winograd winograd_forward_avx512_m4 winograd_product_avx512_r8_v2"; PlanOptions::choice
    /// with it makes this plan again.
    const std::string &choice() const;
    /// What decided; decided_by() is the same in words: "record in znver5.json".
    Tier tier() const;
    /// The words.
    const std::string &decided_by() const;

    /// Bytes of workspace that execute needs when filters are packed.
    size_t workspace_bytes() const;
    /// The same when they are given as they are. pack_filters needs no more than this.
    size_t workspace_bytes_unpacked() const;
    /// Bytes of the block that pack_filters writes; a multiple of kAlignment. 0 where there are no filters to pack: bwd-filters,
    /// unfold, fold.
    size_t packed_filter_bytes() const;
    /// The cost model's time for one execution, in seconds.
    double predicted_seconds() const;
    /// Several lines for people: problem, algorithm, variants, blocking, memory.
    std::string describe() const;

    /// Brings filters (oc, ic/groups, f0, f1) into the form that execute reads. The block starts with a header that
    /// execute checks (not on a GPU, where it would have to wait), is free of pointers, and may be saved and reused by an equal plan of the same build.
    Status pack_filters(ConstView filters, MemoryBlock packed, MemoryBlock workspace, const ExecutionContext &context = {}) const;

    /// Computes the problem. Allocates nothing, throws nothing, writes only to the outputs and the workspace, which must
    /// not be shared with a concurrent call. Errors: kInvalidArgument; the outputs are then untouched, except for
    /// kInternal, after which they are unspecified.
    Status execute(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context = {}) const;

private:
    static Result<Plan> make(const Conv2dProblem &problem, const PlanOptions &options);
    std::shared_ptr<const Impl> impl_;
};

/// Every algorithm's candidacy for the problem, the chosen one marked, with the reasons.
Result<std::vector<Candidate>> explain(const Conv2dProblem &problem, const PlanOptions &options = {});

/// One compiled stage: a generator, a schedule (its parameters) and a target.
struct VariantInfo {
    std::string name;        ///< "<stage>_<isa>[_<parameters>]"
    std::string stage;       ///< the generator's stem
    std::string isa;         ///< "avx512", "avx2", "generic"; of a GPU's "cuda75", "cuda80", "cuda86", "opencl"
    std::string parameters;  ///< "m=8 n=3"
    bool runnable = false;   ///< on this machine, under the environment's cap; of a GPU's: whether the device is here
    std::string hash;        ///< of its machine code: 16 hex digits
    Device device;           ///< the kind that it is for
};
/// Those of the CPU.
std::vector<VariantInfo> list_variants();
/// Those of GPUs, each for every capability of CUDA and for OpenCL.
std::vector<VariantInfo> list_device_variants();

/// A CPU as plans are chosen for it.
struct MachineInfo {
    std::string cpu;         ///< the model's name as the processor gives it
    std::string microarchitecture;  ///< "zen5", "sapphirerapids", ...; "x86-64" when unknown
    std::string isa;         ///< the highest rung of the ladder in use: "avx512", "avx2", "generic"
    int hardware_threads = 1;  ///< that may run at a time
    size_t l1_bytes = 0;       ///< data cache of a core
    size_t l2_bytes = 0;       ///< cache of a core
    size_t l3_bytes = 0;       ///< cache that cores share
};
/// This machine. The environment's FOURFOLD_ISA=avx512|avx2|generic caps the ISA (read once per process).
const MachineInfo &machine();

/// Those built in, the default first.
std::vector<FftBackend> fft_backends();
/// FFTW's accumulated planning knowledge as text; kUnsupported in a build without FFTW.
Result<std::string> export_fft_wisdom();
/// Takes what export_fft_wisdom gave. Errors: kInvalidArgument (no such text), kUnsupported in a build without FFTW.
Status import_fft_wisdom(const std::string &wisdom);

/// The library's version, "major.minor.patch".
const char *version();

}  // namespace fourfold
