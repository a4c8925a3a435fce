#include "support/problems.h"

#include <stdexcept>

namespace fourfold::test {

Conv2dProblem parse_problem(std::string_view text) {
    Result<Conv2dProblem> problem = Conv2dProblem::parse(text);
    const Status status = problem ? problem->validate() : problem.status();
    if (!status) {
        throw std::runtime_error("'" + std::string(text) + "': " + status.message());
    }
    return *problem;
}

Conv2dProblem gradient_of(Conv2dProblem problem, Operation operation) {
    problem.operation = operation;
    if (operation == Operation::kBackwardFilters || problem.moves_columns()) {
        problem.post_op = PostOp::kNone;
        problem.residual = false;
    }
    if (problem.moves_columns()) {
        problem.filter_mode = FilterMode::kCorrelation;
    }
    return problem;
}

Conv2dProblem random_problem(Random &random, double max_macs) {
    constexpr PaddingMode modes[] = {PaddingMode::kZeros,     PaddingMode::kZeros,     PaddingMode::kZeros,    PaddingMode::kConstant,
                                     PaddingMode::kReflect,   PaddingMode::kSymmetric, PaddingMode::kReplicate, PaddingMode::kCircular};
    for (;;) {
        Conv2dProblem p;
        p.batch = random.chance(0.5) ? 1 : random.between(2, 5);
        switch (random.between(0, 3)) {
        case 0:  // depthwise, with a multiplier
            p.groups = random.between(1, 40);
            p.in_channels = p.groups;
            p.out_channels = p.groups * random.between(1, 3);
            break;
        case 1:
            p.groups = random.between(2, 5);
            p.in_channels = p.groups * random.between(1, 9);
            p.out_channels = p.groups * random.between(1, 9);
            break;
        default:
            p.in_channels = random.between(1, random.chance(0.2) ? 150 : 20);
            p.out_channels = random.between(1, random.chance(0.2) ? 100 : 35);
        }
        const int64_t largest = random.chance(0.3) ? 70 : 20;
        p.in_height = random.between(1, largest);
        p.in_width = random.between(1, largest);
        const int64_t filter = random.chance(0.2) ? 13 : 5;
        p.filter_height = random.between(1, filter);
        p.filter_width = random.chance(0.7) ? p.filter_height : random.between(1, filter);
        if (random.chance(0.3)) {
            p.stride_h = random.between(1, 4);
            p.stride_w = random.chance(0.6) ? p.stride_h : random.between(1, 6);
        }
        if (random.chance(0.25)) {
            p.dilation_h = random.between(1, 4);
            p.dilation_w = random.chance(0.6) ? p.dilation_h : random.between(1, 4);
        }
        switch (random.between(0, 4)) {
        case 0:
            break;
        case 1:
            p = p.same();
            break;
        case 2:
            p = p.full();
            break;
        default:
            p.pad_top = random.between(0, p.filter_height + 1);
            p.pad_bottom = random.between(0, p.filter_height + 1);
            p.pad_left = random.between(0, p.filter_width + 1);
            p.pad_right = random.between(0, p.filter_width + 1);
        }
        p.padding_mode = modes[random.between(0, 7)];
        if (p.padding_mode == PaddingMode::kConstant) {
            p.padding_value = random.uniform(-1.0f, 1.0f);
        }
        p.filter_mode = random.chance(0.3) ? FilterMode::kConvolution : FilterMode::kCorrelation;
        p.layout = random.chance(0.3) ? Layout::kNhwc : Layout::kNchw;
        p.residual = random.chance(0.2);
        if (random.chance(0.2)) {
            p.post_op = PostOp::kRelu;
        } else if (random.chance(0.2)) {
            p.post_op = PostOp::kClamp;
            p.clamp_lo = -0.5f;
            p.clamp_hi = random.uniform(-0.5f, 2.0f);
        }
        if (p.error() == nullptr && p.flops() <= 2 * max_macs) {
            return p;
        }
    }
}

}  // namespace fourfold::test
