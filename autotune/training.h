// fourfold bench --training: a whole step, forward and both gradients.
#pragma once

#include <vector>

#include "commands.h"
#include "shapes.h"

namespace fourfold::cli {

struct TrainingBench {
    PlanFlags plan;
    bool json = false, check = true;
    double min_time = 0.3;
};
/// Times a step with shared spectra (TrainingPlan) against three plans of `auto`, and three of `fft`.
Status bench_training(const std::vector<Shape> &shapes, const TrainingBench &flags);

}  // namespace fourfold::cli
