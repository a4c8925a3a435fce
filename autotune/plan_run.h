// A plan executed while somebody watches: which variants it calls, and with which sizes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "fourfold/plan.h"
#include "problem_data.h"
#include "registry.h"

namespace fourfold::cli {

/// Notes what is asked of the registry, from its making until another is made or it ends.
class Tracer : public RegistryTracer {
public:
    struct Calls {
        std::vector<int32_t> sizes;
        double seconds = 0.0;
    };

    Tracer();
    ~Tracer() override;
    Tracer(const Tracer &) = delete;
    Tracer &operator=(const Tracer &) = delete;
    void looked_up(const Variant &variant) override;
    void called(const Variant &variant, const int32_t *sizes, int count, double seconds) override;

    std::set<const Variant *> used;
    std::map<const Variant *, std::vector<Calls>> calls;
};

/// Arrays for one plan, dense as most programs have them; everything runs on the calling thread, so that a tracer sees one
/// call at a time.
class PlanRun {
public:
    PlanRun(const Conv2dProblem &problem, const Plan &plan);
    /// Errors: kResourceExhausted when memory ran out.
    Status pack() const;
    Status execute() const;

private:
    const Conv2dProblem problem_;
    const Plan plan_;
    std::unique_ptr<ProblemData> arrays_;
    FloatBuffer bias_;  ///< of any operation, or its gradient
    AlignedBuffer packed_, workspace_;
};

}  // namespace fourfold::cli
