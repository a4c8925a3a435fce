// fourfold search: schedules of stages, from their declared spaces (schedules/cpu/variants.json) to lines for that list, which --write
// adds to a copy of it: the next build's variants.
//
// One stage after the other is searched, each in a process of its own, since plans must not meet another stage's candidates. Every
// point of the space is planned, and those that the cost model calls hopeless are left out. The others are compiled by the
// stage's generator, several at a time and each only once (the cache is keyed by the hash of sources, target and Halide's version,
// and by the parameters); nothing is timed while anything compiles. Then they are candidates as those of tune are: in other
// processes (judged_field.h), checked before they are timed, by the same search (search.h) against the best built-in variant,
// in the plan itself; and what is learnt goes into a journal, from which --resume goes on.
//
// A schedule may need others: what "goes_with" its stage, of the same size, is compiled with it and is a part of it (tile_inverse of
// tile_forward). Two stages of one plan whose times depend on each other are searched together as "tile_forward+tile_product": every
// combination that the planner makes is a candidate then. im2col and gemm are no such pair: im2col reads gemm's tile at run time.
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
#include "cover.h"
#include "files.h"
#include "fourfold/tuning.h"
#include "judged_field.h"
#include "own_process.h"
#include "records.h"
#include "registry.h"
#include "search.h"
#include "shapes.h"
#include "table.h"
#include "tables_reduce.h"
#include "text.h"
#include "variant_list.h"

namespace fourfold::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Flags {
    std::vector<std::string> stages;
    std::string stage;  ///< the one of these that is being searched, or the pair
    std::string build, cache, write, curve;
    std::vector<std::string> problems, where;
    std::string shapes;
    int jobs = 0, threads = 1, trials = 0;
    bool resume = false;
    double time_limit = 20.0, budget = 0.0, hopeless = 3.0, margin = 0.02;
    uint64_t seed = 1;
};

/// One point of the space. The registry points into it, so it stays where it is.
struct Candidate {
    std::string stage, parameters, name, symbol, library, object;
    std::vector<Candidate *> needs;  ///< what goes with it, and is not built in
    std::string log;         ///< what its generator said when it failed
    std::string hash = "0";  ///< of the object, once there is one
    bool compiled = false, failed = false;
};

/// What the planner holds until the candidate's own process calls the compiled one.
int call_nothing(void **) {
    return -1;
}

/// The combinations of a space in the order of its keys: "m=1 n=1", "m=1 n=2", ... A parameter that is null in one is left out of
/// its variant's name.
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

/// "tile_forward+tile_product" in parts.
std::vector<std::string> stages_in(const std::string &stage) {
    const std::vector<std::string_view> parts = split(stage, '+');
    return {parts.begin(), parts.end()};
}

/// The points of a stage's space that --where leaves. Of a pair a stage may lack the parameter.
std::vector<std::string> points_of(const Json &list, const std::string &stage, const Flags &flags, bool paired = false) {
    const Json &space = list["stages"][stage]["space"];
    std::vector<std::string> points = combinations(space);
    const auto is_left_out = [&](const std::string &parameters) {
        const std::vector<std::string_view> words = split(parameters, ' ');
        return !std::all_of(flags.where.begin(), flags.where.end(), [&](const std::string &w) { return (paired && !space.contains(w.substr(0, w.find('=')))) || std::find(words.begin(), words.end(), w) != words.end(); });
    };
    points.erase(std::remove_if(points.begin(), points.end(), is_left_out), points.end());
    for (std::string &point : points) {
        std::string named;
        for (const std::string_view word : split(point, ' ')) {
            if (word.substr(word.find('=') + 1) != "null") {
                named += (named.empty() ? "" : " ") + std::string(word);
            }
        }
        point = named;
    }
    return points;
}

/// Whether a register tile's accumulators leave room for operands, and a transform's two loops divide it; other stages always fit.
bool fits(const Variant &v) {
    if (const int by = v.parameter("by", 0); by > 0) {
        const int t = v.parameter("t", 0);
        return t % by == 0 && t > by;
    }
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

/// A variant in a plan of one problem, or a pair of them.
struct Member {
    std::string name;
    std::vector<Candidate *> candidates = {};  ///< those in it; empty: all built in
    Algorithm algorithm = Algorithm::kAuto;
    std::string choice;
    double predicted = 0.0;
    uint64_t workspace = 0, packed = 0;
    Failure failure;
    std::vector<double> samples;

    bool built_in() const {
        return candidates.empty();
    }
    double seconds() const {
        return failure || samples.empty() ? std::numeric_limits<double>::infinity() : *std::min_element(samples.begin(), samples.end());
    }
};

/// The plan that takes this variant as its main stage; the member's failure says why there is none.
Member plan_member(const Conv2dProblem &problem, const std::string &name, Candidate *candidate, int threads, const std::vector<Algorithm> &algorithms) {
    Member m;
    m.name = name;
    if (candidate != nullptr) {
        m.candidates = {candidate};
    }
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

/// What beats the built-in variants: by stage its parameters, and where by how much.
using Winners = std::map<std::string, std::map<std::string, std::vector<std::pair<std::string, double>>>>;

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
    for (const std::string &given : flags.stages) {
        const std::vector<std::string> stages = stages_in(given);
        for (const std::string &stage : stages) {
            if (info.is_discarded() || !info["list"]["stages"].contains(stage)) {
                return bad("there is no stage '" + stage + "'; fourfold list shows them");
            }
        }
        if (stages.size() > 2 || (stages.size() == 2 && stages[0] == stages[1])) {
            return bad("--stage " + given + ": two different stages can be searched together");
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
        : flags_(flags), start_(now()), build_(build_directory(flags)), generators_(generators), given_(problems), stages_(stages_in(flags.stage)) {
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
        draw_curve();
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
    /// Lines of a CSV, under kCurveHeader.
    const std::string &curve() const {
        return curve_;
    }

private:
    /// Seconds of the budget; not positive without one.
    double left() const {
        return flags_.budget > 0.0 ? flags_.budget - (now() - start_) : 0.0;
    }

    Status read_space() {
        const std::string isa = machine().isa;
        target_ = generators_["list"]["targets"][isa];
        size_t points = 0;
        for (const std::string &stage : stages_) {
            for (const Variant *v : variants_of(stage.c_str())) {
                built_in_.push_back(v->name);
            }
        }
        // Candidates become variants only when all are known: what is asked for here are those built in.
        for (const std::string &stage : stages_) {
            if (Status status = take_folder(stage); !status) {
                return status;
            }
            const std::vector<std::string> list = points_of(generators_["list"], stage, flags_, stages_.size() > 1);
            points += list.size();
            for (const std::string &parameters : list) {
                if (Status status = add_point(stage, parameters); !status) {
                    return status;
                }
            }
        }
        for (const auto &c : candidates_) {
            add_variant(variant_of(*c));
        }
        for (const auto &c : companions_) {
            add_variant(variant_of(*c));
        }
        variants_ = (folder_of(stages_.front()) / fmt::format("variants.{}", getpid())).string();
        return points > 0 ? Status() : bad("--where leaves nothing of the space of " + flags_.stage);
    }

    /// Where a stage's candidates are kept.
    fs::path folder_of(const std::string &stage) const {
        const std::string isa = machine().isa;
        return fs::path(flags_.cache.empty() ? (build_ / "search").string() : flags_.cache) / (stage + "_" + isa + "_" + generators_["hashes"][stage][isa].get<std::string>());
    }

    /// The folder is this process's until it ends.
    Status take_folder(const std::string &stage) {
        if (locks_.count(stage) != 0) {
            return {};
        }
        const fs::path folder = folder_of(stage);
        std::error_code error;
        fs::create_directories(folder, error);
        if (error) {
            return Status(StatusCode::kInternal, "cannot make the folder " + folder.string() + ": " + error.message());
        }
        Result<FileLock> lock = FileLock::take((folder / "lock").string(), "the cache of " + stage);
        if (!lock) {
            return lock.status();
        }
        locks_.emplace(stage, std::move(*lock));
        return {};
    }

    static Variant variant_of(const Candidate &c) {
        return {c.stage.c_str(), best_isa(), c.parameters.c_str(), c.name.c_str(), call_nothing, c.hash.c_str()};
    }
    static bool is_built_in(const std::string &name) {
        return std::any_of(built_in_variants().begin(), built_in_variants().end(), [&](const Variant &v) { return name == v.name; });
    }

    std::unique_ptr<Candidate> make_candidate(const std::string &stage, const std::string &parameters) const {
        std::string suffix;
        for (char letter : parameters) {
            suffix += letter == ' ' ? "_" : letter == '=' ? ""
                                                          : std::string(1, letter);
        }
        const fs::path folder = folder_of(stage);
        auto c = std::make_unique<Candidate>();
        c->stage = stage;
        c->parameters = parameters;
        c->name = stage + "_" + machine().isa + "_" + suffix;
        c->symbol = "fourfold_" + c->name;
        c->library = (folder / (suffix + ".so")).string();
        c->object = (folder / (suffix + ".o")).string();
        c->log = (folder / (suffix + ".log")).string();
        // The hash is written in place when it is known, as long as any.
        c->hash.assign(hash_text("").size(), '0');
        return c;
    }

    /// A point that is not built in becomes a candidate, with what goes with it.
    Status add_point(const std::string &stage, const std::string &parameters) {
        std::unique_ptr<Candidate> c = make_candidate(stage, parameters);
        if (is_built_in(c->name) || !fits(variant_of(*c))) {
            return {};
        }
        for (const auto &[other, entry] : generators_["list"]["stages"].items()) {
            if (entry.value("goes_with", "") != stage) {
                continue;
            }
            // Of the same size: the parameters that it shares.
            std::string size;
            for (const std::string_view word : split(parameters, ' ')) {
                if (entry["space"].contains(std::string(word.substr(0, word.find('='))))) {
                    size += (size.empty() ? "" : " ") + std::string(word);
                }
            }
            std::unique_ptr<Candidate> companion = make_candidate(other, size);
            if (is_built_in(companion->name)) {
                continue;
            }
            auto at = std::find_if(companions_.begin(), companions_.end(), [&](const auto &known) { return known->name == companion->name; });
            if (at == companions_.end()) {
                if (Status status = take_folder(other); !status) {
                    return status;
                }
                at = companions_.insert(companions_.end(), std::move(companion));
            }
            c->needs.push_back(at->get());
        }
        candidates_.push_back(std::move(c));
        return {};
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
            if (stages_.size() > 1) {
                const Result<std::vector<fourfold::Candidate>> choices = list_choices(p.problem, options);
                if (!choices) {
                    return choices.status();
                }
                for (const fourfold::Candidate &c : *choices) {
                    add_pair(p, c);
                }
                problems_.push_back(std::move(p));
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
        if (stages_.size() > 1 && std::none_of(problems_.begin(), problems_.end(), [](const Problem &p) { return !p.members.empty(); })) {
            return bad("--stage " + flags_.stage + ": no plan of these problems chooses variants of both");
        }
        return {};
    }

    /// A choice that names a variant of each of the stages.
    void add_pair(Problem &p, const fourfold::Candidate &choice) const {
        Member m;
        for (const std::string &stage : stages_) {
            std::string named;
            for (const std::string_view word : split(choice.choice, ' ')) {
                const std::vector<const Variant *> variants = variants_of(stage.c_str());
                const bool is_one = std::any_of(variants.begin(), variants.end(), [&](const Variant *v) { return word == v->name; });
                named = is_one ? std::string(word) : named;
            }
            if (named.empty()) {
                return;
            }
            m.name += (m.name.empty() ? "" : " ") + named;
            const auto at = std::find_if(candidates_.begin(), candidates_.end(), [&](const auto &c) { return c->name == named; });
            if (at != candidates_.end()) {
                m.candidates.push_back(at->get());
            }
        }
        m.algorithm = choice.algorithm;
        m.choice = choice.choice;
        m.predicted = choice.predicted_seconds;
        m.workspace = choice.workspace_bytes;
        m.packed = choice.packed_filter_bytes;
        p.members.push_back(std::move(m));
    }

    /// Leaves the candidates that have a chance with some problem, at most `trials` of them: the likeliest.
    Status prune() {
        std::map<const Candidate *, double> chance;
        for (const Problem &p : problems_) {
            const double least = p.least_prediction();
            for (const Member &m : p.members) {
                for (const Candidate *candidate : m.candidates) {
                    if (!m.failure && m.predicted <= flags_.hopeless * least) {
                        double &c = chance.emplace(candidate, std::numeric_limits<double>::infinity()).first->second;
                        c = std::min(c, m.predicted / least);
                    }
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
        std::vector<std::string> generate = {(build_ / ("generate_" + c.stage)).string(), "-g", c.stage, "-f", c.symbol, "-n", c.symbol, "-e", "object", "-o", work, "target=" + target_ + "-no_runtime-user_context"};
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
        for (Candidate *c : tried_with_needs()) {
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

    /// The candidates that are tried, each after what it needs, and none twice.
    std::vector<Candidate *> tried_with_needs() const {
        std::vector<Candidate *> list;
        const auto add = [&](Candidate *c) {
            if (std::find(list.begin(), list.end(), c) == list.end()) {
                list.push_back(c);
            }
        };
        for (Candidate *c : tried_) {
            std::for_each(c->needs.begin(), c->needs.end(), add);
            add(c);
        }
        return list;
    }

    /// Their hashes, as the build hashes what it compiles; and what other processes need to know of them.
    Status read_objects() {
        std::vector<CompiledVariant> list;
        for (Candidate *c : tried_with_needs()) {
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
            list.push_back({c->stage, c->parameters, c->name, c->hash, c->library});
        }
        return write_compiled_variants(variants_, list);
    }

    Status open_journal() {
        const std::string partner = stages_.size() > 1 ? "_with_" + stages_.back() : "";
        journal_.emplace((folder_of(stages_.front()) / ("journal" + partner)).string());
        if (flags_.resume) {
            return journal_->load().status();
        }
        std::error_code ignored;
        fs::remove(journal_->path(), ignored);
        return {};
    }

    static std::vector<const Candidate *> parts_of(const Member &m) {
        std::vector<const Candidate *> parts(m.candidates.begin(), m.candidates.end());
        for (const Candidate *c : m.candidates) {
            parts.insert(parts.end(), c->needs.begin(), c->needs.end());
        }
        return parts;
    }

    /// Who can be timed, built in or not, with what an earlier run left; others with their failure.
    std::vector<size_t> entrants(Problem &problem, bool built_in) const {
        std::vector<size_t> list;
        const double least = problem.least_prediction();
        for (size_t i = 0; i < problem.members.size(); ++i) {
            Member &m = problem.members[i];
            if (m.failure || m.built_in() != built_in) {
                continue;
            }
            const std::vector<const Candidate *> parts = parts_of(m);
            const auto failed = std::find_if(parts.begin(), parts.end(), [](const Candidate *c) { return c->failed; });
            if (failed != parts.end()) {
                const Result<std::string> log = read_file((*failed)->log);
                m.failure = {"compile", log ? log->substr(0, log->find('\n')) : ""};
                continue;
            }
            const bool compiled = std::all_of(parts.begin(), parts.end(), [](const Candidate *c) { return c->compiled; });
            if (!m.built_in() && (!compiled || m.predicted > flags_.hopeless * least)) {
                continue;
            }
            const Journal::Left left = journal_->left(problem.key, m.choice, m.workspace);
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
        options.telling = std::numeric_limits<size_t>::max();  // new schedules are looked for because predictions may misjudge them
        std::vector<size_t> ids;
        std::vector<SearchCandidate> list;
        const auto enter = [&](size_t i, bool incumbent) {
            const Member &m = problem.members[i];
            ids.push_back(i);
            // Of a pair, what the first stage's variant makes of the problem may be far behind, whatever the second's.
            const std::string group = stages_.size() > 1 ? " " + m.name.substr(0, m.name.find(' ')) : "";
            list.push_back({to_string(m.algorithm) + group, m.predicted, m.workspace, incumbent, m.samples, false});
        };
        options.expect = [&](const std::vector<size_t> &next) {
            std::vector<size_t> members;
            std::transform(next.begin(), next.end(), std::back_inserter(members), [&](size_t i) { return ids[i]; });
            field.expect(std::move(members));
        };
        const Cost cost = [&](size_t i) {
            Member &m = problem.members[ids[i]];
            double sample = -1.0;
            if (Failure failure = field.sample(ids[i], sample)) {
                if (failure.kind != "stopped") {
                    m.failure = failure;
                    written = journal_->failure(problem.key, m.choice, m.workspace, failure);
                }
                return -1.0;
            }
            m.samples.push_back(sample);
            written = journal_->sample(problem.key, m.choice, m.workspace, sample);
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
                written = written ? journal_->failure(problem.key, m.choice, m.workspace, m.failure) : written;
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
        if (winner != nullptr && !winner->built_in() && !is_stopped()) {
            for (const Candidate *c : parts_of(*winner)) {
                winners_[c->stage][c->parameters].push_back({problem.problem.to_string(), winner->seconds() / least});
            }
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
            if (!m.built_in() && tried) {
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
            fmt::print("{}", table.row({milliseconds_text(m->seconds()), fmt::format("{:.3f}", m->seconds() / least), std::to_string(m->samples.size()), variant_hash(m->name), m->name + (m->built_in() ? " (built in)" : "")}));
        }
        std::fflush(stdout);
    }

    void print_winners() const {
        std::set<std::string> stages(stages_.begin(), stages_.end());
        for (const auto &[stage, found] : winners_) {
            stages.insert(stage);
        }
        for (const std::string &stage : stages) {
            const auto found = winners_.find(stage);
            fmt::print("\nwinners, for \"{}\" / \"{}\" in schedules/cpu/variants.json:{}\n", stage, machine().isa, found == winners_.end() ? " none; the built-in variants stand" : "");
            if (found == winners_.end()) {
                continue;
            }
            for (const auto &[parameters, wins] : found->second) {
                fmt::print("\"{}\"", parameters);
                for (const auto &[problem, ratio] : wins) {
                    fmt::print("   {:.3f} on {}", ratio, problem);
                }
                fmt::print("\n");
            }
        }
    }

    /// How few of all that were timed, built in or not, would serve these problems.
    void draw_curve() {
        std::vector<CoverProblem> measured;
        for (const Problem &p : problems_) {
            CoverProblem one;
            double best = std::numeric_limits<double>::infinity();
            for (const Member &m : p.members) {
                best = std::min(best, m.seconds());
            }
            for (const Member &m : p.members) {
                if (std::isfinite(m.seconds())) {
                    const std::vector<std::string_view> names = split(m.name, ' ');
                    one.choices.push_back({{names.begin(), names.end()}, best / m.seconds()});
                }
            }
            if (!one.choices.empty()) {
                measured.push_back(std::move(one));
            }
        }
        constexpr double kGoal = 0.97;
        const std::vector<CoverStep> steps = cover(measured, kGoal);
        if (steps.empty()) {
            return;
        }
        fmt::print("\nhow many variants buy how much, {} problems\n", measured.size());
        print_curve(steps, measured.size(), 100.0 * (1.0 - kGoal));
        curve_ = curve_lines(flags_.stage, machine().isa, steps, measured.size(), kGoal);
    }

    const Flags flags_;
    const double start_;
    const fs::path build_;
    const Json &generators_;
    const std::vector<Conv2dProblem> &given_;
    const std::vector<std::string> stages_;  ///< one, or a pair
    std::map<std::string, FileLock> locks_;  ///< of the stages' folders
    std::string target_, variants_, curve_;
    std::vector<std::string> built_in_;
    std::vector<std::unique_ptr<Candidate>> candidates_, companions_;
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

/// Searches one stage, or a pair, in a child; what it wins comes back through a pipe, and its curve.
Status search_stage(const Flags &flags, const Json &generators, const std::vector<Conv2dProblem> &problems, Winners &winners, std::string &curve) {
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
            const std::string found = Json{{"code", static_cast<int>(status.code())}, {"message", status.message()}, {"winners", search.winners()}, {"curve", search.curve()}}.dump(-1, ' ', false, Json::error_handler_t::replace);
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
    for (const auto &[stage, found] : answer["winners"].get<Winners>()) {
        for (const auto &[parameters, where] : found) {
            std::vector<std::pair<std::string, double>> &all = winners[stage][parameters];
            all.insert(all.end(), where.begin(), where.end());
        }
    }
    curve += answer["curve"].get<std::string>();
    return Status(static_cast<StatusCode>(answer["code"].get<int>()), answer["message"].get<std::string>());
}

/// The build's list with what was found.
Status write_list(const Flags &flags, Json list, const Winners &winners) {
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
    for (const std::string &file : {flags.write, flags.curve}) {
        if (Status status = file.empty() ? Status() : check_writable(file); !status) {
            return status;
        }
    }
    if (flags.stages.empty()) {
        flags.stages = main_stages(flags, (*generators)["list"], *problems);
        if (flags.stages.empty()) {
            return bad("no stage of these problems' plans has schedules to search" + std::string(flags.where.empty() ? "" : " that --where leaves"));
        }
    }
    Winners winners;
    std::string curve;
    Status searched;
    for (size_t i = 0; i < flags.stages.size() && searched; ++i) {
        Flags one = flags;
        one.stage = flags.stages[i];
        // What earlier stages left of the budget serves the later ones.
        one.budget = flags.budget > 0.0 ? std::max(1e-9, (flags.budget - (now() - start)) / static_cast<double>(flags.stages.size() - i)) : 0.0;
        searched = search_stage(one, *generators, *problems, winners, curve);
        if (i + 1 < flags.stages.size()) {
            fmt::print("\n");
        }
    }
    // What was found before an interruption or a failure is not lost.
    Status written = flags.write.empty() ? Status() : write_list(flags, (*generators)["list"], winners);
    written = written && !flags.curve.empty() ? write_file(flags.curve, kCurveHeader + curve) : written;
    return searched ? written : searched;
}

}  // namespace

Action add_search(CLI::App &verb) {
    auto flags = std::make_shared<Flags>();
    verb.add_option("--stage", flags->stages, "the stage whose schedules are searched, such as gemm, or two that are searched together, such as tile_forward+tile_product; may be repeated; default: the main stages of the problems' likely plans");
    verb.add_option("--problem", flags->problems, "a problem to search for; may be repeated");
    verb.add_option("--shapes", flags->shapes, "CSV file of problems");
    verb.add_option("--write", flags->write, "the list of variants with the winners, for -DFOURFOLD_VARIANTS=");
    verb.add_option("--curve", flags->curve, "writes how many variants of each stage, built-in ones among them, buy how much, as CSV: loss in the geometric mean of the problems and at worst");
    verb.add_option("--where", flags->where, "only points of the space with this value, such as m=4, or by=null for those without it; may be repeated");
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
