#include "tables_reduce.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bad.h"
#include "files.h"
#include "fourfold/tuning.h"
#include "plan_run.h"
#include "records.h"
#include "shapes.h"
#include "table.h"
#include "text.h"
#include "variant_list.h"

namespace fourfold::cli {
namespace {

using Json = nlohmann::ordered_json;

/// Problems of every kind that has a kernel of its own, as what nobody measured may look like. Each is asked for in all
/// operations and both layouts.
constexpr const char *kUntuned[] = {"b1 ic16 i20 oc16 f3 p1",        "b1 ic16 i21 oc24 f3 s2 p1",     "b2 ic16 i14 oc32 f1",          "b1 ic32 i14 oc16 f1 s2",       "b1 ic16 i20 oc16 f5 p2",         "b1 ic3 i32 oc16 f7 s2 p3",
                                    "b1 ic16 i24 oc16 f3 p2 d2",     "b1 ic16 i30 oc16 f15 p7",       "b1 ic16 i60 oc16 f31 p15",     "b1 ic32 i14 oc32 f3 p1 g4",    "b1 ic16 i7 oc16 f3 p1",          "b1 ic1 i64 oc1 f3",
                                    "b1 ic1 i100 oc1 f15",           "b1 ic1 i150 oc1 f63",           "b1 ic1 i60 oc1 f9 p4 reflect", "b1 ic16 i40 oc16 f3 p1 g16",   "b1 ic16 i40 oc16 f3 g16",        "b1 ic16 i41 oc16 f3 s2 p1 g16",
                                    "b1 ic16 i40 oc16 f5 p2 g16",    "b1 ic16 i40 oc16 f5 g16",       "b1 ic16 i41 oc16 f5 s2 p2 g16", "b1 ic16 i40 oc16 f7 p3 g16",  "b1 ic16 i40 oc16 f7 g16",        "b1 ic16 i41 oc16 f7 s2 p3 g16",
                                    "b1 ic16 i40 oc16 f13 p6 g16",   "b1 ic16 i40 oc16 f9x3 p4,4,1,1 g16", "b1 ic16 i40 oc16 f9 g16", "b1 ic16 i41 oc16 f9 s2 p4 g16", "b1 ic16 i7 oc16 f5 p2 g16",     "b1 ic20 i40 oc20 f31 p15 g20",
                                    "b1 ic8 i20 oc16 f3 p1 g8"};

struct Measured {
    std::vector<CoverProblem> problems;
    std::vector<Conv2dProblem> keys;
    std::vector<std::vector<std::string>> choices;  ///< of each problem, as records have them
    std::vector<PlanOptions> options;
};

/// What the tables' current records of this ISA level say, problem by problem.
Result<Measured> measured_by(const std::vector<std::string> &tables) {
    struct Entry {
        Conv2dProblem problem;
        PlanOptions options;
        std::map<std::string, const Record *> choices;
    };
    std::vector<std::vector<Record>> all;
    std::map<std::string, Entry> by_key;
    int skipped = 0, spectral = 0;
    for (const std::string &path : tables) {
        Result<std::vector<Record>> records = read_records(path);
        if (!records) {
            return records.status();
        }
        all.push_back(std::move(*records));
        for (const Record &r : all.back()) {
            if (r.isa != machine().isa || !is_current(r)) {
                ++skipped;
                continue;
            }
            if (r.spectral) {
                ++spectral;  // no problem's choice names their stages, so that all of them stay
            } else if (r.failure.empty()) {
                Entry &e = by_key[record_key(r)];
                e.problem = r.problem;
                e.options.threads = r.threads;
                e.options.accuracy = r.accuracy;
                e.options.workspace_limit = r.workspace_limit < kNoWorkspaceLimit ? r.workspace_limit : e.options.workspace_limit;
                e.choices[r.choice] = &r;
            }
        }
    }
    if (by_key.empty()) {
        return bad(fmt::format("the tables have no records of {} with the variants of this build", machine().isa));
    }
    Measured measured;
    for (const auto &[key, e] : by_key) {
        double best = 0.0;
        for (const auto &[choice, r] : e.choices) {
            best = best == 0.0 || r->seconds_min < best ? r->seconds_min : best;
        }
        CoverProblem problem;
        std::vector<std::string> choices;
        for (const auto &[choice, r] : e.choices) {
            CoverProblem::Choice c;
            for (const auto &[name, hash] : r->variants) {
                c.variants.push_back(name);
            }
            c.efficiency = best / r->seconds_min;
            problem.choices.push_back(std::move(c));
            choices.push_back(choice);
        }
        measured.problems.push_back(std::move(problem));
        measured.keys.push_back(e.problem);
        measured.choices.push_back(std::move(choices));
        measured.options.push_back(e.options);
    }
    fmt::print("{} problems{}\n", measured.problems.size(), (skipped > 0 ? fmt::format("; {} records of other ISA levels or builds skipped", skipped) : "") + (spectral > 0 ? fmt::format("; {} records of spectral products, whose variants all stay", spectral) : ""));
    return measured;
}

const Variant *variant_named(const std::string &name) {
    const auto at = std::find_if(registry().begin(), registry().end(), [&](const Variant &v) { return name == v.name; });
    return at == registry().end() ? nullptr : &*at;
}

/// The list without what neither the covering choices nor untuned problems need. A stage that no choice names is kept whole: who
/// needs one of its variants needs that very one.
class Reduction {
public:
    explicit Reduction(const Json &list)
        : stages_(list["stages"]) {
    }

    /// The plan's choice names what may be chosen; running it shows what else it calls.
    Status use(const Conv2dProblem &problem, const Plan &plan) {
        Tracer tracer;
        const PlanRun run(problem, plan);
        Status status = run.pack();
        status = status ? run.execute() : status;
        kept_.insert(tracer.used.begin(), tracer.used.end());
        for (const Variant *v : variants_in(plan.choice())) {
            kept_.insert(v);
            chosen_.insert(v->stage);
        }
        return status;
    }

    /// Every form of every algorithm that can do a problem still can: by a choice that is kept, or else by its likeliest.
    Status use_untuned() {
        for (const char *text : kUntuned) {
            for (Operation operation : {Operation::kForward, Operation::kBackwardData, Operation::kBackwardFilters, Operation::kUnfold, Operation::kFold}) {
                for (Layout layout : {Layout::kNchw, Layout::kNhwc}) {
                    Conv2dProblem p = *Conv2dProblem::parse(text);
                    p.operation = operation;
                    p.layout = layout;
                    const Result<std::vector<Candidate>> choices = p.validate() ? list_choices(p, one_thread()) : Result<std::vector<Candidate>>(std::vector<Candidate>());
                    if (Status status = choices ? use_forms(p, *choices) : choices.status(); !status) {
                        return status;
                    }
                }
            }
        }
        return {};
    }

    bool keeps(const Variant &v) const {
        if (v.isa != best_isa() || kept_.count(&v) != 0) {
            return true;
        }
        return chosen_.count(head_of(v)) == 0 || std::any_of(kept_.begin(), kept_.end(), [&](const Variant *k) { return together(*k, v); });
    }

private:
    static PlanOptions one_thread() {
        PlanOptions options;
        options.threads = 1;
        return options;
    }
    static std::vector<const Variant *> variants_in(const std::string &choice) {
        std::vector<const Variant *> list;
        for (std::string_view word : split(choice, ' ')) {
            if (const Variant *v = variant_named(std::string(word))) {
                list.push_back(v);
            }
        }
        return list;
    }
    /// `choices` are the likeliest first.
    Status use_forms(const Conv2dProblem &problem, const std::vector<Candidate> &choices) {
        std::map<std::string, std::string> forms;  // algorithm and stage: choice
        std::set<std::string> settled;
        for (const Candidate &c : choices) {
            const std::vector<const Variant *> named = variants_in(c.choice);
            const std::string form = std::string(to_string(c.algorithm)) + " " + (named.empty() ? "" : named.front()->stage);
            const bool kept = std::all_of(named.begin(), named.end(), [&](const Variant *v) { return kept_.count(v) != 0; });
            for (const Variant *v : named) {
                chosen_.insert(v->stage);
            }
            if (kept ? settled.insert(form).second : forms.count(form) == 0) {
                forms[form] = c.choice;
            }
        }
        for (const auto &[form, choice] : forms) {
            PlanOptions options = one_thread();
            options.choice = choice;
            const Result<Plan> plan = Plan::create(problem, options);
            if (!plan) {
                return plan.status();
            }
            if (tried_.insert(choice).second) {
                if (Status status = use(problem, *plan); !status) {
                    return status;
                }
            }
        }
        return {};
    }
    /// The stage itself, or the one that it goes with.
    std::string head_of(const Variant &v) const {
        return stages_[v.stage].value("goes_with", v.stage);
    }
    /// Whether two variants are parts of one thing, such as a transform and its inverse: of stages that go together, and of one
    /// size, that is equal in the parameters that all these stages have.
    bool together(const Variant &a, const Variant &b) const {
        const std::string head = head_of(a);
        if (a.isa != b.isa || head != head_of(b)) {
            return false;
        }
        for (const auto &[stage, entry] : stages_.items()) {
            if (entry.value("goes_with", "") == head) {
                const Json &size = entry["space"];
                return std::all_of(size.items().begin(), size.items().end(), [&](const auto &item) { return a.parameter(item.key().c_str(), -1) == b.parameter(item.key().c_str(), -1); });
            }
        }
        return false;  // nothing goes with it: each stands for itself
    }

    const Json &stages_;
    std::set<const Variant *> kept_;
    std::set<std::string> chosen_;  ///< stages
    std::set<std::string> tried_;   ///< choices of untuned problems
};

}  // namespace

void print_curve(const std::vector<CoverStep> &steps, size_t problems, double within) {
    const Table table({{"variants", 8}, {"geomean", 7}, {"worst", 5}, {fmt::format("within {:g} %", within), 12}, {"added", 0, true}});
    fmt::print("{}", table.header());
    for (const CoverStep &s : steps) {
        fmt::print("{}", table.row({std::to_string(s.variants), fmt::format("{:.3f}", s.geomean), fmt::format("{:.3f}", s.worst), fmt::format("{} of {}", s.within, problems), fmt::format("{}", fmt::join(s.added, " "))}));
    }
}

Status reduce_tables(const ReduceFlags &flags) {
    const Result<Measured> measured = measured_by(flags.tables);
    if (!measured) {
        return measured.status();
    }
    const std::vector<CoverStep> steps = cover(measured->problems, 1.0 - flags.within / 100.0);
    print_curve(steps, measured->problems.size(), flags.within);
    if (!flags.curve.empty()) {
        if (Status status = write_file(flags.curve, kCurveHeader + curve_lines("all", machine().isa, steps, measured->problems.size(), 1.0 - flags.within / 100.0)); !status) {
            return status;
        }
    }
    if (flags.out.empty()) {
        return {};
    }
    const Result<std::string> text = read_file(flags.list);
    if (!text) {
        return text.status();
    }
    Json list = Json::parse(*text, nullptr, false);
    const auto is_stage = [](const Json &entry) { return entry.is_object() && entry.contains("space") && entry["space"].is_object() && (!entry.contains("goes_with") || entry["goes_with"].is_string()); };
    if (!list.is_object() || !list.contains("stages") || !list["stages"].is_object() || !list.contains("targets") || !list.contains("budget") || !std::all_of(list["stages"].begin(), list["stages"].end(), is_stage)) {
        return bad(fmt::format("'{}' is no list of variants", flags.list));
    }
    for (const Variant &v : registry()) {
        const Json &stage = list["stages"].contains(v.stage) ? list["stages"][v.stage] : Json();
        if (!stage.is_object() || !stage.contains(to_string(v.isa)) || std::find(stage[to_string(v.isa)].begin(), stage[to_string(v.isa)].end(), v.parameters) == stage[to_string(v.isa)].end()) {
            return bad(fmt::format("'{}' does not have {}: it is not the list of this build", flags.list, v.name));
        }
    }
    unload_tables(false);
    const Json full = list;
    Reduction reduction(full);
    for (const CoverStep &step : steps) {
        PlanOptions options = measured->options[step.problem];
        options.choice = measured->choices[step.problem][step.choice];
        const Result<Plan> plan = Plan::create(measured->keys[step.problem], options);
        if (!plan) {
            return plan.status();
        }
        if (Status status = reduction.use(measured->keys[step.problem], *plan); !status) {
            return status;
        }
    }
    if (Status status = reduction.use_untuned(); !status) {
        return status;
    }
    size_t before = 0, after = 0;
    for (auto &[stage, entry] : list["stages"].items()) {
        for (const char *isa : {"avx512", "avx2", "generic"}) {
            if (!entry.contains(isa)) {
                continue;
            }
            Json kept = Json::array();
            for (const Json &parameters : entry[isa]) {
                ++before;
                const auto at = std::find_if(registry().begin(), registry().end(), [&, stem = stage](const Variant &v) { return stem == v.stage && std::string(to_string(v.isa)) == isa && parameters == v.parameters; });
                if (at == registry().end() || reduction.keeps(*at)) {
                    kept.push_back(parameters);
                }
            }
            after += kept.size();
            entry[isa] = std::move(kept);
        }
    }
    if (Status status = write_file(flags.out, list_text(list)); !status) {
        return status;
    }
    fmt::print("{}: {} of {} variants; {} would serve the tables alone, the others untuned problems and other ISA levels\nbuild it with -DFOURFOLD_VARIANTS={}\n", flags.out, after, before, steps.back().variants, flags.out);
    return {};
}

}  // namespace fourfold::cli
