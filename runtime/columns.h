// What the plans of unfold and fold share.
#pragma once

#include "algorithm.h"
#include "cost_model.h"

namespace fourfold {

class ColumnsPlan : public AlgorithmPlan {
public:
    Status pack(const StridedIn &, std::byte *, std::byte *, const Execution &) const final {
        return Status(StatusCode::kInternal, "unfold and fold have no filters to pack");
    }

protected:
    explicit ColumnsPlan(const PlanRequest &request)
        : problem_(request.problem), threads_(request.options.threads), taps_(problem_.filter_height * problem_.filter_width), pixels_(problem_.out_height() * problem_.out_width()) {
    }

    /// A copy's time: image and columns once, and what moves besides, in bytes.
    void predict(double besides, int64_t tasks, double calls) {
        const CostModel model(best_isa());
        const double moved = 4.0 * (static_cast<double>(problem_.input_elements()) + static_cast<double>(problem_.column_elements()));
        serial_seconds = (moved + besides) / model.copy_bytes_per_second + calls * model.call_seconds + 1e-6;
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks);
    }

    const Conv2dProblem problem_;
    const int threads_;
    const int64_t taps_, pixels_;  ///< of a filter; of an output plane
};

}  // namespace fourfold
