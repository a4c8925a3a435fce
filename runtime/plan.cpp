// Plan, explain and the checks at the door: everything past this file works on validated problems and tensors.
#include "fourfold/plan.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <new>
#include <sstream>

#include "algorithm.h"
#include "backward_filters.h"
#include "capture.h"
#include "checks.h"
#include "device/runtime.h"
#include "fft/fft.h"
#include "halide_hooks.h"
#include "machine.h"
#include "plan_measure.h"
#include "registry.h"
#include "single_channel.h"
#include "tables.h"
#include "views.h"

namespace fourfold {
namespace {

/// Operations that read filters, packed or not.
bool reads_filters(const Conv2dProblem &problem) {
    return problem.operation == Operation::kForward || problem.operation == Operation::kBackwardData;
}

Status check_choice(const std::string &choice);

Status resolve_options(PlanRequest &request) {
    const Conv2dProblem &problem = request.problem;
    PlanOptions &options = request.options;
    Status status = prepare_process(options.threads);
    status = status.ok() ? problem.validate() : status;
    if (!status.ok()) {
        return status;
    }
    if (!options.choice.empty() && (options.algorithm != Algorithm::kAuto || !options.variant.empty())) {
        return bad("choice '" + options.choice + "' leaves nothing for the options algorithm and variant to name");
    }
    if (options.device.kind != Device::kCpu) {
        const Result<DeviceRuntime *> runtime = device_runtime(options.device);
        if (!runtime) {
            return runtime.status();
        }
        request.device = *runtime;
    } else if (options.device.ordinal != 0) {
        return bad("device is '" + to_string(options.device) + "'; there is one CPU, of ordinal 0");
    }
    if (options.packs_each_time && options.effort == Effort::kMeasure && reads_filters(problem)) {
        return bad("effort 'measure' times executions with packed filters; it cannot choose for filters that are packed each time");
    }
    if (problem.operation == Operation::kSpectral) {
        return Status(StatusCode::kUnsupported, "operation 'spectral' is no Plan's; SpectralPlan makes spectral products");
    }
    if (!options.choice.empty()) {
        if (Status known = check_choice(options.choice); !known.ok()) {
            return known;
        }
    }
    if (Status known = check_blocked("blocked", options.blocked); !known.ok()) {
        return known;
    }
    const Result<std::vector<std::string>> blocked = process_blocked();
    if (!blocked) {
        return blocked.status();
    }
    // Who names a plan gets it.
    if (options.choice.empty() && options.variant.empty()) {
        options.blocked.insert(options.blocked.end(), blocked->begin(), blocked->end());
    } else {
        options.blocked.clear();
    }
    return Status();
}

/// Whether generated code, which indexes with 32 bits, can be asked at all.
Status within_reach(const Conv2dProblem &p) {
    constexpr int64_t limit = (int64_t{1} << 31) - (1 << 16);
    const int64_t padded_h = p.in_height + p.pad_top + p.pad_bottom, padded_w = p.in_width + p.pad_left + p.pad_right;
    if (padded_h > limit || padded_w > limit) {
        return Status(StatusCode::kUnsupported, "the padded input is " + std::to_string(padded_h) + "x" + std::to_string(padded_w) + "; generated code reaches 2^31 - 2^16 in one axis");
    }
    constexpr int64_t most_taps = int64_t{1} << 22;
    if (p.filter_height > most_taps || p.filter_width > most_taps / p.filter_height) {
        return Status(StatusCode::kUnsupported, "a filter of " + std::to_string(p.filter_height) + "x" + std::to_string(p.filter_width) + " has over 2^22 taps");
    }
    return Status();
}

size_t physical_memory() {
    static const size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return bytes;
}

bool names(const std::vector<std::string> &list, std::string_view name) {
    return std::find(list.begin(), list.end(), name) != list.end();
}

struct Planned {
    const AlgorithmEntry *entry;
    Status status;
    std::unique_ptr<AlgorithmPlan> plan;
};

/// What the caller holds.
size_t packed_bytes(const Conv2dProblem &problem, const AlgorithmPlan &plan) {
    return reads_filters(problem) ? plan.packed_bytes + sizeof(PackedHeader) : 0;
}

/// "bwd-data", "unfold", ...
std::string operation_name(const Conv2dProblem &problem) {
    const std::string text = problem.to_string();
    return text.substr(0, text.find(' '));
}

/// Of an algorithm that runs generated code.
Result<Conv2dProblem> reachable_problem(const AlgorithmEntry &entry, const Conv2dProblem &p) {
    return entry.main_stage != nullptr ? reachable_problem(p) : p;
}

/// In the problem's own layout.
Result<std::unique_ptr<AlgorithmPlan>> plan_layout(const AlgorithmEntry &entry, const PlanRequest &request) {
    if (request.problem.operation == Operation::kForward) {
        return plan_forward(entry, request);
    }
    PlanRequest reachable = request;
    const Result<Conv2dProblem> problem = reachable_problem(entry, request.problem);
    if (!problem) {
        return problem.status();
    }
    reachable.problem = *problem;
    if (request.problem.operation == Operation::kBackwardData && request.device == nullptr) {
        return plan_backward_data(entry, reachable);
    }
    const Planner planner = request.problem.moves_columns()                              ? entry.plan_columns
                            : request.problem.operation == Operation::kBackwardData ? entry.plan_data_gradient
                                                                                    : entry.plan_filter_gradient;
    if (planner == nullptr) {
        return Status(StatusCode::kUnsupported, std::string("algorithm '") + entry.name + "' has no " + operation_name(request.problem) + (request.device != nullptr ? " on a GPU" : ""));
    }
    return planner(reachable);
}

/// Images of one channel in NHWC are planned in NCHW, with a plan beside that takes views whose columns lie apart: in NHWC the
/// fastest of the algorithm's own, direct's and fft's, or the plain loop. Kernels of GPUs, and the plain loop, take any strides.
Result<std::unique_ptr<AlgorithmPlan>> plan_operation(const AlgorithmEntry &entry, const PlanRequest &request) {
    PlanRequest planes = request;
    planes.problem = in_nchw_if_same(request.problem);
    if (request.device != nullptr || entry.main_stage == nullptr || planes.problem == request.problem) {
        return plan_layout(entry, request);
    }
    Result<std::unique_ptr<AlgorithmPlan>> rows = plan_layout(entry, planes);
    if (!rows) {
        return plan_layout(entry, request);
    }
    PlanRequest any = request;
    any.options.variant.clear();
    any.choice.clear();
    any.collect = nullptr;
    any.rank = nullptr;
    std::shared_ptr<const AlgorithmPlan> apart;
    for (const AlgorithmEntry &other : algorithms()) {
        bool tries = &other == &entry || other.algorithm == Algorithm::kDirect || other.algorithm == Algorithm::kFft;
        // A library for certain problems has the kernels of their dense views.
        tries = tries && dispatch_list().empty() && !(any.options.algorithm == Algorithm::kAuto && names(any.options.blocked, other.name));
        tries = tries || other.algorithm == Algorithm::kNaive;
        if (!tries) {
            continue;
        }
        auto known = request.apart->find(other.algorithm);
        if (known == request.apart->end()) {
            Result<std::unique_ptr<AlgorithmPlan>> plan = plan_layout(other, any);
            known = request.apart->emplace(other.algorithm, plan ? std::shared_ptr<const AlgorithmPlan>(std::move(*plan)) : nullptr).first;
        }
        const std::shared_ptr<const AlgorithmPlan> &plan = known->second;
        if (plan != nullptr && sizeof(PackedHeader) + (*rows)->packed_bytes + plan->packed_bytes > any.options.packed_filter_limit && other.algorithm != Algorithm::kNaive) {
            continue;
        }
        if (plan != nullptr && (apart == nullptr || plan->serial_seconds < apart->serial_seconds)) {
            apart = plan;
        }
    }
    return single_channel_plan(request.problem, std::move(*rows), std::move(apart));
}

/// What a choice says after its algorithm; an algorithm without variants is its own.
std::vector<std::string> choice_words(std::string_view choice) {
    const auto [algorithm, words] = split_choice(choice);
    std::vector<std::string> list;
    std::istringstream stream{std::string(words)};
    for (std::string word; stream >> word;) {
        if (word != algorithm) {
            list.push_back(word);
        }
    }
    return list;
}

/// In a library made for a list of problems, what it holds: one algorithm for each of them, and the naive loop.
Result<PlanRequest> dispatched(const AlgorithmEntry &entry, PlanRequest request) {
    const std::vector<Dispatch> &list = dispatch_list();
    if (list.empty() || entry.main_stage == nullptr) {
        return request;
    }
    if (best_isa() != highest_isa()) {
        return Status(StatusCode::kUnsupported, std::string("this library was made for ") + to_string(highest_isa()) + "; this machine offers " + to_string(best_isa()));
    }
    const std::string problem = request.problem.to_string();
    const auto entry_for = [&](int threads) { return std::find_if(list.begin(), list.end(), [&](const Dispatch &d) { return d.threads == threads && problem == d.problem; }); };
    auto found = entry_for(request.options.choose_for_threads ? request.options.threads : 0);
    found = found == list.end() ? entry_for(0) : found;
    if (found == list.end()) {
        const auto problems = std::count_if(list.begin(), list.end(), [](const Dispatch &d) { return d.threads == 0; });
        return Status(StatusCode::kUnsupported, "this library was made for " + std::to_string(problems) + " problems, and '" + problem + "' is not among them");
    }
    if (found->algorithm != entry.algorithm) {
        return Status(StatusCode::kUnsupported, std::string("this library holds '") + to_string(found->algorithm) + "' for this problem");
    }
    if (request.options.variant.empty() && request.choice.empty()) {
        request.choice = choice_words(found->choice);
    }
    return request;
}

/// Plans one algorithm within the limits.
Planned plan_one(const AlgorithmEntry &entry, const PlanRequest &request) {
    Planned result{&entry, Status(), nullptr};
    if (request.options.algorithm == Algorithm::kAuto && names(request.options.blocked, entry.name)) {
        result.status = Status(StatusCode::kUnsupported, "on the block-list");
        return result;
    }
    if (entry.plan == nullptr) {
        result.status = Status(StatusCode::kUnsupported, std::string("algorithm '") + entry.name + "' is not in this version");
        return result;
    }
    PlanRequest own = request;
    own.failed.erase(std::remove_if(own.failed.begin(), own.failed.end(), [&](const PlanRequest::Failed &f) { return f.algorithm != entry.algorithm; }), own.failed.end());
    const Result<PlanRequest> admitted = dispatched(entry, std::move(own));
    Result<std::unique_ptr<AlgorithmPlan>> plan = admitted ? plan_operation(entry, *admitted) : admitted.status();
    if (!plan) {
        result.status = plan.status();
        return result;
    }
    const size_t packed = packed_bytes(request.problem, **plan);
    if (packed > request.options.packed_filter_limit) {
        result.status = Status(StatusCode::kResourceExhausted, "needs " + bytes_text(packed) + " for packed filters; the limit is " + std::to_string(request.options.packed_filter_limit));
        return result;
    }
    result.plan = std::move(*plan);
    // Only what chose among variants has filled these in.
    if (result.plan->choice.empty()) {
        result.plan->choice = result.plan->variant;
    }
    result.plan->ranked_seconds = request.ranked(*result.plan);
    return result;
}

/// Prepares a plan that was chosen. Where that fails the request remembers, so that the next best is chosen when it is asked again.
bool prepared(const Planned &p, PlanRequest &request) {
    const Status status = p.plan->prepare();
    if (!status.ok()) {
        request.failed.push_back({p.entry->algorithm, p.plan->choice, status});
    }
    return status.ok();
}

/// What was chosen at first, and why it is not the plan: "; not winograd winograd_product_cuda86_r2_v1: ...".
std::string failures_text(const PlanRequest &request) {
    constexpr size_t most = 4;
    std::string text;
    for (size_t i = 0; i < request.failed.size(); i++) {
        if (i == most) {
            return text + "; nor " + std::to_string(request.failed.size() - most) + " more";
        }
        const PlanRequest::Failed &f = request.failed[i];
        text += std::string(i == 0 ? "; not " : "; nor ") + to_string(f.algorithm) + " " + f.choice + ": " + f.status.message();
    }
    return text;
}

/// What kAuto refuses of a plan that can be made.
Status objection(const PlanRequest &request, const AlgorithmEntry &entry, const AlgorithmPlan &plan) {
    const Accuracy accuracy = request.options.accuracy;
    if (entry.algorithm == Algorithm::kWinograd && accuracy == Accuracy::kStrict) {
        return Status(StatusCode::kUnsupported, "not within accuracy 'strict': its error limit is 2e-5");
    }
    if (entry.algorithm == Algorithm::kWinograd && accuracy != Accuracy::kRelaxed && plan.choice.find("_m6 ") != std::string::npos) {
        return Status(StatusCode::kUnsupported, "winograd's largest tile is within accuracy 'relaxed' only");
    }
    // Nobody who leaves the choice to us wants to swap. Named algorithms may try.
    const size_t needed = plan.packed_bytes + plan.serial_workspace_bytes;
    if (needed > (request.device != nullptr ? request.device->info().memory_bytes : physical_memory()) / 2) {
        return Status(StatusCode::kResourceExhausted, "needs " + bytes_text(needed) + ", over half of this " + (request.device != nullptr ? "device" : "machine") + "'s memory");
    }
    return Status();
}

/// One algorithm as kAuto sees it.
Planned plan_candidate(const AlgorithmEntry &entry, const PlanRequest &request) {
    Planned p = plan_one(entry, request);
    if (p.plan != nullptr && entry.automatic && request.options.algorithm == Algorithm::kAuto) {
        if (Status status = objection(request, entry, *p.plan); !status.ok()) {
            p.status = status;
            p.plan.reset();
        }
    }
    return p;
}

/// The plan that a choice describes.
Planned plan_choice(const PlanRequest &request, std::string_view choice) {
    const std::string_view algorithm = split_choice(choice).first;
    PlanRequest forced = request;
    forced.choice = choice_words(choice);
    for (const AlgorithmEntry &entry : algorithms(request.options.device)) {
        if (algorithm == entry.name) {
            return plan_candidate(entry, forced);
        }
    }
    return {nullptr, bad("choice '" + std::string(choice) + "' does not begin with an algorithm"), nullptr};
}

/// Whether PlanOptions::choice, or FOURFOLD_CHOICE, says something that this build knows.
Status check_choice(const std::string &choice) {
    const auto [name, words] = split_choice(choice);
    const Result<Algorithm> algorithm = parse_algorithm(name);
    if (!algorithm || *algorithm == Algorithm::kAuto) {
        return bad("choice '" + choice + "' does not begin with an algorithm");
    }
    std::istringstream stream{std::string(words)};
    for (std::string word; stream >> word;) {
        if (word != name && word.find('=') == std::string::npos && variant_hash(word).empty()) {
            return bad("choice '" + choice + "': '" + word + "' is no variant of this build and no key=value");
        }
    }
    return Status();
}

/// What was decided, with all algorithms' answers where they were asked.
struct Decision {
    std::vector<Planned> list;
    int chosen = -1;
    Tier tier = Tier::kCaller;
    std::string text;
    Status status;
};

/// Whether records decide: they are of packed filters.
bool follows_records(const PlanRequest &request) {
    return request.options.variant.empty() && !(request.options.packs_each_time && reads_filters(request.problem));
}

Tables::Query table_query(const PlanRequest &request) {
    const PlanOptions &options = request.options;
    Tables::Query query = {tuning_problem(request.problem), options.accuracy, options.choose_for_threads ? options.threads : 1, options.cache, recorded_limit(options.workspace_limit)};
    if (request.device != nullptr) {
        query.threads = 1;
        query.gpu = machine_name(request.options.device);
    }
    return query;
}

/// Whether a changed kernel's plan won and could be chosen: what it had beaten does not take its place.
bool has_changed_winner(const PlanRequest &request, const MeasuredProblem &measured) {
    const Algorithm named = request.options.algorithm;
    const std::string &winner = measured.changed_winner;
    return !winner.empty() && (named == Algorithm::kAuto || split_choice(winner).first == to_string(named)) && plan_choice(request, winner).plan != nullptr;
}

/// The first of a problem's measured plans that fits; of one algorithm's, where the caller names it.
bool follow_records(const PlanRequest &request, const MeasuredProblem &measured, Planned &planned) {
    constexpr int most = 8;
    const Algorithm named = request.options.algorithm;
    int tried = 0;
    for (const MeasuredProblem::Entry &entry : measured.entries) {
        if (named != Algorithm::kAuto && split_choice(entry.choice).first != to_string(named)) {
            continue;
        }
        if (tried++ == most || !std::isfinite(entry.seconds)) {
            return false;
        }
        if (Planned p = plan_choice(request, entry.choice); p.plan != nullptr && (named != Algorithm::kAuto || p.entry->automatic)) {
            planned = std::move(p);
            return true;
        }
    }
    return false;
}

/// Whose records the plan follows: the first that have one which fits. Null where nobody's do, or a changed winner comes first.
const MeasuredProblem *follow_first(const PlanRequest &request, const std::vector<const MeasuredProblem *> &list, Planned &planned) {
    const auto decides = std::find_if(list.begin(), list.end(), [&](const MeasuredProblem *m) { return has_changed_winner(request, *m) || follow_records(request, *m, planned); });
    return decides != list.end() && planned.plan != nullptr ? *decides : nullptr;
}

/// FOURFOLD_CHOICE, where there is one that can do the problem, or that this build does not know.
bool decide_by_environment(const PlanRequest &request, Planned &planned, Tier &tier, std::string &text) {
    static const char *const forced_choice = environment("FOURFOLD_CHOICE");
    if (forced_choice == nullptr || *forced_choice == '\0') {
        return false;
    }
    static const Status known = check_choice(forced_choice);
    if (!known.ok()) {
        planned.status = known;
        tier = Tier::kEnvironment;
        return true;
    }
    Planned p = plan_choice(request, forced_choice);
    if (p.plan == nullptr) {
        return false;
    }
    planned = std::move(p);
    tier = Tier::kEnvironment;
    text = "named by FOURFOLD_CHOICE";
    return true;
}

/// The tiers of tuning.h that need no prediction: record, and the family's record where neighbours do not vote.
bool decide_by_record(const PlanRequest &request, const Tables &tables, const Tables::Query &query, const Tables::Ranking *ranking, Planned &planned, Tier &tier, std::string &text) {
    const MeasuredProblem *measured = follow_first(request, ranking == nullptr ? tables.exact(query) : tables.exact_of_kin(query), planned);
    if (measured == nullptr) {
        return false;
    }
    tier = ranking == nullptr ? Tier::kRecord : Tier::kFamily;
    text = "record in " + tables.name_of(*measured) + (ranking == nullptr ? "" : ", measured on " + tables.machine_of(*measured));
    return true;
}

Decision decide_once(const PlanRequest &request, bool list_all) {
    Decision d;
    const PlanOptions &options = request.options;
    // Who names a choice does not wait for them to be read.
    const std::shared_ptr<const Tables> tables = options.choice.empty() || list_all ? current_tables() : nullptr;
    const Tables::Query query = table_query(request);
    const bool automatic = options.algorithm == Algorithm::kAuto;
    const bool follows = automatic && follows_records(request);
    Planned recorded{nullptr, Status(), nullptr};
    bool found = false;
    if (!options.choice.empty()) {
        PlanRequest named = request;
        named.options.algorithm = *parse_algorithm(split_choice(options.choice).first);  // checked with the options
        recorded = plan_choice(named, options.choice);
        if (recorded.plan == nullptr) {
            d.status = Status(recorded.status.code(), std::string(recorded.entry->name) + ": " + recorded.status.message());
            return d;
        }
        found = true;
        d.text = "named by the caller";
    }
    found = found || (automatic && options.variant.empty() && decide_by_environment(request, recorded, d.tier, d.text));
    found = found || (follows && decide_by_record(request, *tables, query, nullptr, recorded, d.tier, d.text));
    Tables::Ranking ranking;
    if (!found || list_all) {
        ranking = tables->ranking(query);
        if (!found && follows && ranking.tier != Tier::kNeighbours) {
            found = decide_by_record(request, *tables, query, &ranking, recorded, d.tier, d.text);
        }
    }
    if (found && recorded.plan == nullptr) {
        d.status = recorded.status;
        return d;
    }
    if (!found || list_all) {
        for (const AlgorithmEntry &entry : algorithms(options.device)) {
            PlanRequest ranked = request;
            if (!tables->empty()) {
                ranked.rank = [&](const std::string &choice, double seconds) { return seconds * std::exp(ranking.residual(entry.name, choice)); };
            }
            d.list.push_back(plan_candidate(entry, ranked));
            const Planned &p = d.list.back();
            const bool eligible = automatic ? entry.automatic : entry.algorithm == options.algorithm;
            if (!found && p.plan != nullptr && eligible && (d.chosen < 0 || p.plan->ranked_seconds < d.list[static_cast<size_t>(d.chosen)].plan->ranked_seconds)) {
                d.chosen = static_cast<int>(d.list.size()) - 1;
                d.tier = automatic ? ranking.tier : Tier::kCaller;
                d.text = automatic ? ranking.text : "named by the caller";
            }
        }
    }
    if (found) {
        if (list_all && !tables->empty()) {
            recorded.plan->ranked_seconds *= std::exp(ranking.residual(recorded.entry->name, recorded.plan->choice));
        }
        const auto at = std::find_if(d.list.begin(), d.list.end(), [&](const Planned &p) { return p.entry == recorded.entry; });
        d.chosen = static_cast<int>(at - d.list.begin());
        if (at == d.list.end()) {
            d.list.push_back(std::move(recorded));
        } else {
            *at = std::move(recorded);
        }
    }
    // A library made for a list of problems refuses all others.
    if (d.chosen < 0 && automatic && dispatch_list().empty()) {
        for (size_t i = 0; i < d.list.size(); i++) {
            if (d.list[i].entry->algorithm == Algorithm::kNaive && d.list[i].plan != nullptr) {
                d.chosen = static_cast<int>(i);
                d.tier = Tier::kReference;
                d.text = "nothing else can do this problem";
            }
        }
    }
    return d;
}

/// A decision for a plan that is ready. One that cannot be prepared, whose modules the driver refuses, say, leaves the next best.
Decision decide(PlanRequest request, bool list_all) {
    for (;;) {
        Decision d = decide_once(request, list_all);
        if (!d.status.ok() || d.chosen < 0 || prepared(d.list[static_cast<size_t>(d.chosen)], request)) {
            d.text += failures_text(request);
            return d;
        }
    }
}

/// Every automatic candidate said no: their reasons, worst code first.
Status all_refused(const std::vector<Planned> &list) {
    std::string reasons;
    StatusCode code = StatusCode::kUnsupported;
    for (const Planned &p : list) {
        if (p.entry->automatic) {
            reasons += (reasons.empty() ? "" : "; ") + std::string(p.entry->name) + ": " + p.status.message();
            code = p.status.code() == StatusCode::kInvalidArgument ? StatusCode::kInvalidArgument : p.status.code() == StatusCode::kResourceExhausted && code != StatusCode::kInvalidArgument ? StatusCode::kResourceExhausted : code;
        }
    }
    return Status(code, "no algorithm can do this: " + reasons);
}

}  // namespace

Result<Conv2dProblem> reachable_problem(Conv2dProblem p) {
    if (Status status = within_reach(p); !status.ok()) {
        return status;
    }
    p.stride_h = std::min(p.stride_h, p.in_height + p.pad_top + p.pad_bottom);
    p.stride_w = std::min(p.stride_w, p.in_width + p.pad_left + p.pad_right);
    return p;
}

Result<std::unique_ptr<AlgorithmPlan>> plan_forward(const AlgorithmEntry &entry, const PlanRequest &request) {
    PlanRequest reachable = request;
    const Result<Conv2dProblem> problem = reachable_problem(entry, request.problem);
    if (!problem) {
        return problem.status();
    }
    reachable.problem = *problem;
    return entry.plan(reachable);
}

struct Plan::Impl {
    Conv2dProblem problem;
    PlanOptions options;
    const AlgorithmEntry *entry;
    DeviceRuntime *device = nullptr;  ///< of a GPU
    std::unique_ptr<AlgorithmPlan> plan;
    PackedHeader header{};
    std::string choice;
    Tier tier = Tier::kCaller;
    std::string why;

    size_t packed_bytes() const {
        return fourfold::packed_bytes(problem, *plan);
    }
    size_t workspace_bytes_unpacked() const {
        return packed_bytes() + std::max(plan->workspace_bytes, plan->pack_workspace_bytes);
    }

    Execution execution(const ExecutionContext &context) const {
        return {context.executor != nullptr ? *context.executor : default_executor(), context.profile, device, context.stream};
    }

    /// fwd and bwd-data, which read filters and write images; and bwd-filters.
    Status execute_image(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const;
    Status execute_filter_gradient(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const;
    /// unfold and fold.
    Status execute_columns(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const;

    Status pack(const ConstView &filters, std::byte *packed, std::byte *workspace, const Execution &execution) const {
        StridedIn w;
        Status status = resolve("filters", filters, problem.layout, filter_size(problem), Role::kFilters, w);
        if (!status.ok()) {
            return status;
        }
        // The last bytes may be alignment only; saved blocks must not carry old memory.
        std::byte *const last = packed + packed_bytes() - kAlignment;
        if (execution.device != nullptr) {
            status = execution.device->zero(last, kAlignment, execution.stream);
            status = status.ok() ? plan->pack(w, packed + sizeof(PackedHeader), workspace, execution) : status;
            return status.ok() ? execution.device->copy_to_device(packed, &header, sizeof header, execution.stream) : status;
        }
        std::memset(last, 0, kAlignment);
        status = plan->pack(w, packed + sizeof(PackedHeader), workspace, execution);
        if (status.ok()) {
            std::memcpy(packed, &header, sizeof header);
        }
        return status;
    }
};

Result<Plan> Plan::create(const Conv2dProblem &problem, const PlanOptions &options) {
    try {
        Result<Plan> plan = make(problem, options);
        if (plan) {
            capture(problem);
        }
        if (plan && is_verbose() && !measuring_choices()) {
            say_planned(problem.to_string(), plan->choice(), plan->tier(), plan->decided_by());
        }
        return plan;
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while planning");
    }
}

Result<Plan> Plan::make(const Conv2dProblem &problem, const PlanOptions &options) {
    PlanRequest request{problem, options};
    Status status = resolve_options(request);
    if (!status.ok()) {
        return status;
    }
    auto impl = std::make_shared<Impl>();
    impl->problem = problem;
    Planned planned{nullptr, Status(), nullptr};
    if (options.algorithm != Algorithm::kAuto) {
        impl->why = "named by the caller";
        const std::shared_ptr<const Tables> tables = follows_records(request) ? current_tables() : nullptr;
        const MeasuredProblem *measured = tables != nullptr ? follow_first(request, tables->exact(table_query(request)), planned) : nullptr;
        if (measured != nullptr) {
            if (prepared(planned, request)) {
                impl->why += ", its variant by a record in " + tables->name_of(*measured);
            } else {
                planned.plan.reset();
            }
        }
        for (const AlgorithmEntry &entry : algorithms(options.device)) {
            if (planned.plan == nullptr && entry.algorithm == options.algorithm) {
                do {
                    planned = plan_one(entry, request);
                } while (planned.plan != nullptr && !prepared(planned, request));
                impl->why += failures_text(request);
            }
        }
        if (planned.entry == nullptr) {
            return request.device != nullptr ? Status(StatusCode::kUnsupported, std::string("algorithm '") + to_string(options.algorithm) + "' is not there for GPUs")
                                             : bad("algorithm " + std::to_string(static_cast<int>(options.algorithm)) + " does not exist");
        }
    } else {
        if (options.effort == Effort::kMeasure && request.device != nullptr) {
            return Status(StatusCode::kUnsupported, "effort 'measure' is not there for device '" + to_string(options.device) + "'");
        }
        if (options.effort == Effort::kMeasure && options.choice.empty()) {
            measure_choices(problem, request.options);
        }
        Decision decision = decide(request, false);
        if (!decision.status.ok()) {
            return decision.status;
        }
        if (decision.chosen < 0) {
            return all_refused(decision.list);
        }
        planned = std::move(decision.list[static_cast<size_t>(decision.chosen)]);
        impl->tier = decision.tier;
        impl->why = decision.text;
    }
    if (planned.plan == nullptr) {
        return Status(planned.status.code(), (planned.entry == nullptr ? "" : std::string(planned.entry->name) + ": ") + planned.status.message());
    }
    impl->entry = planned.entry;
    impl->device = request.device;
    impl->plan = std::move(planned.plan);
    impl->choice = impl->entry->name;
    if (impl->plan->choice != impl->choice) {
        impl->choice += " " + impl->plan->choice;
    }
    impl->options = request.options;
    // Whatever changes the bytes of a packed block must change this line.
    Conv2dProblem filters = problem;
    filters.batch = 1;
    filters.post_op = PostOp::kNone;
    filters.residual = false;
    if (reads_filters(problem)) {
        impl->header = make_header(std::string(version()) + "|" + impl->plan->layout + "|" + filters.to_string(), impl->plan->packed_bytes);
    }
    Plan plan;
    plan.impl_ = std::move(impl);
    return plan;
}

const Conv2dProblem &Plan::problem() const {
    return impl_->problem;
}

Algorithm Plan::algorithm() const {
    return impl_->entry->algorithm;
}

const std::string &Plan::variant() const {
    return impl_->plan->variant;
}

const std::string &Plan::choice() const {
    return impl_->choice;
}

Tier Plan::tier() const {
    return impl_->tier;
}

const std::string &Plan::decided_by() const {
    return impl_->why;
}

int Plan::threads() const {
    return impl_->options.threads;
}

Device Plan::device() const {
    return impl_->options.device;
}

size_t Plan::workspace_bytes() const {
    return impl_->plan->workspace_bytes;
}

size_t Plan::workspace_bytes_unpacked() const {
    return impl_->workspace_bytes_unpacked();
}

size_t Plan::packed_filter_bytes() const {
    return impl_->packed_bytes();
}

double Plan::predicted_seconds() const {
    return impl_->plan->predicted_seconds;
}

std::string Plan::describe() const {
    std::ostringstream s;
    s << "problem    " << impl_->problem.to_string() << "\n"
      << "algorithm  " << impl_->entry->name << "\n"
      << "variant    " << impl_->plan->variant << "\n"
      << "choice     " << impl_->choice << "\n"
      << "decided by " << to_string(impl_->tier) << ": " << impl_->why << "\n"
      << "blocking   " << impl_->plan->details << "\n"
      << "memory     workspace " << bytes_text(workspace_bytes()) << ", packed filters " << bytes_text(packed_filter_bytes()) << "\n"
      << (impl_->device != nullptr ? "device     " + to_string(impl_->options.device) + ", " + impl_->device->info().name : "threads    " + std::to_string(impl_->options.threads)) << "\n"
      << "accuracy   " << to_string(impl_->options.accuracy) << "\n"
      << "predicted  " << impl_->plan->predicted_seconds * 1e3 << " ms\n";
    return s.str();
}

Status Plan::pack_filters(ConstView filters, MemoryBlock packed, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return bad("the plan is empty; make one with Plan::create");
    }
    if (!reads_filters(impl_->problem)) {
        return bad(operation_name(impl_->problem) + " reads no filters; there is nothing to pack");
    }
    if (Status status = own_stream(impl_->options.device, context.stream); !status.ok()) {
        return status;
    }
    Status status = check_block("packed", packed.data, packed.bytes, impl_->packed_bytes());
    if (status.ok()) {
        status = check_block("workspace", workspace.data, workspace.bytes, impl_->plan->pack_workspace_bytes);
    }
    if (!status.ok()) {
        return status;
    }
    const Execution execution = impl_->execution(context);
    return impl_->pack(filters, static_cast<std::byte *>(packed.data), static_cast<std::byte *>(workspace.data), execution);
}

Status Plan::execute(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return bad("the plan is empty; make one with Plan::create");
    }
    if (Status status = own_stream(impl_->options.device, context.stream); !status.ok()) {
        return status;
    }
    if (impl_->problem.moves_columns()) {
        return impl_->execute_columns(tensors, workspace, context);
    }
    return impl_->problem.operation == Operation::kBackwardFilters ? impl_->execute_filter_gradient(tensors, workspace, context) : impl_->execute_image(tensors, workspace, context);
}

Status Plan::Impl::execute_image(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const {
    const bool packed_given = tensors.filters.is_packed();
    ForwardTensors t;
    Status status = resolve_image(problem, tensors, workspace, packed_given ? plan->workspace_bytes : workspace_bytes_unpacked(), t);
    if (!status.ok()) {
        return status;
    }
    const Execution execution = this->execution(context);
    auto *scratch = static_cast<std::byte *>(workspace.data);
    const std::byte *packed = nullptr;
    if (packed_given) {
        status = check_block("packed filters", tensors.filters.packed.data, tensors.filters.packed.bytes, packed_bytes());
        if (!status.ok()) {
            return status;
        }
        packed = static_cast<const std::byte *>(tensors.filters.packed.data);
        // A device's memory cannot be looked at without waiting for it.
        if (device == nullptr && std::memcmp(packed, &header, sizeof(PackedHeader)) != 0) {
            return bad(std::memcmp(packed, kMagic, sizeof kMagic) != 0 ? "packed filters are no block that pack_filters wrote" : "packed filters were packed for another problem, plan or version");
        }
    } else {
        if (tensors.filters.view.data == nullptr) {
            return bad("filters are null");
        }
        StridedIn w;
        status = resolve("filters", tensors.filters.view, problem.layout, filter_size(problem), Role::kFilters, w);
        if (status.ok() && plan->takes_unpacked(w)) {
            return plan->forward_unpacked(t, w, scratch, execution);
        }
        status = pack(tensors.filters.view, scratch, scratch + packed_bytes(), execution);
        if (!status.ok()) {
            return status;
        }
        packed = scratch;
        scratch += packed_bytes();
    }
    return plan->forward(t, packed + sizeof(PackedHeader), scratch, execution);
}

Status Plan::Impl::execute_filter_gradient(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const {
    FilterGradientTensors t;
    Status status = resolve("input", tensors.input, problem.layout, input_size(problem), Role::kInput, t.input);
    if (status.ok()) {
        status = resolve("grad_output", tensors.grad_output, problem.layout, output_size(problem), Role::kInput, t.grad_output);
    }
    if (status.ok()) {
        status = resolve("grad_filters", tensors.grad_filters, problem.layout, filter_size(problem), Role::kFilterGradient, t.grad_filters);
    }
    if (status.ok()) {
        status = check_block("workspace", workspace.data, workspace.bytes, plan->workspace_bytes);
    }
    if (!status.ok()) {
        return status;
    }
    if (reinterpret_cast<uintptr_t>(tensors.grad_bias) % alignof(float) != 0) {
        return bad("grad_bias is not aligned to " + std::to_string(alignof(float)) + " bytes");
    }
    t.grad_bias = tensors.grad_bias;
    const auto filters = address_range(t.grad_filters, filter_size(problem));
    const auto bias = block_range(t.grad_bias, t.grad_bias != nullptr ? static_cast<size_t>(problem.out_channels) * sizeof(float) : 0);
    const struct {
        const char *name;
        bool dense;
        std::pair<uintptr_t, uintptr_t> range;
    } others[] = {
        {"input", tensors.input.dense, address_range(t.input, input_size(problem))},
        {"grad_output", tensors.grad_output.dense, address_range(t.grad_output, output_size(problem))},
        {"workspace", true, block_range(workspace.data, workspace.data != nullptr ? plan->workspace_bytes : 0)},
    };
    for (const auto &other : others) {
        if (other.dense && tensors.grad_filters.dense && same_memory(filters, other.range)) {
            return bad(std::string(other.name) + " and grad_filters overlap");
        }
        if (other.dense && same_memory(bias, other.range)) {
            return bad(std::string(other.name) + " and grad_bias overlap");
        }
    }
    if (tensors.grad_filters.dense && same_memory(filters, bias)) {
        return bad("grad_bias and grad_filters overlap");
    }
    const Execution execution = this->execution(context);
    status = plan->filter_gradient(t, static_cast<std::byte *>(workspace.data), execution);
    // On a GPU the memory is not ours to touch, and the work may not have begun.
    if (status.ok() && device == nullptr) {
        clear_taps_outside(problem, t.grad_filters);
    }
    return status;
}

Status Plan::Impl::execute_columns(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const {
    // Columns have one order, whatever the images' layout.
    const bool unfold = problem.operation == Operation::kUnfold;
    const std::array<int64_t, 4> in_size = unfold ? input_size(problem) : column_size(problem), out_size = unfold ? column_size(problem) : input_size(problem);
    ForwardTensors t;
    Status status = resolve("input", tensors.input, unfold ? problem.layout : Layout::kNchw, in_size, Role::kInput, t.input);
    if (status.ok()) {
        status = resolve("output", tensors.output, unfold ? Layout::kNchw : problem.layout, out_size, Role::kOutput, t.output);
    }
    if (status.ok()) {
        status = check_block("workspace", workspace.data, workspace.bytes, plan->workspace_bytes);
    }
    if (!status.ok()) {
        return status;
    }
    const auto out = address_range(t.output, out_size);
    if (tensors.output.dense && tensors.input.dense && same_memory(out, address_range(t.input, in_size))) {
        return bad("input and output overlap");
    }
    if (workspace.data != nullptr && same_memory(out, block_range(workspace.data, plan->workspace_bytes))) {
        return bad("workspace and output overlap");
    }
    const Execution execution = this->execution(context);
    return plan->forward(t, nullptr, static_cast<std::byte *>(workspace.data), execution);
}

namespace {

Candidate candidate_of(const Conv2dProblem &problem, const Planned &p) {
    Candidate c;
    c.algorithm = p.entry->algorithm;
    c.supported = p.plan != nullptr;
    if (p.plan == nullptr) {
        c.reason = p.status.message();
        return c;
    }
    c.variant = p.plan->variant;
    c.choice = p.plan->choice == p.entry->name ? p.plan->choice : p.entry->name + (" " + p.plan->choice);
    c.predicted_seconds = p.plan->predicted_seconds;
    c.corrected_seconds = p.plan->ranked_seconds;
    c.workspace_bytes = p.plan->workspace_bytes;
    c.packed_filter_bytes = packed_bytes(problem, *p.plan);
    return c;
}

Result<std::vector<Candidate>> list_candidates(const Conv2dProblem &problem, const PlanOptions &options) {
    PlanRequest request{problem, options};
    Status status = resolve_options(request);
    if (!status.ok()) {
        return status;
    }
    const Decision decision = decide(request, true);
    if (!decision.status.ok()) {
        return decision.status;
    }
    std::vector<Candidate> candidates;
    for (size_t i = 0; i < decision.list.size(); i++) {
        const Planned &p = decision.list[i];
        Candidate c = candidate_of(problem, p);
        c.chosen = static_cast<int>(i) == decision.chosen;
        if (p.plan != nullptr) {
            c.reason = c.chosen ? std::string(to_string(decision.tier)) + ": " + decision.text : p.entry->automatic ? "expected to be slower on one thread" : "a baseline";
        }
        candidates.push_back(std::move(c));
    }
    return candidates;
}

Result<std::vector<Candidate>> every_choice(const Conv2dProblem &problem, const PlanOptions &options) {
    PlanRequest request{problem, options};
    Status status = resolve_options(request);
    if (!status.ok()) {
        return status;
    }
    const std::shared_ptr<const Tables> tables = current_tables();
    const Tables::Ranking ranking = tables->ranking(table_query(request));
    std::vector<Candidate> candidates;
    for (const AlgorithmEntry &entry : algorithms(options.device)) {
        if (!entry.automatic || (options.algorithm != Algorithm::kAuto && options.algorithm != entry.algorithm)) {
            continue;
        }
        std::vector<std::string> choices;
        PlanRequest collecting = request;
        collecting.collect = &choices;
        plan_candidate(entry, collecting);
        std::sort(choices.begin(), choices.end());
        choices.erase(std::unique(choices.begin(), choices.end()), choices.end());
        if (!tables->empty()) {
            request.rank = [&](const std::string &choice, double seconds) { return seconds * std::exp(ranking.residual(entry.name, choice)); };
        }
        for (const std::string &words : choices) {
            if (const Planned p = plan_choice(request, entry.name + (" " + words)); p.plan != nullptr && p.plan->choice == words) {
                candidates.push_back(candidate_of(problem, p));
            }
        }
    }
    std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate &a, const Candidate &b) { return a.corrected_seconds < b.corrected_seconds; });
    return candidates;
}

}  // namespace

Result<std::vector<Candidate>> explain(const Conv2dProblem &problem, const PlanOptions &options) {
    try {
        return list_candidates(problem, options);
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while planning");
    }
}

Result<std::vector<Candidate>> list_choices(const Conv2dProblem &problem, const PlanOptions &options) {
    try {
        return every_choice(problem, options);
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while planning");
    }
}

const char *to_string(Algorithm algorithm) {
    for (const AlgorithmEntry &entry : algorithms()) {
        if (entry.algorithm == algorithm) {
            return entry.name;
        }
    }
    return "auto";
}

const char *to_string(FftBackend backend) {
    return backend == FftBackend::kFftw ? "fftw" : backend == FftBackend::kKissFft ? "kissfft" : "auto";
}

const char *to_string(Accuracy accuracy) {
    return accuracy == Accuracy::kStrict ? "strict" : accuracy == Accuracy::kRelaxed ? "relaxed" : "default";
}

Result<Algorithm> parse_algorithm(std::string_view name) {
    std::string known = "auto";
    if (name == "auto") {
        return Algorithm::kAuto;
    }
    for (const AlgorithmEntry &entry : algorithms()) {
        if (name == entry.name) {
            return entry.algorithm;
        }
        known += std::string(", ") + entry.name;
    }
    return bad("algorithm '" + std::string(name) + "' does not exist; there are " + known);
}

Result<Accuracy> parse_accuracy(std::string_view name) {
    for (Accuracy a : {Accuracy::kStrict, Accuracy::kDefault, Accuracy::kRelaxed}) {
        if (name == to_string(a)) {
            return a;
        }
    }
    return bad("accuracy '" + std::string(name) + "' does not exist; there are strict, default, relaxed");
}

const char *version() {
    return FOURFOLD_VERSION;
}

}  // namespace fourfold
