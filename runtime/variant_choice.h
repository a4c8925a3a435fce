// Among the variants of an algorithm's main stage, the plan that the cost model likes best.
#pragma once

#include <limits>
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
    size_t least = std::numeric_limits<size_t>::max();
    bool admitted = false;
    const auto consider = [&](std::unique_ptr<PlanType> plan) {
        if (!request.admits(*plan)) {
            return;
        }
        admitted = true;
        const Status blocked = plan->block(request.options.workspace_limit);
        if (!blocked.ok()) {
            // Of all that do not fit, the one that needs least says how much would do.
            const bool exhausted = blocked.code() == StatusCode::kResourceExhausted;
            if (exhausted ? plan->workspace_bytes < least : status.code() != StatusCode::kResourceExhausted) {
                status = blocked;
                least = exhausted ? plan->workspace_bytes : least;
            }
            return;
        }
        request.considered(*plan);
        if (best == nullptr || plan->ranked_seconds < best->ranked_seconds) {
            best = std::move(plan);
        }
    };
    if (*forced != nullptr) {
        make(**forced, consider);
    } else {
        for (const Variant *variant : variants_of(stage)) {
            if (request.admits(*variant)) {
                make(*variant, consider);
            }
        }
    }
    if (best == nullptr) {
        return admitted || !request.restricted() ? status : request.not_admitted(stage);
    }
    return best;
}

}  // namespace fourfold
