// One execution as a caller would do it, in guarded memory, judged against the reference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "reference/conv2d.h"
#include "support/buffers.h"

namespace fourfold::test {

/// Sanitized builds leave variants out (cmake/FourfoldKernels.cmake), and their code is larger and other code.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

enum class Values {
    kUniform,   ///< in [-1, 1]
    kPositive,  ///< in [0, 1]: long sums grow, and so would their rounding
    kIntegers,  ///< in {-2..2}: sums are exact in float, whatever their order
};

/// What one execution reads and writes, filled at random. The same seed gives the same values wherever they are placed.
struct Operands {
    Conv2dProblem problem;
    uint64_t seed = 0;
    Placement placement = Placement::kGuardBytes;
    bool regions = false;
    Array input, filters, grad_output;  ///< of the three those that the operation reads; the columns of fold are its input
    Array residual, output;             ///< output is the result: y, or a gradient of x or w
    GuardedBuffer bias;                 ///< read, or by bwd-filters written; unfold and fold have none

    Operands(const Conv2dProblem &problem, uint64_t seed, Values values = Values::kUniform, Placement placement = Placement::kGuardBytes,
             bool regions = false);

    /// Filters given as they are; replace `filters` by a packed block as needed.
    Tensors tensors() const;
    reference::Forward expected() const;
    /// bwd-filters: the bias gradient within `limit` of the reference's.
    ::testing::AssertionResult bias_matches(double limit) const;
    /// Back to NaN in every element.
    void clear_output();
    /// Of everything that may only be read; equal before and after an execution.
    uint64_t inputs_checksum() const;
    /// The problem, where it lies, and how to repeat it.
    std::string to_string() const;
};

struct RunOptions {
    Placement placement = Placement::kGuardBytes;  ///< of workspace and packed block
    bool unpacked = false;                         ///< filters given as they are
    Executor *executor = nullptr;
    void *stream = nullptr;      ///< of a GPU
    bool shared_memory = false;  ///< the device reads the host's memory: nothing is copied, guards are where a CPU's would be
};

/// Packs the filters and executes with exactly the bytes that the plan asks for, the output pre-filled with NaN and every
/// other buffer with 0xff. Touching memory that is not the plan's comes back as kInternal, in words. A plan of a GPU gets the same
/// bytes, views and guards in memory of its device.
Status run_plan(const Plan &plan, Operands &operands, const RunOptions &how = {});
/// The same, making the plan.
Status run_plan(const PlanOptions &options, Operands &operands, const RunOptions &how = {});

/// Error limits of the design for data in [-1, 1], relative to Forward::scale.
double error_limit(Algorithm algorithm);
/// max|y - expected| / scale; infinity where y is NaN.
double max_error(const Array &y, const reference::Forward &expected);
/// max_error() within `limit`, else the worst element in words.
::testing::AssertionResult matches(const Operands &operands, const reference::Forward &expected, double limit);
/// Bits, not values: NaN equals itself and -0 is not 0.
bool same_bits(const std::vector<float> &a, const std::vector<float> &b);
/// The same bits, of sums that other threads may compute elsewhere in a register tile. Kernels that the address sanitizer instruments may sum
/// the rows of a register tile in orders of their own (LLVM may reassociate): of those the same but for rounding, 1e-6 of the largest.
bool same_sums(const std::vector<float> &a, const std::vector<float> &b);

/// The algorithms of this version.
inline constexpr Algorithm kAlgorithms[] = {Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd};
/// Whether it may refuse a valid forward problem (with a reason): where no tile is large enough for the filter, and winograd
/// where its phases are not 2x2 to 3x3.
inline constexpr bool may_refuse(Algorithm algorithm) {
    return algorithm == Algorithm::kFftTiled || algorithm == Algorithm::kWinograd;
}
/// Whether it may and does.
bool refuses(Algorithm algorithm, const Conv2dProblem &problem);
/// Names of the variants of the algorithm's main stage that run on this machine, under the environment's cap; for naive one empty name.
std::vector<std::string> runnable_variants(Algorithm algorithm, Operation operation = Operation::kForward);
/// The stage that PlanOptions::variant chooses; empty for naive.
std::string main_stage(Algorithm algorithm, Operation operation = Operation::kForward);

}  // namespace fourfold::test
