// fourfold search: schedules of one stage, from its declared space (schedules/cpu/variants.json) to lines for that list.
//
// Candidates are compiled by the stage's generator first, several at a time and each only once (the cache is keyed by the
// hash of sources, target and Halide's version, and by the parameters); nothing is timed while anything compiles. Each then
// runs in a child process with a time limit, between guard bytes and into NaNs, and is checked against the reference. Those
// that pass are timed in turns with the built-in variants, in the plan itself, in one more child; and winners once again.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "content_hash.h"
#include "contest.h"
#include "files.h"
#include "fourfold/tuning.h"
#include "measure.h"
#include "problem_data.h"
#include "reference.h"
#include "registry.h"
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
    int jobs = 0, threads = 1;
    unsigned time_limit = 20;
    double margin = 0.02;
    uint64_t seed = 1;
};

enum class Verdict { kPending, kOk, kCompile, kCrash, kTimeout, kWrong, kRefused };

const char *to_string(Verdict verdict) {
    static const char *const names[] = {"pending", "ok", "compile", "crash", "timeout", "wrong", "refused"};
    return names[static_cast<int>(verdict)];
}

/// One point of the space. Strings that the registry points into, so it stays where it is.
struct Candidate {
    std::string parameters, name, symbol, library, object, hash;
    Variant variant{};
    Verdict verdict = Verdict::kPending;
};

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

Verdict judge(int status) {
    if (WIFSIGNALED(status)) {
        return WTERMSIG(status) == SIGALRM ? Verdict::kTimeout : Verdict::kCrash;
    }
    switch (WEXITSTATUS(status)) {
    case 0:
        return Verdict::kOk;
    case 3:
        return Verdict::kRefused;
    case 4:
        return Verdict::kWrong;
    default:
        return Verdict::kCrash;
    }
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

/// Adds a compiled candidate to this process's registry. Before the first plan.
bool load(Candidate &c) {
    void *library = dlopen(c.library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        return false;
    }
    // It has a Halide runtime of its own, with hooks of its own.
    const auto install = reinterpret_cast<void (*)()>(dlsym(library, "fourfold_install_halide_hooks"));
    c.variant.call = reinterpret_cast<int (*)(void **)>(dlsym(library, (c.symbol + "_argv").c_str()));
    if (install == nullptr || c.variant.call == nullptr) {
        return false;
    }
    install();
    add_variant(c.variant);
    return true;
}

class Problem {
public:
    Problem(const Conv2dProblem &problem, uint64_t seed)
        : problem_(problem), data_(ProblemData::make(problem, seed)) {
        if (data_ != nullptr) {
            reference_ = std::make_unique<Reference>(problem, arrays_of(*data_));
        }
    }

    bool ok() const {
        return data_ != nullptr;
    }

    /// The algorithm whose plan takes this variant of its main stage.
    Result<Plan> plan(const std::string &variant, int threads) const {
        Status last(StatusCode::kUnsupported, "no algorithm has the variant as its main stage");
        for (Algorithm algorithm : compared_algorithms()) {
            PlanOptions options;
            options.algorithm = algorithm;
            options.variant = variant;
            options.threads = threads;
            options.accuracy = Accuracy::kRelaxed;
            Result<Plan> plan = Plan::create(problem_, options);
            if (plan && plan->variant() == variant) {
                return plan;
            }
            last = plan ? last : plan.status();
        }
        return last;
    }

    /// 0, or as judge() reads it.
    int check(const Plan &plan) const {
        constexpr size_t guard = 1024;
        const auto elements = static_cast<size_t>(ProblemData::result_elements(problem_));
        std::vector<float> result(elements + 2 * guard, std::nanf(""));
        const std::vector<float> untouched(guard, std::nanf(""));
        AlignedBuffer packed(plan.packed_filter_bytes()), memory(plan.workspace_bytes_unpacked() + 2 * kAlignment * guard);
        auto *workspace = static_cast<std::byte *>(memory.data()) + kAlignment * guard;
        std::memset(memory.data(), 0xff, memory.bytes());
        if (!pack(plan, packed, {workspace, plan.workspace_bytes_unpacked()}).ok()) {
            return 4;
        }
        if (!plan.execute(tensors(packed, result.data() + guard), {workspace, plan.workspace_bytes()}).ok()) {
            return 4;
        }
        const auto *bytes = static_cast<const unsigned char *>(memory.data());
        const auto intact = [](const unsigned char *at, size_t count) { return std::all_of(at, at + count, [](unsigned char c) { return c == 0xff; }); };
        const bool guards = intact(bytes, kAlignment * guard) && intact(bytes + memory.bytes() - kAlignment * guard, kAlignment * guard) &&
                            std::memcmp(result.data(), untouched.data(), guard * 4) == 0 && std::memcmp(result.data() + guard + elements, untouched.data(), guard * 4) == 0;
        return guards && reference_->max_error(result.data() + guard) <= error_limit(fourfold::to_string(plan.algorithm())) ? 0 : 4;
    }

    /// Least seconds of each variant, timed in turns; infinite where it cannot.
    std::vector<double> time(const std::vector<std::string> &variants, int threads) const {
        std::vector<double> seconds(variants.size(), std::numeric_limits<double>::infinity());
        std::vector<Plan> plans;
        std::vector<size_t> index;
        size_t bytes = 1;
        for (size_t i = 0; i < variants.size(); i++) {
            if (Result<Plan> p = plan(variants[i], threads)) {
                bytes = std::max(bytes, p->workspace_bytes_unpacked());
                plans.push_back(*p);
                index.push_back(i);
            }
        }
        AlignedBuffer workspace(bytes);
        std::vector<AlignedBuffer> packed;
        std::vector<std::function<Status()>> work;
        for (const Plan &p : plans) {
            packed.emplace_back(p.packed_filter_bytes());
            if (Status status = pack(p, packed.back(), workspace); !status) {
                return seconds;
            }
        }
        for (size_t i = 0; i < plans.size(); i++) {
            work.push_back([&, i] { return plans[i].execute(tensors(packed[i], data_->output.data()), workspace); });
        }
        MeasureOptions options;
        options.min_time = 0.1;
        const std::vector<Timing> timings = measure_interleaved(work, options);
        for (size_t i = 0; i < timings.size(); i++) {
            if (timings[i].status.ok()) {
                seconds[index[i]] = timings[i].min_seconds;
            }
        }
        return seconds;
    }

    std::string text() const {
        return problem_.to_string();
    }

private:
    Status pack(const Plan &plan, const AlignedBuffer &packed, MemoryBlock workspace) const {
        return plan.packed_filter_bytes() == 0 ? Status() : plan.pack_filters(data_->filter_view(problem_), packed, workspace);
    }
    Tensors tensors(const AlignedBuffer &packed, float *result) const {
        return data_->tensors(problem_, packed, result);
    }

    const Conv2dProblem problem_;
    std::unique_ptr<ProblemData> data_;
    std::unique_ptr<Reference> reference_;
};

class Search {
public:
    explicit Search(const Flags &flags)
        : flags_(flags) {
    }

    Status run() {
        Status status = prepare();
        if (status.ok()) {
            status = compile();
        }
        if (!status.ok()) {
            return status;
        }
        for (const std::unique_ptr<Problem> &problem : problems_) {
            contest(*problem);
        }
        print_winners();
        return {};
    }

private:
    Status prepare() {
        std::error_code error;
        const fs::path exe = fs::canonical("/proc/self/exe", error);
        build_ = flags_.build.empty() ? exe.parent_path().parent_path() : fs::path(flags_.build);
        const Result<std::string> text = read_file((build_ / "kernels" / "search.json").string());
        if (!text) {
            return Status(StatusCode::kInvalidArgument, "schedules are searched in a build directory, where the generators are (--build): " + text.status().message());
        }
        const Json info = Json::parse(*text, nullptr, false);
        if (info.is_discarded() || !info["list"]["stages"].contains(flags_.stage)) {
            return Status(StatusCode::kInvalidArgument, "there is no stage '" + flags_.stage + "'; fourfold list shows them");
        }
        const std::string isa = machine().isa;
        target_ = info["list"]["targets"][isa];
        cache_ = fs::path(flags_.cache.empty() ? (build_ / "search").string() : flags_.cache) / (flags_.stage + "_" + isa + "_" + info["hashes"][flags_.stage][isa].get<std::string>());
        fs::create_directories(cache_, error);
        if (error) {
            return Status(StatusCode::kInternal, "cannot make the folder " + cache_.string() + ": " + error.message());
        }
        for (const Variant *v : variants_of(flags_.stage.c_str())) {
            built_in_.push_back(v->name);
        }
        bool any = false;
        for (const std::string &parameters : combinations(info["list"]["stages"][flags_.stage]["space"])) {
            const std::vector<std::string_view> words = split(parameters, ' ');
            if (!std::all_of(flags_.where.begin(), flags_.where.end(), [&](const std::string &w) { return std::find(words.begin(), words.end(), w) != words.end(); })) {
                continue;
            }
            any = true;
            auto c = std::make_unique<Candidate>();
            c->parameters = parameters;
            std::string suffix;
            for (char letter : parameters) {
                suffix += letter == ' ' ? "_" : letter == '=' ? "" : std::string(1, letter);
            }
            c->name = flags_.stage + "_" + isa + "_" + suffix;
            if (std::find(built_in_.begin(), built_in_.end(), c->name) != built_in_.end()) {
                continue;
            }
            c->symbol = "fourfold_" + c->name;
            c->library = (cache_ / (suffix + ".so")).string();
            c->object = (cache_ / (suffix + ".o")).string();
            c->variant = {flags_.stage.c_str(), best_isa(), c->parameters.c_str(), c->name.c_str(), nullptr, ""};
            if (fits_registers(c->variant)) {
                candidates_.push_back(std::move(c));
            }
        }
        if (!any) {
            return Status(StatusCode::kInvalidArgument, "--where leaves nothing of the space of " + flags_.stage);
        }
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
            return Status(StatusCode::kInvalidArgument, "no problem is given; --problem or --shapes");
        }
        for (const Conv2dProblem &problem : problems) {
            problems_.push_back(std::make_unique<Problem>(problem, flags_.seed));
            if (!problems_.back()->ok()) {
                return Status(StatusCode::kResourceExhausted, "memory ran out for the arrays of '" + problem.to_string() + "'");
            }
        }
        return {};
    }

    /// In the cache, whole or not at all.
    int compile_one(const Candidate &c) const {
        const std::string work = c.library + ".tmp";
        std::error_code error;
        fs::create_directories(work, error);
        const auto program = [](const std::vector<std::string> &command) {
            std::vector<char *> arguments;
            for (const std::string &argument : command) {
                arguments.push_back(const_cast<char *>(argument.c_str()));
            }
            arguments.push_back(nullptr);
            return in_child(600, [&] {
                if (std::freopen("/dev/null", "w", stderr) == nullptr) {
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
        }
        fs::remove_all(work, error);
        return status == 0 ? 0 : 1;
    }

    Status compile() {
        std::vector<Candidate *> missing;
        for (const auto &c : candidates_) {
            if (!fs::exists(c->library) || !fs::exists(c->object)) {
                missing.push_back(c.get());
            }
        }
        fmt::print("{} of {}: {} built in, {} candidates, {} of them to compile\n", flags_.stage, machine().isa, built_in_.size(), candidates_.size(), missing.size());
        const int jobs = flags_.jobs > 0 ? flags_.jobs : machine().hardware_threads;
        std::map<pid_t, Candidate *> running;
        const auto wait_one = [&] {
            int status = 0;
            const pid_t child = wait(&status);
            if (running.count(child) > 0) {
                if (status != 0) {
                    running[child]->verdict = Verdict::kCompile;
                }
                running.erase(child);
            }
        };
        for (Candidate *c : missing) {
            while (static_cast<int>(running.size()) >= jobs) {
                wait_one();
            }
            std::fflush(nullptr);
            const pid_t child = fork();
            if (child == 0) {
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
        // As the build hashes what it compiles.
        for (const auto &c : candidates_) {
            if (c->verdict != Verdict::kCompile) {
                const Result<std::string> object = read_file(c->object);
                if (!object) {
                    return object.status();
                }
                c->hash = hash_text(*object);
                c->variant.hash = c->hash.c_str();
            }
        }
        return {};
    }

    /// Times built-in variants and the given candidates in one child: least seconds, built-in ones first.
    std::vector<double> time_together(const Problem &problem, const std::vector<Candidate *> &list) const {
        std::vector<std::string> names = built_in_;
        for (const Candidate *c : list) {
            names.push_back(c->name);
        }
        std::vector<double> seconds(names.size(), std::numeric_limits<double>::infinity());
        int ends[2];
        if (pipe(ends) != 0) {
            return seconds;
        }
        in_child(flags_.time_limit * static_cast<unsigned>(1 + names.size() / 4), [&] {
            for (Candidate *c : list) {
                if (!load(*c)) {
                    return 1;
                }
            }
            const std::vector<double> result = problem.time(names, flags_.threads);
            // A few kilobytes at most: a pipe holds them until the parent reads.
            return write(ends[1], result.data(), result.size() * sizeof(double)) == static_cast<ssize_t>(result.size() * sizeof(double)) ? 0 : 1;
        });
        close(ends[1]);
        std::vector<double> result(names.size());
        if (read(ends[0], result.data(), result.size() * sizeof(double)) == static_cast<ssize_t>(result.size() * sizeof(double))) {
            seconds = result;
        }
        close(ends[0]);
        return seconds;
    }

    void contest(const Problem &problem) {
        std::vector<Candidate *> sound;
        std::map<Verdict, int> count;
        for (const auto &c : candidates_) {
            Verdict verdict = c->verdict == Verdict::kCompile ? Verdict::kCompile : judge(in_child(flags_.time_limit, [&] {
                if (!load(*c)) {
                    return 1;
                }
                const Result<Plan> plan = problem.plan(c->name, flags_.threads);
                return plan ? problem.check(*plan) : 3;
            }));
            count[verdict]++;
            if (verdict == Verdict::kOk) {
                sound.push_back(c.get());
            } else if (verdict != Verdict::kRefused) {
                fmt::print("  {}: {}\n", c->name, to_string(verdict));
            }
        }
        fmt::print("\n{}\n", problem.text());
        for (const auto &[verdict, n] : count) {
            fmt::print("  {} {}\n", n, to_string(verdict));
        }
        const std::vector<double> seconds = time_together(problem, sound);
        const size_t built = built_in_.size();
        const double base = *std::min_element(seconds.begin(), seconds.begin() + static_cast<long>(built));
        std::vector<size_t> order(seconds.size());
        for (size_t i = 0; i < order.size(); i++) {
            order[i] = i;
        }
        std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return seconds[a] < seconds[b]; });
        const Table table({{"ms", 10}, {"of best built-in", 16}, {"hash", 16, true}, {"variant", 0, true}});
        fmt::print("{}", table.header());
        for (size_t i : order) {
            if (std::isfinite(seconds[i])) {
                fmt::print("{}", table.row({milliseconds_text(seconds[i]), fmt::format("{:.3f}", seconds[i] / base), i < built ? variant_hash(built_in_[i]) : sound[i - built]->hash, i < built ? built_in_[i] + " (built in)" : sound[i - built]->name}));
            }
        }
        if (const size_t best = order[0]; best >= built && seconds[best] < (1.0 - flags_.margin) * base) {
            // Luck does not strike twice: again, in a fresh process.
            Candidate *winner = sound[best - built];
            const std::vector<double> again = time_together(problem, {winner});
            const double least = *std::min_element(again.begin(), again.begin() + static_cast<long>(built));
            if (again[built] < (1.0 - flags_.margin) * least) {
                winners_[winner->parameters].push_back({problem.text(), again[built] / least});
            } else {
                fmt::print("  {} is not confirmed: {:.3f} of the best built-in\n", winner->name, again[built] / least);
            }
        }
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
    fs::path build_, cache_;
    std::string target_;
    std::vector<std::string> built_in_;
    std::vector<std::unique_ptr<Candidate>> candidates_;
    std::vector<std::unique_ptr<Problem>> problems_;
    std::map<std::string, std::vector<std::pair<std::string, double>>> winners_;
};

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
    verb.add_option("--time-limit", flags->time_limit, "seconds that a candidate may take")->check(CLI::Range(1, 3600))->capture_default_str();
    verb.add_option("--margin", flags->margin, "share by which a winner must beat the best built-in variant")->check(CLI::Range(0.0, 1.0))->capture_default_str();
    verb.add_option("--seed", flags->seed, "of the data")->capture_default_str();
    return [flags] { return Search(*flags).run(); };
}

}  // namespace fourfold::cli
