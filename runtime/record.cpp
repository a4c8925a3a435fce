#include "record.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace fourfold {
namespace {

using Json = nlohmann::json;

/// The member if it has the type, otherwise null.
const Json *member(const Json &object, const char *key, bool (Json::*is)() const noexcept) {
    const auto at = object.find(key);
    return at != object.end() && ((*at).*is)() ? &*at : nullptr;
}

bool read_text(const Json &object, const char *key, std::string &value) {
    const Json *m = member(object, key, &Json::is_string);
    if (m != nullptr) {
        value = m->get<std::string>();
    }
    return m != nullptr && value.size() < 4096;
}

/// Milliseconds as seconds, between a picosecond and a year: the ratio of any two is finite.
bool read_milliseconds(const Json &value, double &seconds) {
    seconds = value.is_number() ? value.get<double>() / 1e3 : 0.0;
    return seconds >= 1e-12 && seconds <= 3e7;
}

bool read_milliseconds(const Json &object, const char *key, double &seconds) {
    const Json *m = member(object, key, &Json::is_number);
    return m != nullptr && read_milliseconds(*m, seconds);
}

bool read_integer(const Json &object, const char *key, int64_t least, int64_t most, int64_t &value) {
    const Json *m = member(object, key, &Json::is_number_integer);
    if (m == nullptr || (m->is_number_unsigned() && m->get<uint64_t>() > uint64_t{1} << 62)) {
        return false;
    }
    value = m->get<int64_t>();
    return value >= least && value <= most;
}

/// Names of variants, hashes, choices: nothing that could confuse a terminal or a generated source.
bool is_plain(const std::string &text) {
    return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '=' || c == ' ' || c == '-' || c == '.'; });
}

bool read_record(const Json &line, Record &r, std::string &reason) {
    const auto bad = [&](const char *what) {
        reason = what;
        return false;
    };
    std::string text;
    if (!read_text(line, "problem", text)) {
        return bad("no problem");
    }
    if (line.contains("kind")) {
        const Result<SpectralProblem> problem = SpectralProblem::parse(text);
        if (!problem || !problem->validate()) {
            return bad("a spectral product that is none");
        }
        r.spectral = *problem;
    } else {
        const Result<Conv2dProblem> problem = Conv2dProblem::parse(text);
        if (!problem || !problem->validate()) {
            return bad("a problem that is none");
        }
        r.problem = tuning_problem(*problem);
    }
    if (!read_text(line, "accuracy", text) || (text != "strict" && text != "default" && text != "relaxed")) {
        return bad("accuracy is none of strict, default, relaxed");
    }
    r.accuracy = text == "strict" ? Accuracy::kStrict : text == "relaxed" ? Accuracy::kRelaxed : Accuracy::kDefault;
    if (!read_text(line, "microarchitecture", r.microarchitecture) || !read_text(line, "isa", r.isa) || !is_plain(r.microarchitecture) || !is_plain(r.isa)) {
        return bad("no microarchitecture or isa");
    }
    int64_t integer = 0;
    if (!read_integer(line, "threads", 1, 4096, integer)) {
        return bad("threads is not 1 to 4096");
    }
    r.threads = static_cast<int>(integer);
    if (!read_text(line, "cache", text) || !parse_cache_state(text)) {
        return bad("cache is neither warm nor cold");
    }
    r.cache = *parse_cache_state(text);
    if (line.contains("workspace_limit")) {
        if (!read_integer(line, "workspace_limit", 0, kNoWorkspaceLimit - 1, integer)) {
            return bad("workspace_limit is no count of bytes");
        }
        r.workspace_limit = static_cast<uint64_t>(integer);
    }
    if (!read_text(line, "choice", r.choice) || r.choice.empty() || !is_plain(r.choice)) {
        return bad("no choice");
    }
    if (!read_text(line, "role", text) || (text != "winner" && text != "candidate")) {
        return bad("role is neither winner nor candidate");
    }
    r.winner = text == "winner";
    const Json *variants = member(line, "variants", &Json::is_object);
    if (variants == nullptr || variants->size() > 16) {
        return bad("no variants");
    }
    for (const auto &[name, hash] : variants->items()) {
        if (!hash.is_string() || !is_plain(name) || !is_plain(hash.get<std::string>())) {
            return bad("a variant without a hash");
        }
        r.variants.emplace_back(name, hash.get<std::string>());
    }
    if (const Json *failure = member(line, "failure", &Json::is_string)) {
        r.failure = failure->get<std::string>();
        return (!r.winner && !r.failure.empty()) || bad("a winner that failed");
    }
    if (!read_milliseconds(line, "ms_min", r.seconds_min) || !read_milliseconds(line, "ms_median", r.seconds_median) || !read_milliseconds(line, "ms_predicted", r.seconds_predicted)) {
        return bad("times that are none");
    }
    if (const Json *halves = member(line, "ms_halves", &Json::is_array)) {
        if (halves->size() != 2 || !read_milliseconds((*halves)[0], r.halves[0]) || !read_milliseconds((*halves)[1], r.halves[1])) {
            return bad("halves that are not two times");
        }
    }
    if (!read_integer(line, "samples", 1, 1 << 30, integer)) {
        return bad("no samples");
    }
    r.samples = static_cast<int>(integer);
    if (read_integer(line, "workspace_bytes", 0, int64_t{1} << 60, integer)) {
        r.workspace_bytes = static_cast<uint64_t>(integer);
    }
    return true;
}

}  // namespace

Conv2dProblem tuning_problem(const Conv2dProblem &problem) {
    Conv2dProblem p = problem;
    p.post_op = PostOp::kNone;
    p.clamp_lo = p.clamp_hi = 0.0f;
    p.residual = false;
    p.filter_mode = FilterMode::kCorrelation;
    p.padding_value = 0.0f;
    if ((p.pad_top | p.pad_bottom | p.pad_left | p.pad_right) == 0) {
        p.padding_mode = PaddingMode::kZeros;
    }
    return p;
}

std::pair<std::string_view, std::string_view> split_choice(std::string_view choice) {
    const size_t blank = choice.find(' ');
    return {choice.substr(0, blank), blank == std::string_view::npos ? std::string_view() : choice.substr(blank + 1)};
}

const char *to_string(CacheState cache) {
    return cache == CacheState::kCold ? "cold" : "warm";
}

Result<CacheState> parse_cache_state(std::string_view name) {
    if (name == "warm" || name == "cold") {
        return name == "warm" ? CacheState::kWarm : CacheState::kCold;
    }
    return Status(StatusCode::kInvalidArgument, "cache state '" + std::string(name) + "' does not exist; there are warm, cold");
}

LineKind parse_record_line(std::string_view line, Record &record, std::string &reason) {
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
        return LineKind::kOther;
    }
    // Deep nesting would recurse; no line of ours has more than two levels or this many bytes.
    if (line.size() > 65536 || std::count(line.begin(), line.end(), '[') + std::count(line.begin(), line.end(), '{') > 64) {
        reason = "a line that is too long or too deep";
        return LineKind::kBad;
    }
    const Json object = Json::parse(line.begin(), line.end(), nullptr, false);
    if (!object.is_object()) {
        reason = "not a JSON object";
        return LineKind::kBad;
    }
    if (object.contains("format")) {
        std::string format;
        int64_t version = 0;
        if (read_text(object, "format", format) && format == kRecordFormat && read_integer(object, "version", 1, kRecordVersion, version)) {
            return LineKind::kHeader;
        }
        reason = "another format or a later version";
        return LineKind::kBad;
    }
    std::string kind;
    if (object.contains("kind") && (!read_text(object, "kind", kind) || kind != kSpectralKind)) {
        reason = "a record of a kind that this version does not know";
        return LineKind::kUnknown;
    }
    if (!object.contains("choice")) {
        return LineKind::kOther;
    }
    record = Record();
    return read_record(object, record, reason) ? LineKind::kRecord : LineKind::kBad;
}

ReadTable read_table(std::string_view text) {
    ReadTable table;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = text.find('\n', begin);
        if (end == std::string_view::npos) {
            table.torn = true;
            break;
        }
        Record record;
        std::string reason;
        const LineKind kind = parse_record_line(text.substr(begin, end - begin), record, reason);
        begin = end + 1;
        if (kind == LineKind::kHeader) {
            table.header = true;
        } else if (!table.header && kind != LineKind::kOther) {
            table.first_reason = reason.empty() ? "it does not begin with a table's header" : reason;
            break;
        } else if (kind == LineKind::kRecord) {
            table.records.push_back(std::move(record));
        } else if (kind == LineKind::kBad || kind == LineKind::kUnknown) {
            table.unreadable++;
            table.first_reason = table.first_reason.empty() ? reason : table.first_reason;
        }
    }
    return table;
}

}  // namespace fourfold
