// The `fourfold` command: reads the options, runs one verb, turns its Status into an exit code.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <iterator>
#include <new>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "commands.h"
#include "man_page.h"
#include "text.h"

namespace fourfold::cli {

void add_plan_flags(CLI::App &verb, PlanFlags &flags) {
    verb.add_option("--threads", flags.threads, "at most so many threads; 0 is one per hardware thread")->check(CLI::Range(0, 4096));
    verb.add_option("--device", flags.device, "cpu, cuda or opencl; cuda:1 is the second GPU")->capture_default_str();
    verb.add_option("--workspace-limit,--workspace-max", flags.workspace_limit, "bytes of workspace a plan may need: 65536, 64K, 1.5G");
    verb.add_option("--accuracy", flags.accuracy, "strict (no winograd chosen), default or relaxed (winograd's largest tile allowed)")->capture_default_str();
}

Result<PlanOptions> to_plan_options(const PlanFlags &flags, bool devices) {
    PlanOptions options;
    const Result<Device> device = parse_device(flags.device);
    if (!device) {
        return device.status();
    }
    if (!devices && *device != Device::kCpu) {
        return Status(StatusCode::kUnsupported, "this verb runs on the CPU, not on device '" + to_string(*device) + "'");
    }
    options.device = *device;
    const Result<Accuracy> accuracy = parse_accuracy(flags.accuracy);
    if (!accuracy) {
        return accuracy.status();
    }
    options.accuracy = *accuracy;
    options.threads = flags.threads;
    if (!flags.workspace_limit.empty()) {
        const Result<size_t> limit = parse_bytes(flags.workspace_limit);
        if (!limit) {
            return Status(limit.status().code(), "--workspace-limit: " + limit.status().message());
        }
        options.workspace_limit = *limit;
    }
    return options;
}

int exit_code(const Status &status) {
    switch (status.code()) {
    case StatusCode::kOk:
        return 0;
    case StatusCode::kInvalidArgument:
        return 2;
    case StatusCode::kUnsupported:
    case StatusCode::kResourceExhausted:
        return 3;
    case StatusCode::kInternal:
        break;
    }
    return 1;
}

Status plan_failure(const Status &status, Algorithm asked) {
    const bool nobody_named = asked == Algorithm::kAuto && status.code() == StatusCode::kResourceExhausted;
    return nobody_named ? Status(StatusCode::kInternal, status.message()) : status;
}

namespace {

int fail(int code, const std::string &message) {
    fmt::print(stderr, "fourfold: {}\n", message);
    return code;
}

/// The code, unless a full disk behind standard output swallowed something: that shows only here.
int finish(int code) {
    std::cout.flush();
    return std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout ? fail(1, "cannot write to standard output") : code;
}

int run_command(int argc, char **argv) {
    CLI::App app{"Batched 2-D convolution, generated ahead of time by Halide.", "fourfold"};
    app.set_version_flag("--version", std::string("fourfold ") + version());
    app.require_subcommand(1);
    app.footer("Exit codes: 0 ok, 2 bad usage or bad input, 3 the named algorithm or device cannot do a valid problem, 1 any other failure.");

    struct Verb {
        const char *name;
        const char *summary;
        Action (*add)(CLI::App &);
    };
    const Verb verbs[] = {
        {"run", "convolve arrays (.npy) or images", add_run},
        {"spectral", "multiply spectra (.npy, complex64), summed over channels", add_spectral},
        {"bench", "time problems, after checking the results", add_bench},
        {"compare", "compare all algorithms on many problems: table, results.csv, HTML with plots", add_compare},
        {"tune", "measure which plan is fastest for each of many problems, and record it", add_tune},
        {"measure", "measure a bundle of tune --export-bundle on a GPU of this machine", add_measure},
        {"tables", "merge, diff or show tables of measurements", add_tables},
        {"report", "how close to the best a table's choices are, beside simpler rules", add_report},
        {"explain", "show every candidate for a problem, chosen or not, with the reason", add_explain},
        {"generate", "make a library for exactly the problems of a file, kernels of fixed size included", add_generate},
        {"list", "list variants, algorithms, FFT backends and this machine", add_list},
        {"search", "search a stage's space of schedules for variants that beat the built-in ones", add_search},
        {"candidate", "", add_candidate},
    };
    Action chosen;
    for (const Verb &verb : verbs) {
        CLI::App *sub = app.add_subcommand(verb.name, verb.summary);
        Action action = verb.add(*sub);
        sub->callback([&chosen, action] { chosen = action; });
    }
    if (argc == 2 && std::string_view(argv[1]) == "--man") {  // for the build, which installs it
        fmt::print("{}", man_page(app));
        return finish(0);
    }
    const auto is_first = [&](const Verb &verb) { return std::string_view(verb.name) == argv[1]; };
    if (argc > 1 && argv[1][0] != '-' && std::none_of(std::begin(verbs), std::end(verbs), is_first)) {
        return fail(2, fmt::format("there is no verb '{}'; see fourfold --help", argv[1]));
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success &done) {  // --help, --version
        return finish(app.exit(done));
    } catch (const CLI::ParseError &error) {
        return fail(2, std::string(error.what()) + "; see --help");
    }
    if (Status status = chosen(); !status) {
        return fail(exit_code(status), status.message());
    }
    return finish(0);
}

}  // namespace
}  // namespace fourfold::cli

int main(int argc, char **argv) {
    using fourfold::cli::fail;
    try {
        return fourfold::cli::run_command(argc, argv);
    } catch (const std::bad_alloc &) {
        return fail(1, "memory ran out");
    } catch (const std::system_error &error) {  // fmt::print's
        return fail(1, "cannot write to standard output: " + error.code().message());
    } catch (const std::exception &error) {
        return fail(1, error.what());
    } catch (...) {
        return fail(1, "an unknown failure");
    }
}
