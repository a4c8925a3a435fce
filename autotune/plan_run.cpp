#include "plan_run.h"

#include <algorithm>

namespace fourfold::cli {
namespace {

class SerialExecutor : public Executor {
public:
    void run(int jobs, void (*job)(void *, int), void *argument) override {
        for (int i = 0; i < jobs; i++) {
            job(argument, i);
        }
    }
};

}  // namespace

Tracer::Tracer() {
    registry_tracer = this;
}

Tracer::~Tracer() {
    registry_tracer = nullptr;
}

void Tracer::looked_up(const Variant &variant) {
    used.insert(&variant);
}

void Tracer::called(const Variant &variant, const int32_t *sizes, int count, double seconds) {
    used.insert(&variant);
    std::vector<Calls> &list = calls[&variant];
    const auto same = [&](const Calls &c) { return std::equal(c.sizes.begin(), c.sizes.end(), sizes, sizes + count); };
    auto found = std::find_if(list.begin(), list.end(), same);
    if (found == list.end()) {
        list.push_back({{sizes, sizes + count}, 0.0});
        found = list.end() - 1;
    }
    found->seconds += seconds;
}

PlanRun::PlanRun(const Conv2dProblem &problem, const Plan &plan)
    : problem_(problem), plan_(plan), arrays_(ProblemData::make(problem, 1)), bias_(std::max(problem.in_channels, problem.out_channels)), packed_(plan.packed_filter_bytes()),
      workspace_(std::max(plan.workspace_bytes(), plan.workspace_bytes_unpacked())) {
    if (bias_.data() != nullptr) {
        std::fill_n(bias_.data(), std::max(problem.in_channels, problem.out_channels), 0.5f);
    }
}

Status PlanRun::pack() const {
    if (arrays_ == nullptr || bias_.data() == nullptr) {
        return Status(StatusCode::kResourceExhausted, "memory ran out for the arrays of '" + problem_.to_string() + "'");
    }
    SerialExecutor serial;
    ExecutionContext context;
    context.executor = &serial;
    return plan_.packed_filter_bytes() > 0 ? plan_.pack_filters(arrays_->filters.data(), packed_, workspace_, context) : Status();
}

Status PlanRun::execute() const {
    const bool filters_in = problem_.operation != Operation::kBackwardFilters;
    Tensors t = arrays_->tensors(problem_, packed_, arrays_->output.data());
    t.filters = plan_.packed_filter_bytes() > 0 ? Filters(packed_) : Filters(arrays_->filters.data());
    t.grad_filters = arrays_->output.data();
    t.bias = filters_in ? bias_.data() : nullptr;
    t.grad_bias = filters_in ? nullptr : bias_.data();
    SerialExecutor serial;
    ExecutionContext context;
    context.executor = &serial;
    return plan_.execute(t, workspace_, context);
}

}  // namespace fourfold::cli
