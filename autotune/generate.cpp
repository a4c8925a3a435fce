// fourfold generate: a library for exactly the problems of a file. What each of them needs is found by doing it: the library
// plans, packs and executes it while a tracer notes which variants were called and with which sizes.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "files.h"
#include "fourfold/tuning.h"
#include "own_process.h"
#include "plan_run.h"
#include "registry.h"
#include "shapes.h"
#include "text.h"

namespace fourfold::cli {
namespace {

/// What the library does with a problem, or with plans of it that choose for so many threads.
struct Entry {
    std::string problem;
    Algorithm algorithm = Algorithm::kAuto;
    std::string choice;  ///< empty: left to the cost model
    int threads = 0;     ///< 0: any
};

/// Everything that the library has to hold.
struct Contents {
    std::set<const Variant *> variants;
    std::map<const Variant *, std::vector<std::string>> sized;
    std::vector<Entry> problems;
};

/// Calls that take this share of an execution get a kernel of their own; at most so many of a variant and problem.
constexpr double kWorthwhile = 0.05;
constexpr size_t kMostSized = 4;

std::string sizes_text(const std::vector<int32_t> &sizes) {
    std::string text;
    for (int32_t v : sizes) {
        text += (text.empty() ? "" : ",") + (v == kAnySize ? std::string("*") : std::to_string(v));
    }
    return text;
}

/// Adds what one execution called. Calls that differ in one place only, such as a strip's position, are made one with that
/// place left open.
void add_sized(const Tracer &tracer, Contents &contents) {
    double total = 0.0;
    for (const auto &[variant, calls] : tracer.calls) {
        for (const Tracer::Calls &c : calls) {
            total += c.seconds;
        }
    }
    for (const auto &[variant, calls] : tracer.calls) {
        std::vector<Tracer::Calls> merged;
        for (const Tracer::Calls &c : calls) {
            const auto close = std::find_if(merged.begin(), merged.end(), [&](const Tracer::Calls &m) {
                int differ = 0;
                for (size_t i = 0; i < c.sizes.size(); i++) {
                    differ += m.sizes[i] != kAnySize && m.sizes[i] != c.sizes[i];
                }
                return differ == 0 || (differ == 1 && calls.size() > kMostSized);
            });
            if (close == merged.end()) {
                merged.push_back(c);
                continue;
            }
            for (size_t i = 0; i < c.sizes.size(); i++) {
                close->sizes[i] = close->sizes[i] == c.sizes[i] ? c.sizes[i] : kAnySize;
            }
            close->seconds += c.seconds;
        }
        std::sort(merged.begin(), merged.end(), [](const Tracer::Calls &a, const Tracer::Calls &b) { return a.seconds > b.seconds; });
        std::vector<std::string> &list = contents.sized[variant];
        for (size_t i = 0; i < std::min(merged.size(), kMostSized) && merged[i].seconds >= kWorthwhile * total; i++) {
            const std::string text = sizes_text(merged[i].sizes);
            if (std::find(list.begin(), list.end(), text) == list.end()) {
                list.push_back(text);
            }
        }
    }
}

/// What the library for all problems would do.
Result<Entry> choose(const Conv2dProblem &problem, const PlanOptions &options) {
    const Result<Plan> chosen = Plan::create(problem, options);
    if (!chosen) {
        return chosen.status();
    }
    // The phases of bwd-data choose for themselves, unless a record says what they do.
    const bool recorded = chosen->tier() == Tier::kRecord || chosen->tier() == Tier::kFamily;
    const bool several = problem.operation == Operation::kBackwardData && !recorded;
    return Entry{problem.to_string(), chosen->algorithm(), several ? "" : chosen->choice(), options.choose_for_threads ? options.threads : 0};
}

/// Plans, packs and executes the problem on so many threads as the entry says, and notes what that asks for.
Status trace(const Conv2dProblem &problem, const Entry &entry, int threads, Contents &contents) {
    PlanOptions options;
    options.threads = threads;
    options.algorithm = entry.algorithm;
    Tracer plans;
    // Whatever its planner looks up on the way must be there, for its other forms too.
    (void)Plan::create(problem, options);
    if (!entry.choice.empty()) {
        options.algorithm = Algorithm::kAuto;
        options.choice = entry.choice;
    }
    const Result<Plan> plan = Plan::create(problem, options);
    if (!plan) {
        return plan.status();
    }
    const PlanRun run(problem, *plan);
    if (Status status = run.pack(); !status) {
        return status;
    }
    if (Status status = run.execute(); !status) {
        return status;
    }
    contents.variants.insert(plans.used.begin(), plans.used.end());
    Tracer timed;  // caches and pages are warm now
    if (Status status = run.execute(); !status) {
        return status;
    }
    registry_tracer = nullptr;
    add_sized(timed, contents);
    std::istringstream words(plan->choice());
    for (std::string word; words >> word;) {
        for (const Variant &v : registry()) {
            if (v.name == word) {
                contents.variants.insert(&v);
            }
        }
    }
    return {};
}

Status add_problem(const Conv2dProblem &problem, const std::set<int> &threads, Contents &contents) {
    if (problem.moves_columns()) {
        return Status(StatusCode::kUnsupported, "'" + problem.to_string() + "': libraries for certain problems hold convolutions and their gradients, not unfold and fold");
    }
    PlanOptions options;
    options.threads = 1;
    const Result<Entry> common = choose(problem, options);
    if (!common) {
        return common.status();
    }
    contents.problems.push_back(*common);
    for (int n : threads) {
        if (Status status = trace(problem, *common, n, contents); !status) {
            return status;
        }
    }
    // Plans that choose for their threads may have another choice for each number of them.
    options.choose_for_threads = true;
    for (int n : threads) {
        options.threads = n;
        const Result<Entry> own = choose(problem, options);
        if (!own) {
            return own.status();
        }
        if (own->algorithm == common->algorithm && own->choice == common->choice) {
            continue;
        }
        contents.problems.push_back(*own);
        if (Status status = trace(problem, *own, n, contents); !status) {
            return status;
        }
    }
    return {};
}

nlohmann::ordered_json to_json(const Contents &contents) {
    nlohmann::ordered_json list;
    list["isa"] = machine().isa;
    for (const Variant &v : registry()) {
        if (contents.variants.count(&v) > 0) {
            list["stages"][v.stage][to_string(v.isa)].push_back(v.parameters);
            const auto sized = contents.sized.find(&v);
            if (sized != contents.sized.end() && !sized->second.empty()) {
                list["sized"][v.name] = sized->second;
            }
        }
    }
    for (const Entry &entry : contents.problems) {
        list["problems"].push_back({{"problem", entry.problem}, {"algorithm", to_string(entry.algorithm)}, {"choice", entry.choice}});
        if (entry.threads > 0) {
            list["problems"].back()["threads"] = entry.threads;
        }
    }
    return list;
}

/// Runs a program with our standard streams. Errors: kInternal, with its name and exit code.
Status run_program(const std::vector<std::string> &command) {
    std::vector<char *> arguments;
    for (const std::string &argument : command) {
        arguments.push_back(const_cast<char *>(argument.c_str()));
    }
    arguments.push_back(nullptr);
    const pid_t child = fork_bound(SIGTERM);
    if (child == 0) {
        execvp(arguments[0], arguments.data());
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return Status(StatusCode::kInternal, "cannot start " + command[0]);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return Status(StatusCode::kInternal, WIFEXITED(status) && WEXITSTATUS(status) == 127 ? command[0] + " is needed, and not in PATH" : command[0] + " failed");
    }
    return {};
}

struct Flags {
    std::string shapes, out, table, name = "convolutions";
    std::vector<int> threads = {1};
    bool list_only = false;
};

Status generate(const Flags &flags) {
    namespace fs = std::filesystem;
    const Result<std::vector<Shape>> shapes = read_shapes(flags.shapes);
    if (!shapes) {
        return shapes.status();
    }
    if (shapes->empty()) {
        return Status(StatusCode::kInvalidArgument, flags.shapes + " has no problems");
    }
    if (flags.name.empty() || flags.name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != std::string::npos) {
        return Status(StatusCode::kInvalidArgument, "--name is '" + flags.name + "'; letters, digits and _ make a library's name");
    }
    // The library holds what the machine's tables and the cost model choose, whoever makes it.
    ignore_environment(true);
    std::error_code error;
    const fs::path out = fs::absolute(flags.out, error);
    fs::create_directories(out, error);
    if (error) {
        return Status(StatusCode::kInternal, "cannot make the folder " + flags.out + ": " + error.message());
    }
    if (!flags.table.empty()) {
        const Result<TableInfo> loaded = load_table(flags.table);
        if (!loaded) {
            return loaded.status();
        }
        fmt::print("{}: {}\n", flags.table, loaded->summary());
    }
    Contents contents;
    const std::set<int> threads(flags.threads.begin(), flags.threads.end());
    std::set<std::string> seen;
    for (const Shape &shape : *shapes) {
        if (!seen.insert(shape.problem.to_string()).second) {
            continue;
        }
        if (Status status = add_problem(shape.problem, threads, contents); !status) {
            return Status(status.code(), shape.name + ": " + status.message());
        }
    }
    size_t sized = 0;
    for (const auto &[variant, list] : contents.sized) {
        sized += list.size();
    }
    if (Status status = write_file((out / "library.json").string(), to_json(contents).dump(1) + "\n"); !status) {
        return status;
    }
    fmt::print("{} problems: {} variants, {} kernels of fixed size, for {}\n", seen.size(), contents.variants.size(), sized, machine().isa);
    if (flags.list_only) {
        return {};
    }
    const std::string cmake = fmt::format("# Made by fourfold generate.\ncmake_minimum_required(VERSION 3.28)\nproject({0} LANGUAGES CXX)\n"
                                          "find_package(fourfold {1} EXACT REQUIRED COMPONENTS library generators)\nfourfold_add_library({0} LIST library.json)\n",
                                          flags.name, version());
    if (Status status = write_file((out / "CMakeLists.txt").string(), cmake); !status) {
        return status;
    }
    // The package beside this program.
    const fs::path prefix = fs::canonical("/proc/self/exe", error).parent_path().parent_path();
    Status status = run_program({"cmake", "-S", out.string(), "-B", (out / "build").string(), "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_PREFIX_PATH=" + prefix.string()});
    if (status.ok()) {
        status = run_program({"cmake", "--build", (out / "build").string()});
    }
    if (!status.ok()) {
        return status;
    }
    const std::string archive = "lib" + flags.name + ".a";
    fs::copy_file(out / "build" / archive, out / archive, fs::copy_options::overwrite_existing, error);
    if (error) {
        return Status(StatusCode::kInternal, "cannot write " + (out / archive).string() + ": " + error.message());
    }
    fmt::print("{}: {}, instead of libfourfold.a\n", (out / archive).string(), bytes_text(fs::file_size(out / archive, error)));
    return {};
}

}  // namespace

Action add_generate(CLI::App &verb) {
    auto flags = std::make_shared<Flags>();
    verb.add_option("--shapes", flags->shapes, "CSV file of problems")->required();
    verb.add_option("--out", flags->out, "folder for the library")->required();
    verb.add_option("--table", flags->table, "a table of measurements whose choices are taken, on top of those that this build knows");
    verb.add_option("--name", flags->name, "of the library: lib<name>.a")->capture_default_str();
    verb.add_option("--threads", flags->threads, "numbers of threads that sizes are fixed for, and that plans may choose for; others work too")->delimiter(',')->check(CLI::Range(1, 4096));
    verb.add_flag("--list-only", flags->list_only, "write library.json, which fourfold_add_library() reads, and build nothing");
    return [flags] { return generate(*flags); };
}

}  // namespace fourfold::cli
