// fourfold search: schedules of stages, from their declared spaces (schedules/cpu/variants.json) to lines for that list, which --write
// adds to a copy of it: the next build's variants.
//
// One stage after the other is searched, each in a process of its own, since plans must not meet another stage's candidates. Every
// point of the space is planned, and those that the cost model calls hopeless are left out. The others are compiled by the
// stage's generator, several at a time and each only once (the cache is keyed by the hash of sources, target and Halide's version,
// and by the parameters); nothing is timed while anything compiles. Then they are candidates as those of tune are: in other
// processes (judged_field.h), checked before they are timed, by the same search (search.h) against the best built-in variant,
// in the plan itself; and what is learnt goes into a journal, from which --resume goes on.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bad.h"
#include "clock.h"
#include "commands.h"
#include "compiled_variants.h"
#include "content_hash.h"
#include "contest.h"
#include "files.h"
#include "fourfold/tuning.h"
#include "judged_field.h"
#include "own_process.h"
#include "records.h"
#include "registry.h"
#include "search.h"
#include "shapes.h"
#include "table.h"
#include "text.h"
#include "variant_list.h"

namespace fourfold::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Flags {
    std::vector<std::string> stages;
    std::string stage;  ///< the one of these that is being searched
    std::string build, cache, write;
    std::vector<std::string> problems, where;
    std::string shapes;
    int jobs = 0, threads = 1, trials = 0;
    bool resume = false;
    double time_limit = 20.0, budget = 0.0, hopeless = 3.0, margin = 0.02;
    uint64_t seed = 1;
};

/// One point of the space. The registry points into it, so it stays where it is.
struct Candidate {
    std::string parameters, name, symbol, library, object;
    std::string log;         ///< what its generator said when it failed
    std::string hash = "0";  ///< of the object, once there is one
    bool compiled = false, failed = false;
};

/// What the planner holds until the candidate's own process calls the compiled one.
int call_nothing(void **) {
    return -1;
}

/// The combinations of a space in the order of its keys: "m=1 n=1", "m=1 n=2", ...
std::vector<std::string> combinations(const Json &space) {
    std::vector<std::string> list = {""};
    for (const auto &[key, values] : space.items()) {
        std::vector<std::string> longer;
        for (const std::string &head : list) {
            for (const Json &value : values) {
                longer.push_back(head + (head.empty() ? "" : " ") + key + "=" + (value.is_string() ? value.get<std::string>() : value.dump()));
            }
        }
        list = std::move(longer);
    }
    return list;
}

/// The points of a stage's space that --where leaves.
std::vector<std::string> points_of(const Json &list, const std::string &stage, const Flags &flags) {
    std::vector<std::string> points = combinations(list["stages"][stage]["space"]);
    const auto is_left_out = [&](const std::string &parameters) {
        const std::vector<std::string_view> words = split(parameters, ' ');
        return !std::all_of(flags.where.begin(), flags.where.end(), [&](const std::string &w) { return std::find(words.begin(), words.end(), w) != words.end(); });
    };
    points.erase(std::remove_if(points.begin(), points.end(), is_left_out), points.end());
    return points;
}

/// Whether a register tile's accumulators leave room for operands; stages without one always fit.
bool fits_registers(const Variant &v) {
    const int registers = v.isa == Isa::kAvx512 ? 32 : 16;
    const int m = v.parameter("m", 0), n = v.parameter("n", 0), r = v.parameter("r", 0), blocks = v.parameter("v", 0);
    if (m > 0 && n > 0) {
        return m * n + std::min(m, n) + 1 <= registers;
    }
    const int vectors = blocks * 16 / vector_lanes(v.isa);
    return r == 0 || blocks == 0 || r * vectors + std::min(r, vectors) + 1 <= registers;
}

/// Runs work() in a child that is ended after `seconds`; its exit code is work's result.
template<typename Work>
int in_child(unsigned seconds, const Work &work) {
    std::fflush(nullptr);
    const pid_t child = fork_bound(SIGKILL);
    if (child == 0) {
        alarm(seconds);
        _exit(work());
    }
    int status = 256;
    if (child > 0) {
        waitpid(child, &status, 0);
    }
    return status;
}

/// A variant in a plan of one problem.
struct Member {
    std::string name;
    Candidate *candidate = nullptr;  ///< null: built in
    Algorithm algorithm = Algorithm::kAuto;
    std::string choice;
    double predicted = 0.0;
    uint64_t workspace = 0, packed = 0;
    Failure failure;
    std::vector<double> samples;

    double seconds() const {
        return failure || samples.empty() ? std::numeric_limits<double>::infinity() : *std::min_element(samples.begin(), samples.end());
    }
};

/// The plan that takes this variant as its main stage; the member's failure says why there is none.
Member plan_member(const Conv2dProblem &problem, const std::string &name, Candidate *candidate, int threads, const std::vector<Algorithm> &algorithms) {
    Member m;
    m.name = name;
    m.candidate = candidate;
    m.failure = {"refused", "no algorithm has the variant as its main stage"};
    for (Algorithm algorithm : algorithms) {
        PlanOptions options;
        options.algorithm = algorithm;
        options.variant = name;
        options.threads = threads;
        options.accuracy = Accuracy::kRelaxed;
        const Result<Plan> plan = Plan::create(problem, options);
        if (!plan) {
            m.failure.text = plan.status().message();
        } else if (plan->variant() == name) {
            m.algorithm = algorithm;
            m.choice = plan->choice();
            m.predicted = plan->predicted_seconds();
            m.workspace = plan->workspace_bytes();
            m.packed = plan->packed_filter_bytes();
            m.failure = {};
            break;
        }
    }
    return m;
}

struct Problem {
    Conv2dProblem problem;
    std::string key;  ///< in the journal
    std::vector<Member> members;  ///< built-in ones first

    double least_prediction() const {
        double least = std::numeric_limits<double>::infinity();
        for (const Member &m : members) {
            least = m.failure ? least : std::min(least, m.predicted);
        }
        return least;
    }
};

JudgedField field_of(const Problem &problem, const Flags &flags, const std::string &variants) {
    std::vector<JudgedField::Member> members;
    for (const Member &m : problem.members) {
        members.push_back({m.algorithm, m.choice, m.predicted, static_cast<double>(m.packed) + static_cast<double>(m.workspace)});
    }
    JudgedField::Options field;
    field.threads = flags.threads;
    field.seed = flags.seed;
    field.ready_seconds = flags.time_limit;
    field.variants = variants;
    return JudgedField(problem.problem, members, field);
}

/// What beats the built-in variants: its parameters, and where by how much.
using Winners = std::map<std::string, std::vector<std::pair<std::string, double>>>;

fs::path build_directory(const Flags &flags) {
    std::error_code error;
    return flags.build.empty() ? fs::canonical("/proc/self/exe", error).parent_path().parent_path() : fs::path(flags.build);
}

/// What the build says of its generators: "list", the list of variants, and "hashes", of the sources of each stage and target.
Result<Json> read_generators(const Flags &flags) {
    const Result<std::string> text = read_file((build_directory(flags) / "kernels" / "search.json").string());
    if (!text) {
        return bad("schedules are searched in a build directory, where the generators are (--build): " + text.status().message());
    }
    Json info = Json::parse(*text, nullptr, false);
    for (const std::string &stage : flags.stages) {
        if (info.is_discarded() || !info["list"]["stages"].contains(stage)) {
            return bad("there is no stage '" + stage + "'; fourfold list shows them");
        }
    }
    return info;
}

Result<std::vector<Conv2dProblem>> read_problems(const Flags &flags) {
    std::vector<Conv2dProblem> problems;
    for (const std::string &line : flags.problems) {
        const Result<Conv2dProblem> problem = parse_valid_problem(line);
        if (!problem) {
            return problem.status();
        }
        problems.push_back(*problem);
    }
    if (!flags.shapes.empty()) {
        const Result<std::vector<Shape>> shapes = read_shapes(flags.shapes);
        if (!shapes) {
            return shapes.status();
        }
        for (const Shape &shape : *shapes) {
            problems.push_back(shape.problem);
        }
    }
    if (problems.empty()) {
        return bad("no problem is given; --problem or --shapes");
    }
    return problems;
}

class Search {
public:
    Search(const Flags &flags, const Json &generators, const std::vector<Conv2dProblem> &problems)
        : flags_(flags), start_(now()), build_(build_directory(flags)), generators_(generators), given_(problems) {
    }
    ~Search() {
        std::error_code ignored;
        fs::remove(variants_, ignored);
    }
    Search(const Search &) = delete;
    Search &operator=(const Search &) = delete;

    Status run() {
        for (Status (Search::*step)() : {&Search::read_space, &Search::plan_problems, &Search::prune, &Search::compile, &Search::open_journal}) {
            if (Status status = (this->*step)(); !status) {
                return status;
            }
        }
        size_t done = 0;
        for (; done < problems_.size() && !is_stopped() && (flags_.budget <= 0.0 || left() > 0.0); ++done) {
            if (Status status = contest(problems_[done], left() / static_cast<double>(problems_.size() - done)); !status) {
                return status;
            }
        }
        print_winners();
        if (is_stopped()) {
            return {StatusCode::kInternal, "interrupted; continue with --resume"};
        }
        if (done < problems_.size()) {
            fmt::print("the budget is spent: {} of {} problems; continue with --resume\n", done, problems_.size());
        }
        return {};
    }

    const Winners &winners() const {
        return winners_;
    }

private:
    /// Seconds of the budget; not positive without one.
    double left() const {
        return flags_.budget > 0.0 ? flags_.budget - (now() - start_) : 0.0;
    }

    Status read_space() {
        std::error_code error;
        const std::string isa = machine().isa;
        target_ = generators_["list"]["targets"][isa];
        cache_ = fs::path(flags_.cache.empty() ? (build_ / "search").string() : flags_.cache) / (flags_.stage + "_" + isa + "_" + generators_["hashes"][flags_.stage][isa].get<std::string>());
        fs::create_directories(cache_, error);
        if (error) {
            return Status(StatusCode::kInternal, "cannot make the folder " + cache_.string() + ": " + error.message());
        }
        Result<FileLock> lock = FileLock::take((cache_ / "lock").string(), "the cache of " + flags_.stage);
        if (!lock) {
            return lock.status();
        }
        lock_.emplace(std::move(*lock));
        variants_ = (cache_ / fmt::format("variants.{}", getpid())).string();
        for (const Variant *v : variants_of(flags_.stage.c_str())) {
            built_in_.push_back(v->name);
        }
        const std::vector<std::string> points = points_of(generators_["list"], flags_.stage, flags_);
        for (const std::string &parameters : points) {
            add_point(parameters, isa);
        }
        return !points.empty() ? Status() : bad("--where leaves nothing of the space of " + flags_.stage);
    }

    void add_point(const std::string &parameters, const std::string &isa) {
        std::string suffix;
        for (char letter : parameters) {
            suffix += letter == ' ' ? "_" : letter == '=' ? ""
                                                          : std::string(1, letter);
        }
        auto c = std::make_unique<Candidate>();
        c->parameters = parameters;
        c->name = flags_.stage + "_" + isa + "_" + suffix;
        c->symbol = "fourfold_" + c->name;
        c->library = (cache_ / (suffix + ".so")).string();
        c->object = (cache_ / (suffix + ".o")).string();
        c->log = (cache_ / (suffix + ".log")).string();
        // The hash is written in place when it is known, as long as any.
        c->hash.assign(hash_text("").size(), '0');
        const Variant variant = {flags_.stage.c_str(), best_isa(), c->parameters.c_str(), c->name.c_str(), call_nothing, c->hash.c_str()};
        if (std::find(built_in_.begin(), built_in_.end(), c->name) == built_in_.end() && fits_registers(variant)) {
            add_variant(variant);
            candidates_.push_back(std::move(c));
        }
    }

    Status plan_problems() {
        PlanOptions options;
        options.accuracy = Accuracy::kRelaxed;
        options.threads = flags_.threads;
        std::set<std::string> seen;
        for (const Conv2dProblem &given : given_) {
            Problem p;
            p.problem = tuning_problem(given);
            p.key = record_key(make_record(p.problem, options, ""));
            if (!seen.insert(p.key).second) {
                continue;
            }
            // The algorithms whose main stage this is, where it can do the problem at all, are those that take a built-in variant.
            std::vector<Algorithm> algorithms;
            for (const std::string &name : built_in_) {
                p.members.push_back(plan_member(p.problem, name, nullptr, flags_.threads, compared_algorithms()));
                const Member &m = p.members.back();
                if (!m.failure && std::find(algorithms.begin(), algorithms.end(), m.algorithm) == algorithms.end()) {
                    algorithms.push_back(m.algorithm);
                }
            }
            for (const auto &c : candidates_) {
                p.members.push_back(plan_member(p.problem, c->name, c.get(), flags_.threads, algorithms));
            }
            problems_.push_back(std::move(p));
        }
        return {};
    }

    /// Leaves the candidates that have a chance with some problem, at most `trials` of them: the likeliest.
    Status prune() {
        std::map<const Candidate *, double> chance;
        for (const Problem &p : problems_) {
            const double least = p.least_prediction();
            for (const Member &m : p.members) {
                if (m.candidate != nullptr && !m.failure && m.predicted <= flags_.hopeless * least) {
                    double &c = chance.emplace(m.candidate, std::numeric_limits<double>::infinity()).first->second;
                    c = std::min(c, m.predicted / least);
                }
            }
        }
        for (const auto &c : candidates_) {
            if (chance.count(c.get()) != 0) {
                tried_.push_back(c.get());
            }
        }
        std::stable_sort(tried_.begin(), tried_.end(), [&](const Candidate *a, const Candidate *b) { return chance[a] < chance[b]; });
        if (flags_.trials > 0 && tried_.size() > static_cast<size_t>(flags_.trials)) {
            tried_.resize(static_cast<size_t>(flags_.trials));
        }
        return {};
    }

    /// In the cache, whole or not at all.
    int compile_one(const Candidate &c) const {
        const std::string work = c.library + ".tmp", log = work + "/log";
        std::error_code error;
        fs::create_directories(work, error);
        const auto program = [&](const std::vector<std::string> &command) {
            std::vector<char *> arguments;
            for (const std::string &argument : command) {
                arguments.push_back(const_cast<char *>(argument.c_str()));
            }
            arguments.push_back(nullptr);
            return in_child(600, [&] {
                if (std::freopen(log.c_str(), "w", stderr) == nullptr) {
                    return 1;
                }
                execvp(arguments[0], arguments.data());
                return 127;
            });
        };
        std::vector<std::string> generate = {(build_ / ("generate_" + flags_.stage)).string(), "-g", flags_.stage, "-f", c.symbol, "-n", c.symbol, "-e", "object", "-o", work, "target=" + target_ + "-no_runtime-user_context"};
        for (std::string_view word : split(c.parameters, ' ')) {
            generate.emplace_back(word);
        }
        int status = program(generate);
        const std::string object = work + "/" + c.symbol + ".o";
        if (status == 0) {
            status = program({"ld", "-shared", "-Bsymbolic", "-o", work + "/candidate.so", object, (build_ / "kernels" / "candidate_runtime.o").string()});
        }
        if (status == 0) {
            fs::rename(object, c.object, error);
            fs::rename(work + "/candidate.so", c.library, error);
            fs::remove(c.log, error);
        } else {
            // Only now: where this process is killed, the candidate has not failed.
            fs::rename(log, c.log, error);
        }
        fs::remove_all(work, error);
        return status == 0 ? 0 : 1;
    }

    /// Half of the budget is for compiling, as far as it goes.
    Status compile() {
        std::vector<Candidate *> missing;
        for (Candidate *c : tried_) {
            const bool there = fs::exists(c->library) && fs::exists(c->object);
            c->failed = !there && flags_.resume && fs::exists(c->log);
            if (!there && !c->failed) {
                missing.push_back(c);
            }
        }
        fmt::print("{} of {}: {} built in, {} candidates, {} of them to compile{}\n", flags_.stage, machine().isa, built_in_.size(), tried_.size(), missing.size(),
                   tried_.size() < candidates_.size() ? fmt::format("; {} more are left out, refused or unlikely", candidates_.size() - tried_.size()) : "");
        std::fflush(stdout);
        const int jobs = flags_.jobs > 0 ? flags_.jobs : machine().hardware_threads;
        std::map<pid_t, Candidate *> running;
        const auto wait_one = [&] {
            int status = 0;
            const pid_t child = wait(&status);
            if (running.count(child) > 0) {
                running[child]->failed = status != 0;
                running.erase(child);
            }
        };
        for (Candidate *c : missing) {
            while (static_cast<int>(running.size()) >= jobs) {
                wait_one();
            }
            if (is_stopped() || (flags_.budget > 0.0 && left() < 0.5 * flags_.budget)) {
                break;
            }
            std::fflush(nullptr);
            const pid_t child = fork_bound(SIGKILL);
            if (child == 0) {
                // Ctrl-C goes to the whole group; what is compiling is finished.
                std::signal(SIGINT, SIG_IGN);
                _exit(compile_one(*c));
            }
            if (child < 0) {
                return Status(StatusCode::kInternal, "cannot start a process");
            }
            running[child] = c;
        }
        while (!running.empty()) {
            wait_one();
        }
        return read_objects();
    }

    /// Their hashes, as the build hashes what it compiles; and what other processes need to know of them.
    Status read_objects() {
        std::vector<CompiledVariant> list;
        for (Candidate *c : tried_) {
            if (c->failed || !fs::exists(c->library) || !fs::exists(c->object)) {
                continue;
            }
            const Result<std::string> object = read_file(c->object);
            if (!object) {
                return object.status();
            }
            const std::string hash = hash_text(*object);
            std::copy(hash.begin(), hash.end(), c->hash.begin());
            c->compiled = true;
            list.push_back({flags_.stage, c->parameters, c->name, c->hash, c->library});
        }
        return write_compiled_variants(variants_, list);
    }

    Status open_journal() {
        journal_.emplace((cache_ / "journal").string());
        if (flags_.resume) {
            return journal_->load().status();
        }
        std::error_code ignored;
        fs::remove(journal_->path(), ignored);
        return {};
    }

    /// Who can be timed, built in or not, with what an earlier run left; others with their failure.
    std::vector<size_t> entrants(Problem &problem, bool built_in) const {
        std::vector<size_t> list;
        const double least = problem.least_prediction();
        for (size_t i = 0; i < problem.members.size(); ++i) {
            Member &m = problem.members[i];
            if (m.failure || (m.candidate == nullptr) != built_in) {
                continue;
            }
            if (m.candidate != nullptr && m.candidate->failed) {
                const Result<std::string> log = read_file(m.candidate->log);
                m.failure = {"compile", log ? log->substr(0, log->find('\n')) : ""};
                continue;
            }
            if (m.candidate != nullptr && (!m.candidate->compiled || m.predicted > flags_.hopeless * least)) {
                continue;
            }
            const Journal::Left left = journal_->left(problem.key, m.choice);
            m.samples = left.samples;
            m.failure = left.failure.empty() ? Failure() : Failure{left.failure, "in an earlier run"};
            if (!m.failure) {
                list.push_back(i);
            }
        }
        return list;
    }

    Status contest(Problem &problem, double budget) {
        fmt::print("\n{}\n", problem.problem.to_string());
        std::fflush(stdout);
        JudgedField field = field_of(problem, flags_, variants_);
        if (!field.ok()) {
            return Status(StatusCode::kResourceExhausted, "memory ran out for the arrays of '" + problem.problem.to_string() + "'");
        }
        Status written;
        SearchOptions options;
        options.clock = now;
        options.stopped = [&] { return is_stopped() || !written; };
        options.stage_seconds = kStageSeconds;
        options.seed = flags_.seed;
        options.hopeless = flags_.hopeless;
        std::vector<size_t> ids;
        std::vector<SearchCandidate> list;
        const auto enter = [&](size_t i, bool incumbent) {
            const Member &m = problem.members[i];
            ids.push_back(i);
            list.push_back({to_string(m.algorithm), m.predicted, m.workspace, incumbent, m.samples, false});
        };
        const Cost cost = [&](size_t i) {
            Member &m = problem.members[ids[i]];
            double sample = -1.0;
            if (Failure failure = field.sample(ids[i], sample)) {
                if (failure.kind != "stopped") {
                    m.failure = failure;
                    written = journal_->failure(problem.key, m.choice, failure);
                }
                return -1.0;
            }
            m.samples.push_back(sample);
            written = journal_->sample(problem.key, m.choice, sample);
            return sample;
        };
        // The best of those built in is what has to be beaten.
        for (size_t i : entrants(problem, true)) {
            enter(i, false);
        }
        options.budget = budget / 4;
        const double begin = now();
        const SearchResult base = find_fastest(list, options, cost);
        const Member *rival = nullptr;
        const std::vector<size_t> built_in = std::move(ids);
        ids.clear();
        list.clear();
        if (base.best >= 0) {
            const size_t best = built_in[static_cast<size_t>(base.best)];
            rival = &problem.members[best];
            enter(best, true);
        }
        for (size_t i : entrants(problem, false)) {
            enter(i, false);
        }
        for (const Member &m : problem.members) {
            if (m.failure && m.failure.kind == "compile") {
                written = written ? journal_->failure(problem.key, m.choice, m.failure) : written;
            }
        }
        SearchResult found;
        if (list.size() > (rival != nullptr ? 1u : 0u)) {
            ConfirmOptions confirmation;
            confirmation.tie = flags_.margin;
            confirmation.refresh = [&] { field.refresh(); };
            options.budget = budget > 0.0 ? std::max(1e-9, budget - (now() - begin)) : 0.0;
            found = find_winner(list, options, confirmation, cost);
        }
        if (!written) {
            return written;
        }
        const double least = rival != nullptr ? rival->seconds() : std::numeric_limits<double>::infinity();
        print_times(problem, least);
        const Member *winner = found.best < 0 ? nullptr : &problem.members[ids[static_cast<size_t>(found.best)]];
        if (winner != nullptr && winner->candidate != nullptr && !is_stopped()) {
            winners_[winner->candidate->parameters].push_back({problem.problem.to_string(), winner->seconds() / least});
        } else if (!is_stopped() && !found.complete && !list.empty()) {
            fmt::print("  the search is not complete; --resume goes on\n");
        }
        return {};
    }

    /// Failures by class, then all times.
    void print_times(const Problem &problem, double least) const {
        std::map<std::string, int> count;
        std::vector<const Member *> timed;
        for (const Member &m : problem.members) {
            const bool tried = m.failure || !m.samples.empty();
            if (m.candidate != nullptr && tried) {
                count[m.failure ? m.failure.kind : "ok"]++;
            }
            if (m.failure && m.failure.kind != "refused") {
                fmt::print("  {}: {}, {}\n", m.name, m.failure.kind, m.failure.text);
            } else if (std::isfinite(m.seconds())) {
                timed.push_back(&m);
            }
        }
        for (const auto &[kind, n] : count) {
            fmt::print("  {} {}\n", n, kind);
        }
        std::stable_sort(timed.begin(), timed.end(), [](const Member *a, const Member *b) { return a->seconds() < b->seconds(); });
        const Table table({{"ms", 10}, {"of best built-in", 16}, {"samples", 7}, {"hash", 16, true}, {"variant", 0, true}});
        fmt::print("{}", table.header());
        for (const Member *m : timed) {
            fmt::print("{}", table.row({milliseconds_text(m->seconds()), fmt::format("{:.3f}", m->seconds() / least), std::to_string(m->samples.size()), variant_hash(m->name), m->name + (m->candidate == nullptr ? " (built in)" : "")}));
        }
        std::fflush(stdout);
    }

    void print_winners() const {
        fmt::print("\nwinners, for \"{}\" / \"{}\" in schedules/cpu/variants.json:{}\n", flags_.stage, machine().isa, winners_.empty() ? " none; the built-in variants stand" : "");
        for (const auto &[parameters, wins] : winners_) {
            fmt::print("\"{}\"", parameters);
            for (const auto &[problem, ratio] : wins) {
                fmt::print("   {:.3f} on {}", ratio, problem);
            }
            fmt::print("\n");
        }
    }

    const Flags flags_;
    const double start_;
    const fs::path build_;
    const Json &generators_;
    const std::vector<Conv2dProblem> &given_;
    fs::path cache_;
    std::optional<FileLock> lock_;  ///< of the cache
    std::string target_, variants_;
    std::vector<std::string> built_in_;
    std::vector<std::unique_ptr<Candidate>> candidates_;
    std::vector<Candidate *> tried_;  ///< the likeliest first
    std::vector<Problem> problems_;
    std::optional<Journal> journal_;
    Winners winners_;
};

/// The stages that may be a plan's main one for some problem, and not hopeless there, where the space has points to choose from.
std::vector<std::string> main_stages(const Flags &flags, const Json &list, const std::vector<Conv2dProblem> &problems) {
    std::vector<std::string> left;
    for (const auto &[stage, entry] : list["stages"].items()) {
        if (points_of(list, stage, flags).size() > 1) {
            left.push_back(stage);
        }
    }
    std::vector<std::string> likely;
    for (const Conv2dProblem &problem : problems) {
        PlanOptions options;
        options.threads = flags.threads;
        options.accuracy = Accuracy::kRelaxed;
        double least = std::numeric_limits<double>::infinity();
        for (Algorithm algorithm : compared_algorithms()) {
            options.algorithm = algorithm;
            const Result<Plan> plan = Plan::create(tuning_problem(problem), options);
            least = plan ? std::min(least, plan->predicted_seconds()) : least;
        }
        const auto is_likely = [&](const std::string &stage) {
            const std::vector<const Variant *> variants = variants_of(stage.c_str());
            return std::any_of(variants.begin(), variants.end(), [&](const Variant *v) {
                const Member m = plan_member(tuning_problem(problem), v->name, nullptr, flags.threads, compared_algorithms());
                return !m.failure && m.predicted <= flags.hopeless * least;
            });
        };
        const auto rest = std::stable_partition(left.begin(), left.end(), is_likely);
        likely.insert(likely.end(), left.begin(), rest);
        left.erase(left.begin(), rest);
    }
    return likely;
}

/// Searches one stage in a child; what it wins comes back through a pipe.
Status search_stage(const Flags &flags, const Json &generators, const std::vector<Conv2dProblem> &problems, Winners &winners) {
    int ends[2];
    if (pipe(ends) != 0) {
        return Status(StatusCode::kInternal, std::string("cannot make a pipe: ") + std::strerror(errno));
    }
    std::fflush(nullptr);
    const pid_t child = fork_bound(SIGTERM);
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return Status(StatusCode::kInternal, "cannot start a process");
    }
    if (child == 0) {
        close(ends[0]);
        bool sent = false;
        {
            Search search(flags, generators, problems);
            const Status status = search.run();
            const std::string found = Json{{"code", static_cast<int>(status.code())}, {"message", status.message()}, {"winners", search.winners()}}.dump(-1, ' ', false, Json::error_handler_t::replace);
            size_t done = 0;
            for (ssize_t n = 1; done < found.size() && n > 0; done += static_cast<size_t>(std::max<ssize_t>(n, 0))) {
                n = write(ends[1], found.data() + done, found.size() - done);
            }
            sent = done == found.size();
        }
        std::fflush(nullptr);
        _exit(sent ? 0 : 1);
    }
    close(ends[1]);
    std::string found;
    char bytes[4096];
    for (ssize_t n = 0; (n = read(ends[0], bytes, sizeof bytes)) > 0 || (n < 0 && errno == EINTR);) {
        found.append(bytes, static_cast<size_t>(std::max<ssize_t>(n, 0)));
        if (is_stopped()) {
            kill(child, SIGTERM);  // a SIGTERM to us alone; the child then sends what it has
        }
    }
    close(ends[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    const Json answer = Json::parse(found, nullptr, false);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || answer.is_discarded()) {
        return Status(StatusCode::kInternal, "the search of " + flags.stage + " ended by itself; continue with --resume");
    }
    winners = answer["winners"].get<Winners>();
    return Status(static_cast<StatusCode>(answer["code"].get<int>()), answer["message"].get<std::string>());
}

/// The build's list with what was found.
Status write_list(const Flags &flags, Json list, const std::map<std::string, Winners> &winners) {
    size_t added = 0, all = 0;
    for (const auto &[stage, found] : winners) {
        for (const auto &[parameters, where] : found) {
            list["stages"][stage][machine().isa].push_back(parameters);
            ++added;
        }
    }
    for (const auto &[stage, entry] : list["stages"].items()) {
        for (const char *isa : {"avx512", "avx2", "generic"}) {
            all += entry.contains(isa) ? entry[isa].size() : 0;
        }
    }
    if (Status status = write_file(flags.write, list_text(list)); !status) {
        return status;
    }
    const size_t budget = list["budget"].value("variants", all);
    fmt::print("\n{}: {} variants added, {} in all; build it with -DFOURFOLD_VARIANTS={}, then tune\n", flags.write, added, all, flags.write);
    if (all > budget) {
        fmt::print("they are more than the {} that the list allows itself (\"budget\"): raise it, tune, and leave the few that matter with fourfold tables reduce\n", budget);
    }
    return {};
}

Status search(Flags flags) {
    ignore_environment(true);
    stop_on_signals();
    const double start = now();
    const Result<Json> generators = read_generators(flags);
    if (!generators) {
        return generators.status();
    }
    const Result<std::vector<Conv2dProblem>> problems = read_problems(flags);
    if (!problems) {
        return problems.status();
    }
    if (Status status = flags.write.empty() ? Status() : check_writable(flags.write); !status) {
        return status;
    }
    if (flags.stages.empty()) {
        flags.stages = main_stages(flags, (*generators)["list"], *problems);
        if (flags.stages.empty()) {
            return bad("no stage of these problems' plans has schedules to search" + std::string(flags.where.empty() ? "" : " that --where leaves"));
        }
    }
    std::map<std::string, Winners> winners;
    Status searched;
    for (size_t i = 0; i < flags.stages.size() && searched; ++i) {
        Flags one = flags;
        one.stage = flags.stages[i];
        // What earlier stages left of the budget serves the later ones.
        one.budget = flags.budget > 0.0 ? std::max(1e-9, (flags.budget - (now() - start)) / static_cast<double>(flags.stages.size() - i)) : 0.0;
        searched = search_stage(one, *generators, *problems, winners[one.stage]);
        if (i + 1 < flags.stages.size()) {
            fmt::print("\n");
        }
    }
    // What was found before an interruption or a failure is not lost.
    const Status written = flags.write.empty() ? Status() : write_list(flags, (*generators)["list"], winners);
    return searched ? written : searched;
}

}  // namespace

Action add_search(CLI::App &verb) {
    auto flags = std::make_shared<Flags>();
    verb.add_option("--stage", flags->stages, "the stage whose schedules are searched, such as gemm; may be repeated; default: the main stages of the problems' likely plans");
    verb.add_option("--problem", flags->problems, "a problem to search for; may be repeated");
    verb.add_option("--shapes", flags->shapes, "CSV file of problems");
    verb.add_option("--write", flags->write, "the list of variants with the winners, for -DFOURFOLD_VARIANTS=");
    verb.add_option("--where", flags->where, "only points of the space with this value, such as m=4; may be repeated");
    verb.add_option("--build", flags->build, "build directory with the generators; default: this program's");
    verb.add_option("--cache", flags->cache, "folder for compiled candidates; default: search/ in the build directory");
    verb.add_option("--jobs", flags->jobs, "compilations at a time; 0 is one per hardware thread")->check(CLI::Range(0, 4096));
    verb.add_option("--threads", flags->threads, "of the timed plans")->check(CLI::Range(1, 4096))->capture_default_str();
    verb.add_option("--budget", flags->budget, "time for all: 90s, 10m, 2h, shared by the stages; compiling gets at most half (default: none)")
        ->transform(CLI::AsNumberWithUnit(std::map<std::string, double>{{"s", 1.0}, {"m", 60.0}, {"h", 3600.0}}, CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"))
        ->check(CLI::Range(0.0, 1e6));
    verb.add_option("--trials", flags->trials, "at most so many candidates, the likeliest (0: all that are not hopeless)")->check(CLI::Range(0, 100000));
    verb.add_option("--hopeless", flags->hopeless, "candidates predicted so many times slower than the best are not compiled")->check(CLI::Range(1.0, 1e9))->capture_default_str();
    verb.add_flag("--resume", flags->resume, "continue what was interrupted: samples taken and failures are kept");
    verb.add_option("--time-limit", flags->time_limit, "seconds that a candidate may take")->check(CLI::Range(1.0, 3600.0))->capture_default_str();
    verb.add_option("--margin", flags->margin, "share by which a winner must beat the best built-in variant")->check(CLI::Range(0.0, 1.0))->capture_default_str();
    verb.add_option("--seed", flags->seed, "of the data")->capture_default_str();
    return [flags] { return search(*flags); };
}

}  // namespace fourfold::cli
