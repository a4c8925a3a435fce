#include "tables.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <limits>
#include <mutex>
#include <optional>
#include <sstream>
#include <tuple>
#include <unordered_set>

#include "content_hash.h"
#include "device/runtime.h"
#include "registry.h"
#include "single_channel.h"

namespace fourfold {
namespace {

constexpr int kNeighbours = 12, kLeastVotes = 5;
/// A spectral product whose batch times plane is over 2.7 times as large or as small says nothing: records of planes a quarter as
/// large chose 0.84 and 0.89 times as fast as predictions.
constexpr double kFarthestSpectral = 1.0;
constexpr double kFarthest = 4.0;  ///< sum of |log ratio| beyond which a problem is no neighbour
/// How much of what records say of a plan is believed of another problem. Of this, of the fit's strength and weights and of the
/// distances the values did best with families of networks held out (51 problems, Zen 5, 2026-11-20: 0.95 of the best time;
/// without a table 0.94, with all of it believed 0.94, with plain means of log(measured / predicted) 0.90).
constexpr double kTrust = 0.7;
/// What a machine's records say of a plan as a whole weighs as much as a problem at a distance of 0.23: single neighbours are noise too.
constexpr double kOverallWeight = 3.0;
constexpr int kFewRecords = 40;    ///< with fewer a machine's own corrections say less than its relative's

/// Whether this process may choose by a record of that ISA level or target of a GPU.
bool is_ours(std::string_view isa) {
    return isa == to_string(best_isa()) || is_device_target(isa);
}

bool is_algorithm(std::string_view name) {
    const auto &list = algorithms();
    return std::any_of(list.begin(), list.end(), [&](const AlgorithmEntry &entry) { return name == entry.name; });
}

/// Calls each(word) for the words between blanks, while it returns true; whether it always did.
template<typename Each>
bool every_word(std::string_view text, const Each &each) {
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(' '));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        if (!word.empty() && !each(word)) {
            return false;
        }
    }
    return true;
}

/// The content hash of a variant of the CPU or of GPUs; empty where this build has none of that name.
std::string_view hash_of(std::string_view name) {
    // Never destroyed, as the tables are not.
    static const auto &hashes = *[] {
        auto *map = new std::unordered_map<std::string_view, std::string_view>;
        for (const Variant &v : registry()) {
            map->emplace(v.name, v.hash);
        }
        for (const DeviceVariant &v : device_variants()) {
            map->emplace(v.variant.name, v.variant.hash);
        }
        return map;
    }();
    if (const auto at = hashes.find(name); at != hashes.end()) {
        return at->second;
    }
    // Added since, by a search.
    const auto added = std::find_if(registry().begin(), registry().end(), [&](const Variant &v) { return name == v.name; });
    return added == registry().end() ? std::string_view() : added->hash;
}

/// The contents of the stages that a GPU's algorithm runs unnamed; empty where there are none.
std::string unnamed_contents(std::string_view algorithm, std::string_view target) {
    std::string text;
    for (const AlgorithmEntry &entry : device_algorithms()) {
        for (const DeviceVariant &v : device_variants()) {
            const bool runs = algorithm == entry.name && target == v.target && std::any_of(entry.stages.begin(), entry.stages.end(), [&](const char *stage) { return std::strcmp(stage, v.variant.stage) == 0; });
            text += runs ? std::string(v.variant.name) + " " + v.variant.hash + "\n" : "";
        }
    }
    return text.empty() ? text : hash_text(text);
}

uint64_t text_hash(std::string_view text) {
    return hash_bytes(text.data(), text.size());
}

/// Up to the parameters: "gemm" of "gemm_avx512_m8_n3 ...".
std::string_view stage_of(std::string_view choice) {
    size_t end = choice.size();
    for (const char *isa : {"_avx512", "_avx2", "_generic", "_cuda", "_opencl"}) {
        end = std::min(end, choice.find(isa));
    }
    return choice.substr(0, std::min(end, choice.find(' ')));
}

/// The key of predictions' errors: the algorithm, the stage that its choice names first, and the operation.
uint64_t stage_hash(Operation operation, std::string_view algorithm, std::string_view words) {
    return (text_hash(algorithm) * 31 + text_hash(stage_of(words))) * 31 + static_cast<uint64_t>(operation);
}

uint64_t variant_key(uint64_t choice, Operation operation) {
    return choice * 31 + static_cast<uint64_t>(operation);
}

double log_ratio(int64_t a, int64_t b) {
    return a == b ? 0.0 : std::fabs(std::log(static_cast<double>(a) / static_cast<double>(b)));
}

/// Sum of |log ratio| of sizes, and a little for what has no ratio; infinite between what does not compare.
double distance(const Tables::Query &q, const MeasuredProblem &m) {
    const Conv2dProblem &a = q.problem, &b = m.problem;
    // Of a problem's limits one votes.
    const bool other_limit = m.workspace_limit != kNoWorkspaceLimit && m.workspace_limit != q.workspace_limit;
    if (a.operation != b.operation || a.layout != b.layout || q.cache != m.cache || other_limit) {
        return std::numeric_limits<double>::infinity();
    }
    double d = 0.5 * log_ratio(a.batch, b.batch) + log_ratio(a.in_channels / a.groups, b.in_channels / b.groups) + log_ratio(a.out_channels / a.groups, b.out_channels / b.groups) + 0.5 * log_ratio(a.groups, b.groups);
    d += 0.5 * (log_ratio(a.in_height, b.in_height) + log_ratio(a.in_width, b.in_width));
    d += log_ratio(a.filter_height, b.filter_height) + log_ratio(a.filter_width, b.filter_width);
    d += log_ratio(a.stride_h, b.stride_h) + log_ratio(a.stride_w, b.stride_w) + log_ratio(a.dilation_h, b.dilation_h) + log_ratio(a.dilation_w, b.dilation_w);
    const auto padded = [](const Conv2dProblem &p) { return (p.pad_top | p.pad_bottom | p.pad_left | p.pad_right) != 0; };
    d += padded(a) != padded(b) ? 0.25 : 0.0;
    d += a.padding_mode != b.padding_mode ? 0.5 : 0.0;
    d += 0.5 * log_ratio(q.threads, m.threads);
    d += q.accuracy != m.accuracy ? 0.25 : 0.0;
    return d;
}

/// Between spectral products of the same channels, which decide how tiles fit; infinite between others.
double distance(const SpectralProblem &a, const SpectralProblem &b) {
    if (a.operation != b.operation || a.order != b.order || a.in_channels != b.in_channels || a.out_channels != b.out_channels) {
        return std::numeric_limits<double>::infinity();
    }
    return log_ratio(a.batch, b.batch) + log_ratio(a.frequencies(), b.frequencies());
}

std::string join(const std::vector<std::string> &parts) {
    std::string text;
    for (const std::string &part : parts) {
        text += (text.empty() ? "" : ", ") + part;
    }
    return text;
}

/// Whether all that a stale record names is in this build, but not as it was measured.
bool is_changed(const Record &record) {
    const auto [algorithm, words] = split_choice(record.choice);
    return !record.spectral && is_algorithm(algorithm) && every_word(words, [&, own = algorithm](std::string_view word) {
        return word.find('=') != std::string_view::npos || word == own || !hash_of(word).empty();
    });
}

}  // namespace

std::vector<std::pair<std::string, std::string>> choice_contents(const std::string &choice, const std::string &isa) {
    std::vector<std::pair<std::string, std::string>> list;
    every_word(choice, [&](std::string_view word) {
        if (const std::string_view hash = hash_of(word); !hash.empty()) {
            list.emplace_back(word, hash);
        }
        return true;
    });
    const std::string_view algorithm = split_choice(choice).first;
    if (std::string unnamed = unnamed_contents(algorithm, isa); !unnamed.empty()) {
        list.emplace_back(std::string(algorithm) + "_" + isa, std::move(unnamed));
    }
    return list;
}

bool is_current(const Record &record) {
    const auto [algorithm, words] = split_choice(record.choice);
    if (is_device_target(record.isa)) {
        const std::vector<std::pair<std::string, std::string>> contents = choice_contents(record.choice, record.isa);
        const bool same = std::all_of(contents.begin(), contents.end(), [&](const auto &v) { return std::find(record.variants.begin(), record.variants.end(), v) != record.variants.end(); });
        if (!same) {
            return false;
        }
    }
    return (record.spectral ? algorithm == kSpectralKind : is_algorithm(algorithm)) && every_word(words, [&, own = algorithm](std::string_view word) {
               if (word.find('=') != std::string_view::npos || word == own) {
                   return true;
               }
               const auto at = std::find_if(record.variants.begin(), record.variants.end(), [&](const auto &v) { return v.first == word; });
               return at != record.variants.end() && !at->second.empty() && at->second == hash_of(word);
           });
}

MachineName machine_name(Device device) {
    if (device == Device::kCpu) {
        return {machine().microarchitecture, machine().isa};
    }
    const Result<DeviceRuntime *> gpu = device_runtime(device);
    return gpu ? machine_name((*gpu)->info(), (*gpu)->target()) : MachineName();
}

MachineName machine_name(const DeviceInfo &info, const std::string &target) {
    std::string name = info.capability > 0 ? "sm_" + std::to_string(info.capability) : "opencl";
    // What a record may hold, and a vendor's (R) and @ need not.
    bool gap = true;
    for (const char c : info.name.substr(0, 120)) {
        const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' || c == '_';
        name += plain ? (gap ? " " : "") + std::string(1, c) : "";
        gap = !plain;
    }
    return {name, target};
}

bool is_device_target(std::string_view isa) {
    // Never destroyed, as the tables are not.
    static const auto &targets = *[] {
        auto *set = new std::unordered_set<std::string_view>;
        for (const DeviceVariant &v : device_variants()) {
            set->insert(v.target);
        }
        return set;
    }();
    return targets.count(isa) != 0;
}

std::optional<int> generations_between(const std::string &a, const std::string &b) {
    static const std::vector<std::string> vendors[] = {
        {"znver1", "znver2", "znver3", "znver4", "znver5"},
        {"haswell", "broadwell", "skylake-avx512", "icelake-server", "alderlake", "raptorlake", "sapphirerapids", "emeraldrapids", "graniterapids"}};
    for (const std::vector<std::string> &line : vendors) {
        const auto x = std::find(line.begin(), line.end(), a), y = std::find(line.begin(), line.end(), b);
        if (x != line.end() && y != line.end()) {
            return static_cast<int>(std::abs(x - y));
        }
    }
    // An Intel model that has no name here, "intel-6-143", is farther away than all that have one.
    const std::vector<std::string> &intel = vendors[1];
    const auto is_intel = [&](const std::string &name) { return name.rfind("intel-", 0) == 0 || std::find(intel.begin(), intel.end(), name) != intel.end(); };
    return is_intel(a) && is_intel(b) ? std::optional<int>(static_cast<int>(intel.size())) : std::nullopt;
}

void Tables::add(TableInfo info, const std::vector<Record> &records) {
    const int table = static_cast<int>(infos_.size());
    size_t last = problems_.size();  // the problem of the record before
    std::vector<const Record *> changed;  // stale winners
    const auto is_of = [&](const MeasuredProblem &m, const Record &r, const Conv2dProblem &problem) {
        const MachineName &name = machines_[static_cast<size_t>(m.machine)];
        return m.table == table && name.microarchitecture == r.microarchitecture && name.isa == r.isa && m.threads == r.threads && m.cache == r.cache && m.accuracy == r.accuracy && m.workspace_limit == r.workspace_limit && m.problem == problem;
    };
    for (const Record &r : records) {
        if (!is_ours(r.isa)) {
            info.foreign++;
            continue;
        }
        if (!is_current(r)) {
            info.stale++;
            if (r.winner && is_changed(r)) {
                changed.push_back(&r);
            }
            continue;
        }
        info.records++;
        if (r.spectral) {
            // Their plans know no limit: what won within one is no answer.
            if (r.winner && r.cache == CacheState::kWarm && r.workspace_limit == kNoWorkspaceLimit) {
                spectral_.push_back({*r.spectral, std::string(split_choice(r.choice).second), r.microarchitecture, r.threads, table});
            }
            continue;
        }
        const Conv2dProblem problem = in_nchw_if_same(r.problem);
        const MachineName name = {r.microarchitecture, r.isa};
        const size_t machine = static_cast<size_t>(std::find(machines_.begin(), machines_.end(), name) - machines_.begin());
        if (machine == machines_.size()) {
            machines_.push_back(name);
            fits_.emplace_back();
        }
        if (last >= problems_.size() || !is_of(problems_[last], r, problem)) {
            const std::string text = problem.to_string();
            const auto [begin, end] = by_problem_.equal_range(text);
            const auto at = std::find_if(begin, end, [&](const auto &place) { return is_of(problems_[place.second], r, problem); });
            last = at != end ? at->second : problems_.size();
            if (at == end) {
                MeasuredProblem m;
                m.problem = problem;
                m.accuracy = r.accuracy;
                m.threads = r.threads;
                m.cache = r.cache;
                m.workspace_limit = r.workspace_limit;
                m.machine = static_cast<int>(machine);
                m.table = table;
                by_problem_.emplace(text, last);
                problems_.push_back(std::move(m));
            }
        }
        MeasuredProblem &m = problems_[last];
        MeasuredProblem::Entry entry;
        entry.choice = r.choice;
        entry.hash = text_hash(r.choice);
        entry.winner = r.winner;
        const bool failed = !r.failure.empty();
        entry.seconds = failed ? std::numeric_limits<double>::infinity() : r.seconds_min;
        entry.residual = failed ? 0.0 : std::log(r.seconds_min / r.seconds_predicted);
        if (entry.winner) {
            for (MeasuredProblem::Entry &other : m.entries) {
                other.winner = false;  // the last one counts
            }
        }
        const auto same = std::find_if(m.entries.begin(), m.entries.end(), [&](const auto &e) { return e.hash == entry.hash; });
        if (same != m.entries.end()) {
            *same = std::move(entry);
        } else {
            m.entries.push_back(std::move(entry));
        }
    }
    // Of a winner whose kernel has changed nobody knows how fast it is; those that it beat do not take its place.
    for (const Record *r : changed) {
        const Conv2dProblem problem = in_nchw_if_same(r->problem);
        const auto [begin, end] = by_problem_.equal_range(problem.to_string());
        const auto at = std::find_if(begin, end, [&](const auto &place) { return is_of(problems_[place.second], *r, problem); });
        if (at != end) {
            MeasuredProblem &m = problems_[at->second];
            const bool won_since = std::any_of(m.entries.begin(), m.entries.end(), [](const auto &e) { return e.winner; });
            m.changed_winner = won_since ? "" : r->choice;
        }
    }
    infos_.push_back(std::move(info));
}

void Tables::finish() {
    for (MeasuredProblem &m : problems_) {
        std::stable_sort(m.entries.begin(), m.entries.end(), [](const auto &a, const auto &b) { return a.winner != b.winner ? a.winner : a.seconds < b.seconds; });
    }
    for (int i = 0; i < static_cast<int>(machines_.size()); i++) {
        fit(i);
    }
    const std::string &name = machine().microarchitecture;
    std::pair<int, int> least;  // generations, then fewer records
    for (int i = 0; i < static_cast<int>(machines_.size()); i++) {
        const auto &[other, isa] = machines_[static_cast<size_t>(i)];
        if (isa != to_string(best_isa())) {
            continue;  // a GPU
        }
        if (other == name) {
            cpu_.own = i;
        } else if (const std::optional<int> generations = generations_between(other, name)) {
            const std::pair<int, int> distance = {*generations, -fits_[static_cast<size_t>(i)].records};
            if (cpu_.kin < 0 || distance < least) {
                cpu_.kin = i;
                least = distance;
            }
        }
    }
}

Tables::Family Tables::family_of(const Query &query) const {
    return query.gpu ? family_of_gpu(*query.gpu) : cpu_;
}

/// GPUs of one compute capability are relatives; of several the one with most records. OpenCL says nothing of generations.
Tables::Family Tables::family_of_gpu(const MachineName &gpu) const {
    const auto generation = [](const MachineName &m) { return std::string_view(m.microarchitecture).substr(0, m.microarchitecture.find(' ')); };
    Family family;
    for (int i = 0; i < static_cast<int>(machines_.size()); i++) {
        const MachineName &other = machines_[static_cast<size_t>(i)];
        if (other == gpu) {
            family.own = i;
        } else if (other.isa == gpu.isa && generation(gpu) != "opencl" && generation(other) == generation(gpu)) {
            const bool more = family.kin < 0 || fits_[static_cast<size_t>(i)].records > fits_[static_cast<size_t>(family.kin)].records;
            family.kin = more ? i : family.kin;
        }
    }
    return family;
}

void Tables::fit(int machine) {
    constexpr int rounds = 6;
    constexpr double strength = 4.0;  ///< how many measurements it takes to be half believed
    struct Term {
        MeasuredProblem::Entry *entry;
        size_t problem, stage, choice;  ///< indices of shares
        double weight;                  ///< candidates far behind say little about who wins
    };
    std::unordered_map<uint64_t, size_t> stages, choices;
    const auto index = [](std::unordered_map<uint64_t, size_t> &indices, uint64_t key) { return indices.emplace(key, indices.size()).first->second; };
    std::vector<Term> terms;
    size_t problems = 0;
    for (MeasuredProblem &m : problems_) {
        double best = std::numeric_limits<double>::infinity();
        for (const MeasuredProblem::Entry &e : m.entries) {
            best = std::min(best, e.seconds);
        }
        if (m.machine != machine || !std::isfinite(best)) {
            continue;
        }
        for (MeasuredProblem::Entry &e : m.entries) {
            if (std::isfinite(e.seconds)) {
                const auto [algorithm, words] = split_choice(e.choice);
                const double share = best / e.seconds;
                terms.push_back({&e, problems, index(stages, stage_hash(m.problem.operation, algorithm, words)), index(choices, variant_key(e.hash, m.problem.operation)), share * share});
            }
        }
        problems++;
    }
    std::vector<double> by_problem(problems), by_stage(stages.size()), by_choice(choices.size());
    const auto refine = [&](std::vector<double> &shares, size_t Term::*which, double prior) {
        std::vector<double> totals(shares.size(), 0.0), weights(shares.size(), prior);
        for (const Term &t : terms) {
            const double others = by_problem[t.problem] + by_stage[t.stage] + by_choice[t.choice] - shares[t.*which];
            totals[t.*which] += t.weight * (t.entry->residual - others);
            weights[t.*which] += t.weight;
        }
        for (size_t i = 0; i < shares.size(); i++) {
            shares[i] = totals[i] / weights[i];
        }
    };
    for (int round = 0; round < rounds; round++) {
        refine(by_problem, &Term::problem, 0.0);
        refine(by_stage, &Term::stage, strength);
        refine(by_choice, &Term::choice, strength);
    }
    Fit &fitted = fits_[static_cast<size_t>(machine)];
    fitted = Fit();
    fitted.records = static_cast<int>(terms.size());
    for (double share : by_problem) {
        fitted.scale += share / static_cast<double>(problems);
    }
    for (const auto &[key, i] : stages) {
        fitted.by_stage[key] = by_stage[i];
    }
    for (const auto &[key, i] : choices) {
        fitted.by_choice[key] = by_choice[i];
    }
    for (const Term &t : terms) {
        t.entry->residual -= by_problem[t.problem];
    }
}

std::vector<const MeasuredProblem *> Tables::exact(const Query &query, int machine) const {
    using Place = std::tuple<double, int, uint64_t>;  // distance, later tables first, limit
    std::vector<std::pair<Place, const MeasuredProblem *>> places;
    const auto [begin, end] = by_problem_.equal_range(in_nchw_if_same(query.problem).to_string());
    for (auto at = begin; at != end; ++at) {
        const MeasuredProblem &m = problems_[at->second];
        // A laxer class, or a wider limit, was measured with all that a stricter one admits, and more.
        if (m.machine == machine && m.cache == query.cache && static_cast<int>(m.accuracy) >= static_cast<int>(query.accuracy) && m.workspace_limit >= query.workspace_limit) {
            places.push_back({Place(log_ratio(query.threads, m.threads) + (m.accuracy != query.accuracy ? 0.1 : 0.0), -m.table, m.workspace_limit), &m});
        }
    }
    std::sort(places.begin(), places.end());
    std::vector<const MeasuredProblem *> list;
    for (const auto &[place, m] : places) {
        list.push_back(m);
    }
    return list;
}

Tables::SpectralAnswer Tables::spectral(const SpectralProblem &problem, const std::vector<std::string> &barred) const {
    SpectralAnswer answer;
    std::tuple<int, double, int> least;  // generations, distance, threads
    const std::string &own = machine().microarchitecture;
    for (const MeasuredSpectral &m : spectral_) {
        const std::optional<int> generations = m.microarchitecture == own ? 0 : generations_between(m.microarchitecture, own);
        const double d = distance(problem, m.problem);
        if (!generations || d > kFarthestSpectral || std::find(barred.begin(), barred.end(), m.variant) != barred.end()) {
            continue;
        }
        const std::tuple<int, double, int> place(*generations, d, m.threads);
        if (answer.measured == nullptr || place <= least) {
            answer.measured = &m;
            least = place;
        }
    }
    if (answer.measured != nullptr) {
        const MeasuredSpectral &m = *answer.measured;
        const bool same = m.problem == problem, here = m.microarchitecture == own;
        answer.tier = !here ? Tier::kFamily : same ? Tier::kRecord : Tier::kNeighbours;
        answer.text = (same ? "record in " : "the nearest record, of '" + m.problem.to_string() + "', in ") + infos_[static_cast<size_t>(m.table)].name + (here ? "" : ", measured on " + m.microarchitecture);
    }
    return answer;
}

std::vector<Tables::Ranking::Neighbour> Tables::neighbours(const Query &query, int machine) const {
    std::vector<std::pair<double, const MeasuredProblem *>> near;
    for (const MeasuredProblem &m : problems_) {
        const double d = m.machine == machine ? distance(query, m) : kFarthest;
        if (d < kFarthest) {
            near.emplace_back(d, &m);
        }
    }
    if (near.size() < kLeastVotes) {
        return {};
    }
    const size_t count = std::min<size_t>(near.size(), kNeighbours);
    std::partial_sort(near.begin(), near.begin() + static_cast<std::ptrdiff_t>(count), near.end(), [](const auto &a, const auto &b) { return a.first != b.first ? a.first < b.first : a.second < b.second; });
    std::vector<Ranking::Neighbour> list;
    for (size_t i = 0; i < count; i++) {
        list.push_back({near[i].second, 1.0 / (0.1 + near[i].first)});
    }
    return list;
}

Tables::Ranking Tables::ranking(const Query &given) const {
    Query query = given;
    query.problem = in_nchw_if_same(given.problem);
    Ranking r;
    r.tables_ = this;
    r.operation_ = query.problem.operation;
    const Family family = family_of(query);
    const int own = family.own, kin = family.kin;
    const auto of_kin = [&] { return ", measured on " + machines_[static_cast<size_t>(kin)].microarchitecture; };
    const auto voted = [&] { return "vote of " + std::to_string(r.neighbours_.size()) + " neighbours"; };
    if (own >= 0) {
        r.neighbours_ = neighbours(query, own);
        if (!r.neighbours_.empty()) {
            r.machine_ = own;
            r.tier = Tier::kNeighbours;
            r.text = voted();
            return r;
        }
    }
    if (kin >= 0) {
        r.neighbours_ = neighbours(query, kin);
        if (!r.neighbours_.empty()) {
            r.machine_ = kin;
            r.tier = Tier::kFamily;
            r.text = voted() + of_kin();
            return r;
        }
    }
    const auto records = [&](int machine) { return machine < 0 ? 0 : fits_[static_cast<size_t>(machine)].records; };
    r.machine_ = kin >= 0 && records(own) < kFewRecords && records(kin) > records(own) ? kin : own;
    r.text = "least time by the cost model";
    if (r.machine_ >= 0) {
        r.text += ", corrected by " + std::to_string(records(r.machine_)) + " records" + (r.machine_ == kin ? of_kin() : "");
    }
    return r;
}

double Tables::Ranking::residual(std::string_view algorithm, const std::string &words) const {
    if (machine_ < 0) {
        return 0.0;
    }
    const Fit &fit = tables_->fits_[static_cast<size_t>(machine_)];
    const std::string choice = std::string(algorithm) + " " + words;
    const uint64_t hash = text_hash(choice);
    const auto share = [](const std::unordered_map<uint64_t, double> &shares, uint64_t key) {
        const auto at = shares.find(key);
        return at == shares.end() ? 0.0 : at->second;
    };
    double weights = kOverallWeight;
    double total = weights * (share(fit.by_stage, stage_hash(operation_, algorithm, words)) + share(fit.by_choice, variant_key(hash, operation_)));
    for (const Neighbour &n : neighbours_) {
        for (const MeasuredProblem::Entry &e : n.problem->entries) {
            if (e.hash == hash && std::isfinite(e.seconds)) {
                total += n.weight * e.residual;
                weights += n.weight;
            }
        }
    }
    return fit.scale + kTrust * total / weights;
}

// ------------------------------------------------------------------------------------------------------ of the process

namespace {

struct State {
    std::mutex mutex;
    std::shared_ptr<const Tables> tables;
    /// What the tables were built from; rebuilt whole at each change, which is rare.
    struct Source {
        TableInfo info;
        std::vector<Record> records;
    };
    std::vector<Source> sources;
    std::vector<std::string> blocked;

    /// The shipped tables and FOURFOLD_TABLE's, unless that was done: whoever names his choices does without.
    void load();
    void rebuild() {
        auto built = std::make_shared<Tables>();
        for (const Source &source : sources) {
            built->add(source.info, source.records);
        }
        built->finish();
        tables = std::move(built);
    }
};

}  // namespace

std::vector<Record> records_of(const EmbeddedTable &table, bool only_ours) {
    std::vector<Record> records;
    uint32_t isa = std::numeric_limits<uint32_t>::max();  // of the record before
    bool ours = true;
    const char *text = nullptr;
    Conv2dProblem problem;
    for (size_t i = 0; i < table.count; i++) {
        const EmbeddedRecord &e = table.records[i];
        if (only_ours && e.isa != isa) {
            isa = e.isa;
            ours = is_ours(table.text + isa);
        }
        if (!ours) {
            continue;
        }
        Record r;
        const char *const words = table.text + e.problem;
        const bool spectral = std::strncmp(words, kSpectralKind, std::strlen(kSpectralKind)) == 0;
        if (spectral) {
            r.spectral = *SpectralProblem::parse(words);  // the build has parsed it before
        } else if (text != words) {  // a problem's records follow each other
            text = words;
            problem = *Conv2dProblem::parse(text);
        }
        r.problem = spectral ? Conv2dProblem() : problem;
        r.accuracy = static_cast<Accuracy>(e.accuracy);
        r.microarchitecture = table.text + e.microarchitecture;
        r.isa = table.text + e.isa;
        r.threads = e.threads;
        r.cache = static_cast<CacheState>(e.cache);
        r.workspace_limit = e.workspace_limit;
        r.choice = table.text + e.choice;
        std::string_view name;
        every_word(table.text + e.variants, [&](std::string_view word) {
            if (name.empty()) {
                name = word;
            } else {
                r.variants.emplace_back(name, word);
                name = {};
            }
            return true;
        });
        r.winner = e.winner;
        r.failure = e.failed ? "failed" : "";
        r.seconds_min = r.seconds_median = e.seconds_min;
        r.seconds_predicted = e.seconds_predicted;
        records.push_back(std::move(r));
    }
    return records;
}

namespace {

Result<State::Source> source_from(const std::string &name, const std::string &text) {
    ReadTable table = read_table(text);
    if (!table.header) {
        return Status(StatusCode::kInvalidArgument, "'" + name + "' is no table of measurements: " + (table.first_reason.empty() ? "it is empty" : table.first_reason));
    }
    State::Source source;
    source.info.name = name;
    source.info.unreadable = table.unreadable;
    source.info.torn = table.torn;
    source.records = std::move(table.records);
    return source;
}

State::Source source_of(const EmbeddedTable &table) {
    State::Source source;
    source.info.name = table.name;
    source.info.shipped = true;
    source.records = records_of(table, true);
    source.info.foreign = static_cast<int>(table.count - source.records.size());
    return source;
}

std::vector<State::Source> shipped_sources() {
    std::vector<State::Source> sources;
    for (const EmbeddedTable &table : embedded_tables()) {
        sources.push_back(source_of(table));
    }
    return sources;
}

Result<std::string> read_whole(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    if (!file || !(text << file.rdbuf())) {
        return Status(StatusCode::kInvalidArgument, "cannot read the table '" + path + "'");
    }
    return text.str();
}

std::vector<std::string> split_names(const char *text, char separator) {
    std::vector<std::string> names;
    std::istringstream stream(text != nullptr ? text : "");
    for (std::string name; std::getline(stream, name, separator);) {
        if (!name.empty()) {
            names.push_back(name);
        }
    }
    return names;
}

void State::load() {
    if (tables != nullptr) {
        return;
    }
    std::vector<Source> first = shipped_sources();
    for (const std::string &path : split_names(environment("FOURFOLD_TABLE"), ':')) {
        const Result<std::string> text = read_whole(path);
        Result<Source> source = text ? source_from(path, *text) : Result<Source>(text.status());
        if (source) {
            first.push_back(std::move(*source));
        } else {
            std::cerr << "fourfold: FOURFOLD_TABLE: " << source.status().message() << "\n";
        }
    }
    sources = std::move(first);
    rebuild();
    for (const TableInfo &info : tables->infos()) {
        if (!info.shipped && ((info.stale | info.foreign | info.unreadable) != 0 || info.torn)) {
            std::cerr << "fourfold: " << info.name << ": " << info.summary() << "\n";
        }
    }
}

/// Never destroyed: plans may be made by other static objects' destructors.
State &state() {
    static State *one = new State;
    return *one;
}

}  // namespace

std::shared_ptr<const Tables> current_tables() {
    State &s = state();
    std::lock_guard<std::mutex> lock(s.mutex);
    s.load();
    return s.tables;
}

void remember(const Record &record) {
    constexpr const char *name = "this process's measurements";
    State &s = state();
    std::lock_guard<std::mutex> lock(s.mutex);
    s.load();
    if (s.sources.empty() || s.sources.back().info.name != name) {
        s.sources.emplace_back();
        s.sources.back().info.name = name;
    }
    s.sources.back().records.push_back(record);
    s.rebuild();
}

Status check_blocked(const char *list, const std::vector<std::string> &names) {
    for (const std::string &name : names) {
        if (is_algorithm(name) || !hash_of(name).empty()) {
            continue;
        }
        std::string known;
        for (const AlgorithmEntry &entry : algorithms()) {
            known += std::string(known.empty() ? "" : ", ") + entry.name;
        }
        // Of the stage that the name begins with, the one that begins most like it.
        std::string_view closest;
        size_t alike = 0;
        const auto consider = [&](const Variant &v) {
            const std::string_view other = v.name;
            const auto same = static_cast<size_t>(std::mismatch(name.begin(), name.end(), other.begin(), other.end()).first - name.begin());
            if (same > std::max(alike, std::strlen(v.stage))) {
                alike = same;
                closest = other;
            }
        };
        std::for_each(registry().begin(), registry().end(), consider);
        std::for_each(device_variants().begin(), device_variants().end(), [&](const DeviceVariant &v) { consider(v.variant); });
        return Status(StatusCode::kInvalidArgument, std::string(list) + ": '" + name + "' is neither an algorithm (" + known + ") nor a variant of this build" + (closest.empty() ? "" : "; there is '" + std::string(closest) + "'"));
    }
    return Status();
}

Result<std::vector<std::string>> process_blocked() {
    static const std::vector<std::string> from_environment = split_names(environment("FOURFOLD_BLOCK"), ',');
    static const Status known = check_blocked("FOURFOLD_BLOCK", from_environment);
    if (!known.ok()) {
        return known;
    }
    State &s = state();
    std::lock_guard<std::mutex> lock(s.mutex);
    std::vector<std::string> names = from_environment;
    names.insert(names.end(), s.blocked.begin(), s.blocked.end());
    return names;
}

std::string TableInfo::summary() const {
    std::vector<std::string> skipped;
    const auto note = [&](int count, const char *what) {
        if (count > 0) {
            skipped.push_back(std::to_string(count) + " " + what);
        }
    };
    note(stale, "stale");
    note(foreign, "foreign");
    note(unreadable, "unreadable");
    note(torn ? 1 : 0, "cut off");
    return std::to_string(records) + " records" + (skipped.empty() ? "" : "; skipped: " + join(skipped));
}

Result<TableInfo> load_table_text(const std::string &name, const std::string &text) {
    try {
        Result<State::Source> source = source_from(name, text);
        if (!source) {
            return source.status();
        }
        State &s = state();
        std::lock_guard<std::mutex> lock(s.mutex);
        s.load();
        s.sources.push_back(std::move(*source));
        s.rebuild();
        return s.tables->infos().back();
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while reading the table '" + name + "'");
    }
}

Result<TableInfo> load_table(const std::string &path) {
    try {
        const Result<std::string> text = read_whole(path);
        return text ? load_table_text(path, *text) : Result<TableInfo>(text.status());
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while reading the table '" + path + "'");
    }
}

void unload_tables(bool keep_shipped) {
    State &s = state();
    std::lock_guard<std::mutex> lock(s.mutex);
    s.sources = keep_shipped ? shipped_sources() : std::vector<State::Source>();
    s.rebuild();
}

std::vector<TableInfo> tables() {
    return current_tables()->infos();
}

Status block_choices(const std::vector<std::string> &names) {
    if (Status status = check_blocked("names to block", names); !status.ok()) {
        return status;
    }
    State &s = state();
    std::lock_guard<std::mutex> lock(s.mutex);
    s.blocked = names;
    return Status();
}

std::string variant_hash(const std::string &name) {
    return std::string(hash_of(name));
}

const char *to_string(Tier tier) {
    switch (tier) {
    case Tier::kCaller:
        return "caller";
    case Tier::kEnvironment:
        return "environment";
    case Tier::kRecord:
        return "record";
    case Tier::kNeighbours:
        return "neighbours";
    case Tier::kFamily:
        return "family";
    case Tier::kCostModel:
        return "cost model";
    case Tier::kReference:
        return "reference";
    case Tier::kMeasured:
        return "measured";
    }
    return "";
}

}  // namespace fourfold
