#include "tables_predict.h"

#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "assumed_machine.h"
#include "bad.h"
#include "files.h"
#include "own_process.h"
#include "records.h"
#include "spectral_candidates.h"

namespace fourfold::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Counts {
    int predicted = 0, changed = 0, foreign = 0, stale = 0, refused = 0;
};

/// This build's, in seconds; nothing for what cannot be planned.
std::optional<double> prediction_of(const Record &r) {
    if (r.spectral) {
        for (const SpectralCandidate &c : spectral_candidates(*r.spectral)) {
            if (r.choice == std::string(kSpectralKind) + " " + c.variant) {
                return c.predicted;
            }
        }
        return std::nullopt;
    }
    PlanOptions options;
    options.choice = r.choice;
    options.accuracy = r.accuracy;
    options.threads = r.threads;
    options.cache = r.cache;
    options.workspace_limit = r.workspace_limit < kNoWorkspaceLimit ? r.workspace_limit : options.workspace_limit;
    const Result<Plan> plan = Plan::create(r.problem, options);
    return plan ? std::optional<double>(plan->predicted_seconds()) : std::nullopt;
}

/// The line with this build's prediction; itself where there is none to be made.
std::string predicted_line(const std::string &line, const MachineInfo &here, Counts &counts) {
    Record r;
    std::string reason;
    if (parse_record_line(line, r, reason) != LineKind::kRecord || !r.failure.empty()) {
        return line;
    }
    Json object = Json::parse(line);
    const auto words = object.find("machine");
    const std::optional<MachineInfo> machine = words != object.end() && words->is_string() ? machine_of(words->get<std::string>(), r) : std::nullopt;
    if (r.isa != here.isa || !machine) {
        counts.foreign++;
        return line;
    }
    if (!is_current(r)) {
        counts.stale++;
        return line;
    }
    assume_machine(*machine);
    const std::optional<double> predicted = prediction_of(r);
    if (!predicted) {
        counts.refused++;
        return line;
    }
    const double before = r.seconds_predicted;
    counts.predicted++;
    r.seconds_predicted = *predicted;
    object["ms_predicted"] = recorded_milliseconds(r.seconds_predicted);
    counts.changed += recorded_milliseconds(before) != recorded_milliseconds(r.seconds_predicted);
    return object.dump(-1, ' ', true, Json::error_handler_t::replace);
}

}  // namespace

Status predict_table(const std::string &table, const std::string &out) {
    const Result<std::string> text = read_file(table);
    if (!text) {
        return text.status();
    }
    if (const ReadTable read = read_table(*text); !read.header) {
        return bad(fmt::format("'{}' is no table of measurements{}", table, read.first_reason.empty() ? "" : ": " + read.first_reason));
    }
    if (Status status = check_writable(out); !status) {
        return status;
    }
    ignore_environment(true);
    const MachineInfo here = machine();
    Counts counts;
    std::string lines;
    std::string_view rest = *text;
    for (size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
        lines += predicted_line(std::string(rest.substr(0, end)), here, counts) + "\n";
        rest.remove_prefix(end + 1);
    }
    assume_machine(here);
    if (Status status = write_file(out, lines + std::string(rest)); !status) {
        return status;
    }
    fmt::print("{}: {} predictions, {} of them changed; left as they were: {} of other ISA levels than {} or of unknown machines, {} stale, {} that cannot be planned\n", out, counts.predicted, counts.changed, counts.foreign, here.isa, counts.stale, counts.refused);
    return {};
}

}  // namespace fourfold::cli
