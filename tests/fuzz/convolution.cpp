// Bytes as a small problem, an algorithm and the data's seed: every operation in guarded memory against the double reference.
#include <algorithm>
#include <string>
#include <vector>

#include "fuzz.h"
#include "support/problems.h"
#include "support/run_plan.h"

using namespace fourfold;
using namespace fourfold::test;

namespace {

/// The input's bytes as choices, one byte each; zeros after the end.
class Choices {
public:
    Choices(const uint8_t *data, size_t bytes)
        : next_(data), end_(data + bytes) {
    }
    /// In [lo, hi], both included; hi - lo < 256.
    int64_t between(int64_t lo, int64_t hi) {
        const uint8_t byte = next_ < end_ ? *next_++ : uint8_t{0};
        return lo + byte % (hi - lo + 1);
    }
    bool flag() {
        return between(0, 1) == 1;
    }
    template<typename T, size_t N>
    T of(const T (&list)[N]) {
        return list[between(0, static_cast<int64_t>(N) - 1)];
    }

private:
    const uint8_t *next_, *end_;
};

Conv2dProblem choose_problem(Choices &choices) {
    Conv2dProblem p;
    p.operation = choices.of({Operation::kForward, Operation::kBackwardData, Operation::kBackwardFilters, Operation::kUnfold, Operation::kFold});
    p.batch = choices.between(1, 4);
    p.groups = choices.between(1, 18);
    p.in_channels = p.groups * choices.between(1, 40);
    p.out_channels = p.groups * choices.between(1, 40);
    p.in_height = choices.between(1, 80);
    p.in_width = choices.between(1, 80);
    p.filter_height = choices.between(1, 40);
    p.filter_width = choices.between(1, 40);
    p.stride_h = choices.between(1, 7);
    p.stride_w = choices.between(1, 7);
    p.dilation_h = choices.between(1, 5);
    p.dilation_w = choices.between(1, 5);
    p.pad_top = choices.between(0, 50);
    p.pad_bottom = choices.between(0, 50);
    p.pad_left = choices.between(0, 50);
    p.pad_right = choices.between(0, 50);
    p.padding_mode = choices.of({PaddingMode::kZeros, PaddingMode::kConstant, PaddingMode::kReflect, PaddingMode::kSymmetric, PaddingMode::kReplicate, PaddingMode::kCircular});
    if (p.padding_mode == PaddingMode::kConstant) {
        p.padding_value = 0.5f;
    }
    p.filter_mode = choices.flag() ? FilterMode::kConvolution : FilterMode::kCorrelation;
    p.layout = choices.flag() ? Layout::kNhwc : Layout::kNchw;
    p.post_op = choices.of({PostOp::kNone, PostOp::kRelu, PostOp::kClamp});
    if (p.post_op == PostOp::kClamp) {
        p.clamp_lo = -0.25f;
        p.clamp_hi = 0.75f;
    }
    p.residual = choices.flag();
    return gradient_of(p, p.operation);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    Choices choices(data, bytes);
    const Conv2dProblem problem = choose_problem(choices);
    if (problem.error() != nullptr || problem.flops() > 4e5 || problem.input_elements() > 20000 || problem.output_elements() > 20000 || problem.filter_elements() > 20000 ||
        (problem.moves_columns() && problem.column_elements() > 50000)) {
        return 0;
    }
    PlanOptions options;
    options.algorithm = choices.of({Algorithm::kAuto, Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd});
    options.threads = static_cast<int>(choices.between(1, 3));
    const std::vector<std::string> variants = options.algorithm == Algorithm::kAuto ? std::vector<std::string>() : runnable_variants(options.algorithm, problem.operation);
    if (!variants.empty() && choices.flag()) {
        options.variant = variants[static_cast<size_t>(choices.between(0, std::min<int64_t>(static_cast<int64_t>(variants.size()), 256) - 1))];
    }
    RunOptions how;
    how.placement = choices.of({Placement::kGuardBytes, Placement::kPageAfter, Placement::kPageBefore});
    how.unpacked = choices.flag();
    const bool regions = choices.flag();
    const int64_t tenths = choices.between(0, 10);  // of the workspace that the plan would like; 0 sets no limit
    const auto seed = static_cast<uint64_t>(choices.between(0, 255));

    Result<Plan> plan = Plan::create(problem, options);
    if (plan.ok() && tenths > 0) {
        options.workspace_limit = plan->workspace_bytes() / 10 * static_cast<size_t>(tenths);
        plan = Plan::create(problem, options);
    }
    const std::string text = problem.to_string() + ", " + to_string(options.algorithm) + " " + options.variant;
    if (!plan.ok()) {
        const StatusCode code = plan.status().code();
        fuzz::expect(code == StatusCode::kUnsupported || code == StatusCode::kResourceExhausted, text + ": " + plan.status().message());
        return 0;
    }
    Operands operands(problem, seed, Values::kUniform, how.placement, regions);
    const Status status = run_plan(*plan, operands, how);
    fuzz::expect(status.ok(), text + ": " + status.message());
    const ::testing::AssertionResult right = matches(operands, operands.expected(), error_limit(options.algorithm));
    fuzz::expect(static_cast<bool>(right), text + ": " + right.message());
    if (problem.operation == Operation::kBackwardFilters) {
        const ::testing::AssertionResult bias = operands.bias_matches(1e-6);
        fuzz::expect(static_cast<bool>(bias), text + ": " + bias.message());
    }
    return 0;
}
