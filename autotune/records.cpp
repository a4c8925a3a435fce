#include "records.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <tuple>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "content_hash.h"
#include "files.h"
#include "fourfold/tuning.h"
#include "tables.h"
#include "text.h"

namespace fourfold::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string machine_words(Device device) {
    if (const Result<DeviceInfo> gpu = device_info(device)) {
        return fmt::format("{}; {}; {} of memory; {} compute units", gpu->name, gpu->driver, bytes_text(gpu->memory_bytes), gpu->compute_units);
    }
    const MachineInfo &m = machine();
    // Not rounded: machine_of() reads them back.
    return fmt::format("{}; {} KiB L1, {} KiB L2, {} KiB L3; {} threads", m.cpu, m.l1_bytes / 1024, m.l2_bytes / 1024, m.l3_bytes / 1024, m.hardware_threads);
}

/// The contents of all that the choice runs, for the machine of the key that record_key() made.
std::string contents_of(const std::string &key, const std::string &choice) {
    std::istringstream parts(key);
    std::string isa;
    for (int i = 0; i < 4; ++i) {
        std::getline(parts, isa, '|');
    }
    std::string text;
    for (const auto &[name, hash] : choice_contents(choice, isa)) {
        text += name + " " + hash + "\n";
    }
    return hash_text(text);
}

/// Text of a line, or nothing.
std::string word_of(const Json &line, const char *name) {
    const auto at = line.is_object() ? line.find(name) : line.end();
    return at != line.end() && at->is_string() ? at->get<std::string>() : "";
}

/// A count of bytes; nothing where there is none.
std::optional<uint64_t> bytes_of(const Json &line, const char *name) {
    const auto at = line.is_object() ? line.find(name) : line.end();
    return at != line.end() && at->is_number_unsigned() ? std::optional<uint64_t>(at->get<uint64_t>()) : std::nullopt;
}

/// A number of a line that is not negative, or -1.
double number_of(const Json &line, const char *name) {
    const auto at = line.is_object() ? line.find(name) : line.end();
    return at != line.end() && at->is_number() && at->get<double>() >= 0.0 ? at->get<double>() : -1.0;
}

Status cannot_write(const std::string &path) {
    return {StatusCode::kInternal, fmt::format("cannot write '{}': {}", path, std::strerror(errno))};
}

}  // namespace

double recorded_milliseconds(double seconds) {
    return std::stod(fmt::format("{:.5g}", seconds * 1e3));
}

std::optional<MachineInfo> machine_of(const std::string &words, const Record &record) {
    const std::vector<std::string_view> parts = split(words, ';');
    if (parts.size() != 3) {
        return std::nullopt;
    }
    const std::vector<std::string_view> caches = split(parts[1], ',');
    MachineInfo m;
    m.cpu = std::string(trim(parts[0]));
    m.microarchitecture = record.microarchitecture;
    m.isa = record.isa;
    size_t *const bytes[] = {&m.l1_bytes, &m.l2_bytes, &m.l3_bytes};
    const char *const names[] = {" L1", " L2", " L3"};
    if (caches.size() != std::size(bytes)) {
        return std::nullopt;
    }
    for (size_t i = 0; i < std::size(bytes); ++i) {
        const size_t end = caches[i].rfind(names[i]);
        const Result<size_t> size = parse_bytes(caches[i].substr(0, end));
        if (end == std::string_view::npos || !size) {
            return std::nullopt;
        }
        *bytes[i] = *size;
    }
    const std::string_view threads = trim(parts[2]);
    const Result<int64_t> count = parse_integer(threads.substr(0, threads.find(' ')), "threads");
    if (!count || *count < 1 || *count > 1 << 20) {
        return std::nullopt;
    }
    m.hardware_threads = static_cast<int>(*count);
    return m;
}

Result<MachineInfo> machine_of_table(const std::string &path) {
    const Result<std::string> text = read_file(path);
    if (!text) {
        return text.status();
    }
    // A table may hold several ISA levels of its machine.
    std::optional<MachineInfo> first;
    for (const std::string_view line : split(*text, '\n')) {
        Record r;
        std::string reason;
        if (parse_record_line(line, r, reason) != LineKind::kRecord) {
            continue;
        }
        std::optional<MachineInfo> machine = machine_of(word_of(Json::parse(line), "machine"), r);
        if (machine && machine->isa == fourfold::machine().isa) {
            return std::move(*machine);
        }
        first = first ? std::move(first) : std::move(machine);
    }
    if (first) {
        return std::move(*first);
    }
    return Status(StatusCode::kInvalidArgument, fmt::format("'{}' has no record that says which CPU measured it, and its caches", path));
}

std::string header_line() {
    return fmt::format("{{\"format\":\"{}\",\"version\":{}}}\n", kRecordFormat, kRecordVersion);
}

std::string record_line(const Record &r, Device measured_on, double clock_hertz) {
    Json line;
    line["problem"] = r.problem_text();
    if (r.spectral) {
        line["kind"] = kSpectralKind;
    }
    line["accuracy"] = to_string(r.accuracy);
    line["microarchitecture"] = r.microarchitecture;
    line["isa"] = r.isa;
    line["threads"] = r.threads;
    line["cache"] = to_string(r.cache);
    if (r.workspace_limit < kNoWorkspaceLimit) {
        line["workspace_limit"] = r.workspace_limit;
    }
    line["role"] = r.winner ? "winner" : "candidate";
    line["choice"] = r.choice;
    if (r.failure.empty()) {
        line["ms_min"] = recorded_milliseconds(r.seconds_min);
        line["ms_median"] = recorded_milliseconds(r.seconds_median);
        if (r.samples > 1 && r.halves[0] > 0.0) {
            line["ms_halves"] = {recorded_milliseconds(r.halves[0]), recorded_milliseconds(r.halves[1])};
        }
        line["samples"] = r.samples;
        line["ms_predicted"] = recorded_milliseconds(r.seconds_predicted);
        line["workspace_bytes"] = r.workspace_bytes;
    } else {
        line["failure"] = r.failure;
    }
    line["variants"] = Json::object();
    for (const auto &[name, hash] : r.variants) {
        line["variants"][name] = hash;
    }
    line["machine"] = machine_words(measured_on);
    if (clock_hertz > 0.0) {
        line["clock_mhz"] = std::llround(clock_hertz / 1e6);
    }
    line["library"] = version();
    line["date"] = fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
    return line.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

std::string record_key(const Record &r) {
    const std::string limit = r.workspace_limit < kNoWorkspaceLimit ? fmt::format("|{}", r.workspace_limit) : "";
    return fmt::format("{}|{}|{}|{}|{}|{}{}", r.problem_text(), to_string(r.accuracy), r.microarchitecture, r.isa, r.threads, to_string(r.cache), limit);
}

Record make_record(const SpectralProblem &problem, const PlanOptions &options, const std::string &choice) {
    PlanOptions plain;
    plain.threads = options.threads;
    Record r = make_record(Conv2dProblem(), plain, choice);
    r.spectral = problem;
    return r;
}

Record make_record(const Conv2dProblem &problem, const PlanOptions &options, const std::string &choice) {
    Record r;
    r.problem = tuning_problem(problem);
    r.accuracy = options.accuracy;
    const MachineName name = machine_name(options.device);
    r.microarchitecture = name.microarchitecture;
    r.isa = name.isa;
    r.threads = options.threads;
    r.cache = options.cache;
    r.workspace_limit = recorded_limit(options.workspace_limit);
    r.choice = choice;
    r.variants = choice_contents(choice, name.isa);
    return r;
}

std::string table_path(const std::string &out, const std::string &microarchitecture) {
    std::error_code error;
    if (!std::filesystem::is_directory(out, error)) {
        return out;
    }
    std::string name;
    for (const char c : microarchitecture) {
        const auto u = static_cast<unsigned char>(c);
        name += std::isalnum(u) != 0 || c == '_' ? static_cast<char>(std::tolower(u)) : '-';
    }
    return (std::filesystem::path(out) / (name + ".json")).string();
}

Status append_lines(const std::string &path, const std::string &lines, bool sync) {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0) {
        return cannot_write(path);
    }
    struct stat info = {};
    bool ok = ::fstat(file, &info) == 0;
    off_t size = info.st_size;
    char last = '\n';
    ok = ok && (size == 0 || ::pread(file, &last, 1, size - 1) == 1);
    std::string text;
    if (ok && last != '\n') {
        const Result<std::string> old = read_file(path);
        ok = old.ok();
        const size_t whole = ok ? old->rfind('\n') + 1 : 0;  // 0 where there is no newline
        if (ok && Json::accept(old->substr(whole))) {
            text = "\n";
        } else if (ok) {
            size = static_cast<off_t>(whole);
            ok = ::ftruncate(file, size) == 0;
        }
    }
    text += size == 0 ? header_line() + lines : lines;
    ok = ok && ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && (!sync || ::fsync(file) == 0);
    const Status status = ok ? Status() : cannot_write(path);
    ::close(file);
    return status;
}

Result<std::vector<Record>> read_records(const std::string &path) {
    const Result<std::string> text = read_file(path);
    if (!text) {
        return text.status();
    }
    ReadTable table = read_table(*text);
    if (!table.header) {
        return Status(StatusCode::kInvalidArgument, fmt::format("'{}' is no table of measurements{}", path, table.first_reason.empty() ? "" : ": " + table.first_reason));
    }
    return std::move(table.records);
}

Result<std::string> merge_tables(const std::vector<std::string> &paths) {
    std::vector<NamedTable> tables;
    for (const std::string &path : paths) {
        Result<std::string> text = read_file(path);
        if (!text) {
            return text.status();
        }
        tables.push_back({path, std::move(*text)});
    }
    return merge_tables(tables);
}

Result<std::string> merge_tables(const std::vector<NamedTable> &tables) {
    struct Kept {
        Record record;
        Json line;
        bool current;
        std::string date;
        size_t order;
    };
    // Today's code before other code, then the later; of the same day the later file.
    const auto age = [](const Kept &k) { return std::tie(k.current, k.date, k.order); };
    const auto worth = [](const Kept &k) { return std::tie(k.current, k.date, k.record.samples, k.order); };
    std::map<std::pair<std::string, std::string>, Kept> kept;  // by key, then choice
    std::map<std::string, Kept> winners;                       // by key
    std::set<std::string> unknown;                             // lines of other kinds
    size_t order = 0;
    for (const NamedTable &table : tables) {
        if (!read_table(table.text).header) {
            return Status(StatusCode::kInvalidArgument, fmt::format("'{}' is no table of measurements", table.name));
        }
        std::string_view rest = table.text;
        for (size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
            Record record;
            std::string reason;
            const std::string_view line = rest.substr(0, end);
            rest.remove_prefix(end + 1);
            const LineKind kind = parse_record_line(line, record, reason);
            if (kind == LineKind::kUnknown) {
                unknown.insert(Json::parse(line).dump(-1, ' ', true, Json::error_handler_t::replace) + "\n");
            }
            if (kind != LineKind::kRecord) {
                continue;
            }
            Kept one = {record, Json::parse(line), is_current(record), "", ++order};
            if (const auto date = one.line.find("date"); date != one.line.end() && date->is_string()) {
                one.date = date->get<std::string>();
            }
            if (record.winner) {
                const auto [at, fresh] = winners.emplace(record_key(record), one);
                if (!fresh && age(one) > age(at->second)) {
                    at->second = one;
                }
            }
            const auto [at, fresh] = kept.emplace(std::make_pair(record_key(record), record.choice), one);
            if (!fresh && worth(one) > worth(at->second)) {
                at->second = std::move(one);
            }
        }
    }
    std::string out = header_line();
    for (auto &[place, k] : kept) {
        const auto winner = winners.find(place.first);
        const bool wins = winner != winners.end() && winner->second.record.choice == place.second && k.record.failure.empty();
        k.line["role"] = wins ? "winner" : "candidate";
        out += k.line.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
    }
    for (const std::string &line : unknown) {
        out += line;
    }
    return out;
}

Result<int> Journal::load() {
    if (!std::filesystem::exists(path_)) {
        return 0;
    }
    const Result<std::string> text = read_file(path_);
    if (!text) {
        return text.status();
    }
    std::string kept;
    int dropped = 0;
    std::string_view rest = *text;
    for (size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
        const std::string whole(rest.substr(0, end + 1));
        rest.remove_prefix(end + 1);
        const Json line = Json::parse(whole, nullptr, false);
        const std::string key = word_of(line, "key"), choice = word_of(line, "choice"), failure = word_of(line, "failure");
        earlier_ = std::max(earlier_, number_of(line, "at"));
        const std::optional<uint64_t> workspace = bytes_of(line, "workspace");
        if (!choice.empty() && (!workspace || word_of(line, "contents") != contents_of(key, choice))) {
            ++dropped;
            continue;
        }
        const std::string incumbent = word_of(line, "before");
        const std::optional<uint64_t> limit = bytes_of(line, "workspace_limit");
        if (!incumbent.empty() && (!limit || word_of(line, "contents") != contents_of(key, incumbent))) {
            ++dropped;
            continue;
        }
        kept += whole;
        if (!key.empty() && !incumbent.empty()) {
            incumbents_[key].insert_or_assign(*limit, incumbent);
        }
        if (key.empty() || choice.empty()) {
            continue;
        }
        Left &left = left_[{key, choice, *workspace}];
        if (const double seconds = number_of(line, "s"); seconds > 0.0) {
            left.samples.push_back(seconds);
        }
        left.failure = failure.empty() ? left.failure : failure;
    }
    start_ = clock_();
    const Status status = dropped > 0 ? write_file(path_, kept) : Status();
    return status ? Result<int>(dropped) : status;
}

Journal::Left Journal::left(const std::string &key, const std::string &choice, uint64_t workspace) const {
    const auto at = left_.find({key, choice, workspace});
    return at == left_.end() ? Left() : at->second;
}

Status Journal::begun(const std::string &key, const std::string &incumbent, uint64_t workspace_limit) {
    return append_lines(path_, Json({{"key", key}, {"before", incumbent}, {"contents", contents_of(key, incumbent)}, {"workspace_limit", workspace_limit}}).dump() + "\n", false);
}

std::map<uint64_t, std::string> Journal::incumbents(const std::string &key) const {
    const auto at = incumbents_.find(key);
    return at == incumbents_.end() ? std::map<uint64_t, std::string>() : at->second;
}

Status Journal::sample(const std::string &key, const std::string &choice, uint64_t workspace, double seconds) {
    return append_lines(path_, Json({{"key", key}, {"choice", choice}, {"contents", contents_of(key, choice)}, {"workspace", workspace}, {"s", seconds}, {"at", elapsed()}}).dump() + "\n", false);
}

Status Journal::failure(const std::string &key, const std::string &choice, uint64_t workspace, const Failure &failure) {
    return append_lines(path_, Json({{"key", key}, {"choice", choice}, {"contents", contents_of(key, choice)}, {"workspace", workspace}, {"failure", failure.kind}, {"text", failure.text}}).dump(-1, ' ', true, Json::error_handler_t::replace) + "\n", false);
}

Status Journal::settled(const std::string &key, const std::string &winner, const std::string &incumbent) {
    return append_lines(path_, Json({{"key", key}, {"winner", winner}, {"incumbent", incumbent}, {"at", elapsed()}}).dump() + "\n", false);
}

Result<std::vector<GainTrace>> Journal::traces() const {
    const Result<std::string> text = read_file(path_);
    if (!text) {
        return text.status();
    }
    std::map<std::string, GainTrace> by_key;
    for (const std::string_view whole : split(*text, '\n')) {
        const Json line = Json::parse(whole, nullptr, false);
        const std::string key = word_of(line, "key"), choice = word_of(line, "choice"), winner = word_of(line, "winner");
        const double at = number_of(line, "at"), seconds = number_of(line, "s");
        GainTrace &trace = by_key[key];
        if (!choice.empty() && seconds > 0.0 && at >= 0.0) {
            trace.samples.push_back({at, choice, seconds});
        } else if (!word_of(line, "failure").empty()) {
            const auto failed = [&](const GainTrace::Sample &s) { return s.choice == choice; };
            trace.samples.erase(std::remove_if(trace.samples.begin(), trace.samples.end(), failed), trace.samples.end());
        } else if (!winner.empty()) {
            trace.winner = winner;
            trace.incumbent = word_of(line, "incumbent");
        }
    }
    std::vector<GainTrace> traces;
    for (auto &[key, trace] : by_key) {
        if (!trace.winner.empty()) {
            traces.push_back(std::move(trace));
        }
    }
    return traces;
}

}  // namespace fourfold::cli
