/// @file
/// fourfold: batched 2-D convolution, generated ahead of time by Halide. Include this.
#pragma once

#include "fourfold/executor.h"
#include "fourfold/layer.h"
#include "fourfold/plan.h"
#include "fourfold/problem.h"
#include "fourfold/profile.h"
#include "fourfold/separable.h"
#include "fourfold/spectral.h"
#include "fourfold/status.h"
#include "fourfold/tensor.h"
#include "fourfold/training.h"
#include "fourfold/tuning.h"

/// The library: a Conv2dProblem says what to compute, a Plan computes it, and a Status or Result says what went wrong.
namespace fourfold {}
