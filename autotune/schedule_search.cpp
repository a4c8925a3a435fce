// fourfold search: schedules of one stage, from its declared space (schedules/cpu/variants.json) to lines for that list.
//
// Every point of the space is planned, and those that the cost model calls hopeless are left out. The others are compiled by the
// stage's generator, several at a time and each only once (the cache is keyed by the hash of sources, target and Halide's version,
// and by the parameters); nothing is timed while anything compiles. Then they are candidates as those of tune are: in other
// processes (judged_field.h), checked before they are timed, by the same search (search.h) against the best built-in variant,
// in the plan itself; and what is learnt goes into a journal, from which --resume goes on.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
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

namespace fourfold::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Flags {
    std::string stage, build, cache;
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
    const pid_t child = fork();
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
Member plan_member(const Conv2dProblem &problem, const std::string &name, Candidate *candidate, int threads) {
    Member m;
    m.name = name;
    m.candidate = candidate;
    m.failure = {"refused", "no algorithm has the variant as its main stage"};
    for (Algorithm algorithm : compared_algorithms()) {
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

class Search {
public:
    explicit Search(const Flags &flags)
        : flags_(flags), start_(now()) {
    }
    ~Search() {
        std::error_code ignored;
        fs::remove(variants_, ignored);
    }
    Search(const Search &) = delete;
    Search &operator=(const Search &) = delete;

    Status run() {
        for (Status (Search::*step)() : {&Search::read_space, &Search::read_problems, &Search::prune, &Search::compile, &Search::open_journal}) {
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

private:
    /// Seconds of the budget; not positive without one.
    double left() const {
        return flags_.budget > 0.0 ? flags_.budget - (now() - start_) : 0.0;
    }

    Status read_space() {
        std::error_code error;
        const fs::path exe = fs::canonical("/proc/self/exe", error);
        build_ = flags_.build.empty() ? exe.parent_path().parent_path() : fs::path(flags_.build);
        const Result<std::string> text = read_file((build_ / "kernels" / "search.json").string());
        if (!text) {
            return bad("schedules are searched in a build directory, where the generators are (--build): " + text.status().message());
        }
        const Json info = Json::parse(*text, nullptr, false);
        if (info.is_discarded() || !info["list"]["stages"].contains(flags_.stage)) {
            return bad("there is no stage '" + flags_.stage + "'; fourfold list shows them");
        }
        const std::string isa = machine().isa;
        target_ = info["list"]["targets"][isa];
        cache_ = fs::path(flags_.cache.empty() ? (build_ / "search").string() : flags_.cache) / (flags_.stage + "_" + isa + "_" + info["hashes"][flags_.stage][isa].get<std::string>());
        fs::create_directories(cache_, error);
        if (error) {
            return Status(StatusCode::kInternal, "cannot make the folder " + cache_.string() + ": " + error.message());
        }
        variants_ = (cache_ / fmt::format("variants.{}", getpid())).string();
        for (const Variant *v : variants_of(flags_.stage.c_str())) {
            built_in_.push_back(v->name);
        }
        bool any = false;
        for (const std::string &parameters : combinations(info["list"]["stages"][flags_.stage]["space"])) {
            const std::vector<std::string_view> words = split(parameters, ' ');
            if (std::all_of(flags_.where.begin(), flags_.where.end(), [&](const std::string &w) { return std::find(words.begin(), words.end(), w) != words.end(); })) {
                any = true;
                add_point(parameters, isa);
            }
        }
        return any ? Status() : bad("--where leaves nothing of the space of " + flags_.stage);
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

    Status read_problems() {
        std::vector<Conv2dProblem> problems;
        for (const std::string &line : flags_.problems) {
            const Result<Conv2dProblem> problem = parse_valid_problem(line);
            if (!problem) {
                return problem.status();
            }
            problems.push_back(*problem);
        }
        if (!flags_.shapes.empty()) {
            const Result<std::vector<Shape>> shapes = read_shapes(flags_.shapes);
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
        PlanOptions options;
        options.accuracy = Accuracy::kRelaxed;
        options.threads = flags_.threads;
        std::set<std::string> seen;
        for (const Conv2dProblem &given : problems) {
            Problem p;
            p.problem = tuning_problem(given);
            p.key = record_key(make_record(p.problem, options, ""));
            if (!seen.insert(p.key).second) {
                continue;
            }
            for (const std::string &name : built_in_) {
                p.members.push_back(plan_member(p.problem, name, nullptr, flags_.threads));
            }
            for (const auto &c : candidates_) {
                p.members.push_back(plan_member(p.problem, c->name, c.get(), flags_.threads));
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
        const std::string work = c.library + ".tmp";
        std::error_code error;
        fs::create_directories(work, error);
        const auto program = [&](const std::vector<std::string> &command) {
            std::vector<char *> arguments;
            for (const std::string &argument : command) {
                arguments.push_back(const_cast<char *>(argument.c_str()));
            }
            arguments.push_back(nullptr);
            return in_child(600, [&] {
                if (std::freopen(c.log.c_str(), "w", stderr) == nullptr) {
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
            const pid_t child = fork();
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
    fs::path build_, cache_;
    std::string target_, variants_;
    std::vector<std::string> built_in_;
    std::vector<std::unique_ptr<Candidate>> candidates_;
    std::vector<Candidate *> tried_;  ///< the likeliest first
    std::vector<Problem> problems_;
    std::optional<Journal> journal_;
    std::map<std::string, std::vector<std::pair<std::string, double>>> winners_;
};

Status search(const Flags &flags) {
    ignore_environment(true);
    stop_on_signals();
    return Search(flags).run();
}

}  // namespace

Action add_search(CLI::App &verb) {
    auto flags = std::make_shared<Flags>();
    verb.add_option("--stage", flags->stage, "the stage whose schedules are searched, such as gemm")->required();
    verb.add_option("--problem", flags->problems, "a problem to search for; may be repeated");
    verb.add_option("--shapes", flags->shapes, "CSV file of problems");
    verb.add_option("--where", flags->where, "only points of the space with this value, such as m=4; may be repeated");
    verb.add_option("--build", flags->build, "build directory with the generators; default: this program's");
    verb.add_option("--cache", flags->cache, "folder for compiled candidates; default: search/ in the build directory");
    verb.add_option("--jobs", flags->jobs, "compilations at a time; 0 is one per hardware thread")->check(CLI::Range(0, 4096));
    verb.add_option("--threads", flags->threads, "of the timed plans")->check(CLI::Range(1, 4096))->capture_default_str();
    verb.add_option("--budget", flags->budget, "time for all: 90s, 10m, 2h, of which compiling gets at most half (default: none)")
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
