// What every algorithm provides. One file plans and runs each (algorithm_<name>.cpp); algorithms.cpp lists them.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fourfold/plan.h"
#include "parallel.h"

namespace fourfold {

class DeviceRuntime;
struct Variant;

/// Views with their strides filled in: (n, c, h, w), or (k, c, r, s) for filters.
template<typename T>
struct Strided {
    T *data = nullptr;
    int64_t s[4] = {0, 0, 0, 0};
};
using StridedIn = Strided<const float>;
using StridedOut = Strided<float>;

/// The tensors of one forward execution, validated. bwd-data is such an execution of its own plan: from the gradient of the
/// output to that of the input. So are unfold and fold, whose columns are (n, c, tap, pixel).
struct ForwardTensors {
    StridedIn input;
    const float *bias = nullptr;
    StridedIn residual;
    StridedOut output;
};

/// The tensors of one bwd-filters execution, validated.
struct FilterGradientTensors {
    StridedIn input, grad_output;
    StridedOut grad_filters;
    float *grad_bias = nullptr;
};

/// An algorithm with every decision made for one problem. Immutable once prepared.
class AlgorithmPlan {
public:
    virtual ~AlgorithmPlan() = default;

    /// Makes what only the plan that was chosen needs, on a GPU tables in its memory and compiled modules; called once, before all that
    /// follows. Where it fails the next best plan is chosen.
    virtual Status prepare() {
        return Status();
    }

    /// Writes packed_bytes() bytes from filters (k, c, r, s).
    virtual Status pack(const StridedIn &filters, std::byte *packed, std::byte *workspace, const Execution &execution) const = 0;
    virtual Status forward(const ForwardTensors &tensors, const std::byte *packed, std::byte *workspace, const Execution &execution) const = 0;

    /// Whether forward_unpacked() computes with filters like these where they are, without pack().
    virtual bool takes_unpacked(const StridedIn &) const {
        return false;
    }
    virtual Status forward_unpacked(const ForwardTensors &, const StridedIn &, std::byte *, const Execution &) const {
        return Status(StatusCode::kInternal, "a plan that packs its filters was asked to read them as they are");
    }

    /// bwd-filters: a plan of that operation has this instead of the two above.
    virtual Status filter_gradient(const FilterGradientTensors &, std::byte *, const Execution &) const {
        return Status(StatusCode::kInternal, "a plan of another operation was asked for a filter gradient");
    }

    size_t workspace_bytes = 0;       ///< of forward
    size_t serial_workspace_bytes = 0;  ///< of forward on one thread
    size_t pack_workspace_bytes = 0;  ///< of pack
    size_t packed_bytes = 0;
    double serial_seconds = 0.0;     ///< predicted for one thread; what plans are ranked by, so that the choice, and with
                                     ///< it every bit of the result, is the same for any number of threads
    double predicted_seconds = 0.0;  ///< predicted for the plan's threads
    double ranked_seconds = 0.0;     ///< serial_seconds, corrected by what was measured (PlanRequest::rank), with packing if it counts
    double pack_rate = 4e9;          ///< bytes of the packed block that a thread writes in a second; nominal
    std::string variant;  ///< the main stage's
    std::string choice;   ///< all that was chosen for this plan: names of variants and key=value, separated by blanks; a plan
                          ///< made with the same tokens as PlanRequest::choice is the same plan
    std::string layout;   ///< everything that the packed block's form depends on, as text
    std::string details;  ///< blocking, for describe()
    std::vector<std::shared_ptr<void>> modules;  ///< of a GPU's plan: those that its launches need, held by it
};

/// What an algorithm's planner is given. `options` has threads, backend and device resolved.
struct PlanRequest {
    Conv2dProblem problem;
    PlanOptions options;
    std::vector<std::string> choice = {};                  ///< tokens that the plan's choice must have; empty: any
    std::vector<std::string> *collect = nullptr;           ///< where the choice of every plan that was considered is added
    std::function<double(const std::string &choice, double serial_seconds)> rank = {};  ///< what plans are ranked by; empty: serial_seconds
    DeviceRuntime *device = nullptr;                       ///< options.device's, where that is a GPU
    /// A plan that could not be prepared, and why. It is not considered again.
    struct Failed {
        Algorithm algorithm;
        std::string choice;
        Status status;
    };
    std::vector<Failed> failed = {};  ///< for a planner: its algorithm's
    /// Plans for views of one channel whose columns lie apart (single_channel.h): copies of a request, one for each algorithm that is
    /// planned, make them once. Null where an algorithm cannot do it.
    std::shared_ptr<std::map<Algorithm, std::shared_ptr<const AlgorithmPlan>>> apart = std::make_shared<std::map<Algorithm, std::shared_ptr<const AlgorithmPlan>>>();

    /// Of the algorithm that is planned; null where the plan did not fail before.
    const Status *failure(const std::string &choice_of_plan) const;
    /// Whether a plan has all tokens of `choice` and none that is blocked; fills in its choice where that is the variant alone.
    bool admits(AlgorithmPlan &plan) const;
    bool admits(const std::string &choice_of_plan) const;
    /// False where `choice` names another variant of the stage.
    bool admits(const Variant &variant) const;
    double ranked(const AlgorithmPlan &plan) const {
        return ranked(plan.choice, plan.serial_seconds) + (options.packs_each_time ? static_cast<double>(plan.packed_bytes) / plan.pack_rate : 0.0);
    }
    double ranked(const std::string &choice_of_plan, double serial_seconds) const {
        return rank ? rank(choice_of_plan, serial_seconds) : serial_seconds;
    }
    /// Sets the plan's ranked_seconds and notes it as considered.
    void considered(AlgorithmPlan &plan) const;
    bool restricted() const {
        return !choice.empty() || !options.blocked.empty();
    }
    /// Why no plan was admitted.
    Status not_admitted(const char *stage) const;
};

/// A plan, or why not: kUnsupported for a problem or build that the algorithm cannot do, kResourceExhausted with the
/// least number of bytes when the workspace limit cannot be met.
using Planner = Result<std::unique_ptr<AlgorithmPlan>> (*)(const PlanRequest &);

struct AlgorithmEntry {
    Algorithm algorithm;
    const char *name;
    const char *main_stage;  ///< whose variant PlanOptions::variant names; null when there is none
    Planner plan;            ///< forward
    bool automatic;          ///< whether kAuto may pick it
    Planner plan_filter_gradient = nullptr;  ///< bwd-filters, whose sum runs over images and pixels; null: not by this algorithm
    Planner plan_columns = nullptr;          ///< unfold and fold; null: not by this algorithm
    Planner plan_data_gradient = nullptr;    ///< of a GPU's: bwd-data; the CPU's is planned by plan_backward_data
    std::vector<const char *> stages = {};   ///< of a GPU's: those that its plans run beside the variants that their choices name
};

/// The list of algorithms: adding one adds a line here.
const std::vector<AlgorithmEntry> &algorithms();
/// Those of the GPUs (device/algorithms.cpp).
const std::vector<AlgorithmEntry> &device_algorithms();
inline const std::vector<AlgorithmEntry> &algorithms(const Device &device) {
    return device.kind == Device::kCpu ? algorithms() : device_algorithms();
}

Result<std::unique_ptr<AlgorithmPlan>> plan_naive(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_direct(const PlanRequest &request);
/// direct's other way: groups of one input channel, planes read where they lie (algorithm_direct_depthwise.cpp).
Result<std::unique_ptr<AlgorithmPlan>> plan_direct_depthwise(const PlanRequest &request);
/// The same in NHWC, with lanes along channels (algorithm_direct_depthwise_nhwc.cpp); plan_direct_depthwise chooses.
Result<std::unique_ptr<AlgorithmPlan>> plan_direct_depthwise_nhwc(const PlanRequest &request);
/// direct with lanes along output channels; plan_direct chooses.
Result<std::unique_ptr<AlgorithmPlan>> plan_direct_oc(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_im2col(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_fft(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_fft_tiled(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_winograd(const PlanRequest &request);
/// What plan_fft_tiled considers where groups have one input channel.
Result<std::unique_ptr<AlgorithmPlan>> plan_fft_tiled_planes(const PlanRequest &request);
/// The same tile by tile, with lanes along pixels and frequencies.
Result<std::unique_ptr<AlgorithmPlan>> plan_fft_tiled_pixels(const PlanRequest &request);

/// What every algorithm's forward planner goes through: the limits of generated code, and a stride that means something.
Result<std::unique_ptr<AlgorithmPlan>> plan_forward(const AlgorithmEntry &entry, const PlanRequest &request);
/// bwd-data by the algorithm's forward planner on the adjoint problems (backward_data.cpp).
Result<std::unique_ptr<AlgorithmPlan>> plan_backward_data(const AlgorithmEntry &entry, const PlanRequest &request);
/// direct's other way: depthwise layers with stride 2, all phases at once (backward_data_depthwise.cpp); plan_backward_data chooses.
Result<std::unique_ptr<AlgorithmPlan>> plan_data_gradient_depthwise(const PlanRequest &request);
/// im2col's other way: columns by a product with the filters as they are, then folded (backward_data_columns.cpp); plan_backward_data
/// chooses.
Result<std::unique_ptr<AlgorithmPlan>> plan_data_gradient_columns(const PlanRequest &request);

Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_naive(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_direct(const PlanRequest &request);
/// direct's other way: depthwise layers, x and gy read where they lie (backward_filters_depthwise.cpp); plan_filter_gradient_direct chooses.
Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_depthwise(const PlanRequest &request);
/// And of 1x1 filters, lanes along input channels (backward_filters_pointwise.cpp).
Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_pointwise(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_im2col(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_fft(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_fft_tiled(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_winograd(const PlanRequest &request);
/// What plan_filter_gradient_fft_tiled considers where groups have one input channel.
Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_fft_planes(const PlanRequest &request);

/// unfold and fold: by plain loops, and by generated kernels (unfold.cpp, fold.cpp).
Result<std::unique_ptr<AlgorithmPlan>> plan_columns_naive(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_columns(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_fold(const PlanRequest &request);

/// The post-op as the kernels take it.
struct KernelPostOp {
    int32_t kind = 0;  ///< 0 none, 1 clamp
    float lo = 0.0f, hi = 0.0f;
};
KernelPostOp kernel_post_op(const Conv2dProblem &problem);
/// The same as a clamp always, for kernels that have nothing else.
KernelPostOp kernel_clamp(const Conv2dProblem &problem);

/// The problem within the limits of generated code, with strides cut to what they mean: with one output in an axis a stride past
/// the input changes nothing but the size of indices. Errors: kUnsupported.
Result<Conv2dProblem> reachable_problem(Conv2dProblem problem);
/// Whether single image planes, which strips and tiles are cut from, stay under 2^31 bytes.
Status planes_within_reach(const Conv2dProblem &problem);
/// The error for a workspace limit below the least that blocking reaches.
Status workspace_exhausted(size_t needed, size_t limit);
/// The forced variant of a main stage, or null when none is named. Errors: no such variant, wrong stage, not for this CPU.
Result<const Variant *> forced_variant(const PlanOptions &options, const char *stage);

}  // namespace fourfold
