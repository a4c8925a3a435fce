// fourfold spectral, and what bench and explain say of a spectral product.
#include "spectral.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bad.h"
#include "clock.h"
#include "files.h"
#include "machine_limits.h"
#include "measure.h"
#include "npy.h"
#include "shapes.h"
#include "spectral_candidates.h"
#include "spectral_data.h"
#include "table.h"
#include "text.h"

namespace fourfold::cli {
namespace {

Result<SpectralOptions> spectral_options(const PlanFlags &flags) {
    const Result<PlanOptions> plan = to_plan_options(flags);
    if (!plan) {
        return plan.status();
    }
    SpectralOptions options;
    options.threads = plan->threads;
    return options;
}

Result<AlignedBuffer> allocate(size_t bytes) {
    AlignedBuffer buffer(bytes);
    if (bytes > 0 && buffer.data() == nullptr) {
        return Status(StatusCode::kInternal, fmt::format("memory ran out: {} were asked for", bytes_text(bytes)));
    }
    return buffer;
}

struct SpectralFlags {
    std::string input, filters, output, order = "bijc";
    PlanFlags plan;
};

Result<SpectralProblem> problem_of(const SpectralFlags &flags, const ComplexArray &x, const ComplexArray &w) {
    const Result<SpectralOrder> order = parse_spectral_order(flags.order);
    if (!order) {
        return order.status();
    }
    const bool last = *order == SpectralOrder::kBijc;
    if (x.shape.size() != 4) {
        return bad(fmt::format("'{}' has shape {}; four sizes {} are expected", flags.input, shape_text(x.shape), last ? "(b, i0, i1h, ic)" : "(b, ic, i0, i1h)"));
    }
    if (w.shape.size() != 4) {
        return bad(fmt::format("'{}' has shape {}; four sizes {} are expected", flags.filters, shape_text(w.shape), last ? "(i0, i1h, ic, oc)" : "(oc, ic, i0, i1h)"));
    }
    SpectralProblem p;
    p.order = *order;
    p.batch = x.shape[0];
    p.in_channels = last ? x.shape[3] : x.shape[1];
    p.height = last ? x.shape[1] : x.shape[2];
    p.half_width = last ? x.shape[2] : x.shape[3];
    p.out_channels = last ? w.shape[3] : w.shape[0];
    if (Status status = p.validate(); !status) {
        return status;
    }
    const SpectralShapes expected = spectral_shapes(p);
    if (w.shape != expected.filters) {
        return bad(fmt::format("'{}' has shape {}; '{}' of shape {} asks for {}", flags.filters, shape_text(w.shape), flags.input, shape_text(x.shape), shape_text(expected.filters)));
    }
    return p;
}

Status run_spectral(const SpectralFlags &flags) {
    const Result<SpectralOptions> options = spectral_options(flags.plan);
    if (!options) {
        return options.status();
    }
    const Result<ComplexArray> x = read_complex_npy(flags.input);
    if (!x) {
        return x.status();
    }
    const Result<ComplexArray> w = read_complex_npy(flags.filters);
    if (!w) {
        return w.status();
    }
    const Result<SpectralProblem> problem = problem_of(flags, *x, *w);
    if (!problem) {
        return problem.status();
    }
    if (Status status = check_writable(flags.output); !status) {
        return status;
    }
    const Result<SpectralPlan> plan = SpectralPlan::create(*problem, *options);
    if (!plan) {
        return plan.status();
    }
    const Result<AlignedBuffer> workspace = allocate(plan->workspace_bytes_unpacked());
    if (!workspace) {
        return workspace.status();
    }
    ComplexArray y;
    y.shape = spectral_shapes(*problem).output;
    y.data.resize(static_cast<size_t>(y.elements()));
    SpectralTensors tensors;
    tensors.input = x->data.data();
    tensors.filters = SpectralFilters(w->data.data());
    tensors.output = y.data.data();
    if (Status status = plan->execute(tensors, *workspace); !status) {
        return status;
    }
    return write_npy(flags.output, y.shape, y.data.data());
}

}  // namespace

SpectralShapes spectral_shapes(const SpectralProblem &p) {
    if (p.order == SpectralOrder::kBijc) {
        return {{p.batch, p.height, p.half_width, p.in_channels}, {p.height, p.half_width, p.in_channels, p.out_channels}, {p.batch, p.height, p.half_width, p.out_channels}};
    }
    return {{p.batch, p.in_channels, p.height, p.half_width}, {p.out_channels, p.in_channels, p.height, p.half_width}, {p.batch, p.out_channels, p.height, p.half_width}};
}

Status explain_spectral(const std::string &text, const PlanFlags &flags) {
    const Result<SpectralOptions> options = spectral_options(flags);
    if (!options) {
        return options.status();
    }
    const Result<SpectralProblem> problem = parse_valid_spectral(text);
    if (!problem) {
        return problem.status();
    }
    const Result<SpectralPlan> plan = SpectralPlan::create(*problem, *options);
    if (!plan) {
        return plan.status();
    }
    fmt::print("{}\n{:.3g} GFLOP\n\n", problem->to_string(), problem->flops() / 1e9);
    const Table table({{"", 1}, {"predicted ms", 12}, {"variant", 0, true}});
    fmt::print("{}", table.header());
    for (const SpectralCandidate &c : spectral_candidates(*problem)) {
        fmt::print("{}", table.row({c.variant == plan->variant() ? "*" : "", milliseconds_text(c.predicted), c.variant}));
    }
    fmt::print("predicted: on one thread\n\n* is the choice:\n{}\n", trim(plan->describe()));
    return {};
}

/// A plan of a product that is timed, with its memory and what its result was off by.
struct TimedSpectral {
    SpectralPlan plan;
    AlignedBuffer workspace, packed;
    SpectralTensors tensors;
    bool chosen = false;
    double error = -1.0;
};

/// That of the options, or one of every variant for this CPU.
Result<std::vector<SpectralPlan>> spectral_plans(const SpectralProblem &problem, const SpectralOptions &options, bool all_variants) {
    std::vector<SpectralPlan> plans;
    if (!all_variants) {
        Result<SpectralPlan> plan = SpectralPlan::create(problem, options);
        if (!plan) {
            return plan.status();
        }
        plans.push_back(std::move(*plan));
        return plans;
    }
    for (const VariantInfo &v : list_variants()) {
        SpectralOptions named = options;
        named.variant = v.name;
        if ((v.stage == "complex_gemm" || v.stage == "complex_multiply") && v.runnable) {
            if (Result<SpectralPlan> plan = SpectralPlan::create(problem, named)) {  // not of a lower ISA level, or the other order
                plans.push_back(std::move(*plan));
            }
        }
    }
    return plans;
}

Status bench_spectral(const std::vector<std::string> &problems, const SpectralBench &flags) {
    Result<SpectralOptions> options = spectral_options(flags.plan);
    if (!options) {
        return options.status();
    }
    options->variant = flags.variant;
    const MachineLimits limits = measure_machine_limits(flags.plan.threads);
    std::FILE *notes = flags.json ? stderr : stdout;
    fmt::print(notes, "{}\n", machine_text(limits));
    fmt::print(notes, "fourfold {}; spectra uniform on [-1, 1]; GFLOP/s count 8 operations a complex multiply-add; % mem is each array read or written once{}{}\n", version(), flags.include_packing ? "; packing included" : "",
               flags.all_variants ? "; * is what auto chooses" : "");
    for (const std::string &text : problems) {
        const Result<SpectralProblem> problem = parse_valid_spectral(text);
        if (!problem) {
            return problem.status();
        }
        const SpectralProblem &p = *problem;
        Result<std::vector<SpectralPlan>> plans = spectral_plans(p, *options, flags.all_variants);
        SpectralOptions unnamed = *options;
        unnamed.variant.clear();
        const Result<SpectralPlan> automatic = SpectralPlan::create(p, unnamed);
        if (!plans || !automatic) {
            return plans ? automatic.status() : plans.status();
        }
        const SpectralData data(p, 1);
        Spectrum y(static_cast<size_t>(SpectralData::result_elements(p)));
        std::vector<std::unique_ptr<TimedSpectral>> timed;
        std::vector<std::function<Status()>> runs;
        for (SpectralPlan &plan : *plans) {
            Result<AlignedBuffer> workspace = allocate(plan.workspace_bytes_unpacked()), packed = allocate(flags.include_packing ? 0 : plan.packed_filter_bytes());
            if (!workspace || !packed) {
                return workspace ? packed.status() : workspace.status();
            }
            auto c = std::make_unique<TimedSpectral>(TimedSpectral{std::move(plan), std::move(*workspace), std::move(*packed), {}});
            c->chosen = c->plan.variant() == automatic->variant();
            if (c->packed.bytes() > 0) {
                if (Status status = c->plan.pack_filters(data.filters(), c->packed); !status) {
                    return status;
                }
            }
            c->tensors = data.tensors(c->packed, y.data());
            std::fill(y.begin(), y.end(), Complex(NAN, NAN));
            runs.push_back([c = c.get()] { return c->plan.execute(c->tensors, c->workspace); });
            if (Status status = runs.back()(); !status) {
                return status;
            }
            c->error = flags.check ? data.max_error(y.data()) : -1.0;
            if (c->error > kSpectralErrorLimit) {
                return {StatusCode::kInternal, fmt::format("{}, {} FAILED: error {}; no time is reported for a wrong result", p.to_string(), c->plan.variant(), error_text(c->error))};
            }
            timed.push_back(std::move(c));
        }
        MeasureOptions measure;
        measure.min_time = flags.min_time;
        measure.clock = clock_for(timed.empty() ? 0 : timed.front()->plan.threads());
        const std::vector<Timing> timings = measure_interleaved(runs, measure);
        for (size_t i = 0; i < timed.size(); i++) {
            const TimedSpectral &c = *timed[i];
            const Timing &timing = timings[i];
            if (!timing.status) {
                return timing.status;
            }
            const double rate = p.flops() / timing.min_seconds, bytes = SpectralData::bytes(p);
            if (flags.json) {
                nlohmann::ordered_json line;
                line["name"] = line["problem"] = p.to_string();
                line["algorithm"] = "spectral";
                line["variant"] = c.plan.variant();
                line["threads"] = c.plan.threads();
                line["ms_min"] = timing.min_seconds * 1e3;
                line["ms_median"] = timing.median_seconds * 1e3;
                line["gflops"] = rate / 1e9;
                line["workspace_bytes"] = c.plan.workspace_bytes();
                line["packed_filter_bytes"] = c.plan.packed_filter_bytes();
                line["max_error"] = c.error < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(c.error);
                line["chosen"] = c.chosen;
                line["peak_gflops"] = limits.peak_flops / 1e9;
                fmt::print("{}\n", line.dump());
            } else {
                fmt::print("{:<48}{} {:<28} {:>9} ms min {:>9} median {:>7.1f} GFLOP/s {:>5.1f} % peak {:>5.0f} % mem  error {}\n", p.to_string(), flags.all_variants && c.chosen ? '*' : ' ', c.plan.variant(), milliseconds_text(timing.min_seconds),
                           milliseconds_text(timing.median_seconds), rate / 1e9, 100 * rate / limits.peak_flops, 100 * bytes / timing.min_seconds / limits.bandwidth(), error_text(c.error));
            }
        }
        std::fflush(stdout);
    }
    return {};
}

Action add_spectral(CLI::App &verb) {
    auto flags = std::make_shared<SpectralFlags>();
    verb.add_option("--input", flags->input, "x: .npy complex64 (b, i0, i1h, ic), or with --order bcij (b, ic, i0, i1h)")->required();
    verb.add_option("--filters", flags->filters, "w: .npy complex64 (i0, i1h, ic, oc), or with --order bcij (oc, ic, i0, i1h)")->required();
    verb.add_option("--output", flags->output, "y: .npy complex64 (b, i0, i1h, oc), or with --order bcij (b, oc, i0, i1h)")->required();
    verb.add_option("--order", flags->order, "bijc or bcij, of all three")->capture_default_str();
    verb.add_option("--threads", flags->plan.threads, "at most so many threads; 0 is one per hardware thread")->check(CLI::Range(0, 4096));
    verb.add_option("--device", flags->plan.device, "cpu, cuda or opencl")->capture_default_str();
    verb.footer("y[b,i0,i1h,k] = sum_c x[b,i0,i1h,c] * w[i0,i1h,c,k]");
    return [flags] { return run_spectral(*flags); };
}

}  // namespace fourfold::cli
