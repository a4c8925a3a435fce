// Among the variants of an algorithm's main stage, the plan that the cost model likes best.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "algorithm.h"
#include "registry.h"

namespace fourfold {

/// Calls make(variant, consider) for each variant of the stage, or for the forced one only; make hands every plan that it
/// builds to consider(plan). A plan decides its blocking in block(workspace_limit). Ties go to the earlier variant.
template<typename PlanType, typename Make>
Result<std::unique_ptr<AlgorithmPlan>> best_variant(const PlanRequest &request, const char *stage, const Make &make) {
    const Result<const Variant *> forced = forced_variant(request.options, stage);
    if (!forced) {
        return forced.status();
    }
    std::unique_ptr<AlgorithmPlan> best;
    Status status(StatusCode::kUnsupported, std::string("no variant of ") + stage + " for this CPU");
    const auto consider = [&](std::unique_ptr<PlanType> plan) {
        const Status blocked = plan->block(request.options.workspace_limit);
        if (!blocked.ok()) {
            status = blocked;
        } else if (best == nullptr || plan->serial_seconds < best->serial_seconds) {
            best = std::move(plan);
        }
    };
    if (*forced != nullptr) {
        make(**forced, consider);
    } else {
        for (const Variant *variant : variants_of(stage)) {
            make(*variant, consider);
        }
    }
    if (best == nullptr) {
        return status;
    }
    return best;
}

}  // namespace fourfold
