#include "bundle.h"

#include <link.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bad.h"
#include "commands.h"
#include "files.h"
#include "fourfold/tuning.h"
#include "records.h"
#include "registry.h"
#include "table.h"
#include "tables.h"

namespace fourfold::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char *kFormat = "fourfold-bundle";
constexpr int kVersion = 1;

constexpr const char *kScript = R"sh(#!/bin/sh
# Measures problems.csv on a GPU of this machine:  ./measure [--budget 30m] [--device cuda:1] ...  (./measure --help lists all)
# What is measured is kept in results.json; run again, it continues. Where fourfold is built, bring it into a table:
#     fourfold tune --import results.json --out schedules/tuned/
here=$(cd "$(dirname "$0")" && pwd) || exit 1
given=${LD_LIBRARY_PATH-}
# The machine's own libraries where they serve, otherwise those that came along, the compiler's last of all.
for folders in "" "$here/lib" "$here/lib:$here/lib/compiler"; do
    LD_LIBRARY_PATH=$folders${folders:+${given:+:}}$given
    export LD_LIBRARY_PATH
    if "$here/fourfold" --version >/dev/null 2>&1; then
        break
    fi
done
exec "$here/fourfold" measure "$here" "$@"
)sh";

/// The variants that devices of a kind run, each with its content hash.
std::map<std::string, std::string> variants_for(Device::Kind kind) {
    std::map<std::string, std::string> list;
    for (const DeviceVariant &v : device_variants()) {
        if ((std::string_view(v.target) == "opencl") == (kind == Device::kOpenCl)) {
            list.emplace(v.variant.name, v.variant.hash);
        }
    }
    return list;
}

/// The shared objects of this process, but for those of the C library, which belong to the system.
std::vector<std::string> loaded_libraries() {
    std::vector<std::string> list;
    ::dl_iterate_phdr(
        [](dl_phdr_info *info, size_t, void *out) {
            const std::string path = info->dlpi_name, name = path.substr(path.find_last_of('/') + 1);
            const auto is = [&](const char *stem) { return name.rfind(stem, 0) == 0; };
            if (path.find('/') != std::string::npos && !is("ld-linux") && !is("libc.so") && !is("libm.so") && !is("libmvec.so") && !is("libdl.so") && !is("libpthread.so") && !is("librt.so") && !is("libresolv.so")) {
                static_cast<std::vector<std::string> *>(out)->push_back(path);
            }
            return 0;
        },
        &list);
    return list;
}

Status copy_into(const fs::path &from, const fs::path &to) {
    std::error_code error;
    fs::copy_file(from, to, error);
    return error ? Status(StatusCode::kInternal, fmt::format("cannot copy '{}' to '{}': {}", from.string(), to.string(), error.message())) : Status();
}

Status make_executable(const fs::path &path) {
    std::error_code error;
    fs::permissions(path, static_cast<fs::perms>(0755), error);
    return error ? Status(StatusCode::kInternal, fmt::format("cannot make '{}' executable: {}", path.string(), error.message())) : Status();
}

}  // namespace

namespace {

/// The bundle's files in its folder, which is there.
Status fill_bundle(const fs::path &path, const std::vector<Shape> &shapes, const Json &manifest) {
    std::error_code error;
    fs::create_directories(path / "lib" / "compiler", error);
    if (error) {
        return {StatusCode::kInternal, fmt::format("cannot make folder '{}': {}", path.string(), error.message())};
    }
    std::string problems = "name,problem\n";
    for (const Shape &shape : shapes) {
        std::string name = shape.name;
        std::replace_if(name.begin(), name.end(), [](char c) { return c == ',' || c == '\n' || c == '#' || c == '"'; }, '.');
        problems += name + "," + shape.problem.to_string() + "\n";
    }
    Status status = write_file((path / "problems.csv").string(), problems);
    status = status ? write_file((path / "manifest.json").string(), manifest.dump(1) + "\n") : status;
    status = status ? write_file((path / "measure").string(), kScript) : status;
    status = status ? make_executable(path / "measure") : status;
    status = status ? copy_into(fs::read_symlink("/proc/self/exe", error), path / "fourfold") : status;
    status = status ? make_executable(path / "fourfold") : status;
    for (const std::string &library : loaded_libraries()) {
        const fs::path name = fs::path(library).filename();
        const bool compiler = name.string().rfind("libstdc++", 0) == 0 || name.string().rfind("libgcc_s", 0) == 0;
        status = status ? copy_into(library, path / "lib" / (compiler ? "compiler" : "") / name) : status;
    }
    return status;
}

}  // namespace

Status export_bundle(const std::string &folder, const std::vector<Shape> &shapes, const TuneFlags &flags, const std::map<std::string, std::string> &search) {
    const Result<PlanOptions> options = tuning_options(flags);
    if (!options) {
        return options.status();
    }
    if (options->device == Device::kCpu) {
        return bad("--export-bundle is for GPUs: give --device cuda or opencl; a CPU is tuned where it is, by this command");
    }
    if (options->device.ordinal != 0) {
        return bad(fmt::format("--device {}: a bundle is for all GPUs of a kind; which of a machine's is measured on is said there (./measure --device {})", flags.device, flags.device));
    }
    const fs::path path(folder);
    std::error_code error;
    const bool there = fs::exists(path, error);
    if (there && !(fs::is_directory(path, error) && fs::is_empty(path, error))) {
        return bad(fmt::format("--export-bundle: '{}' exists; a bundle is made in a new folder or an empty one", folder));
    }
    const std::map<std::string, std::string> variants = variants_for(options->device.kind);
    if (variants.empty()) {
        return {StatusCode::kUnsupported, fmt::format("this build has no variants for device '{}' to measure", to_string(options->device))};
    }
    Json manifest = {{"format", kFormat}, {"version", kVersion}, {"library", version()}, {"device", to_string(options->device)}, {"accuracy", flags.accuracy}, {"workspace_max", flags.workspace_max}, {"problems", shapes.size()}};
    manifest["search"] = search;
    manifest["variants"] = variants;
    // The topmost folder that this makes.
    fs::path made = path;
    while (!there && made.has_parent_path() && made.has_filename() && !fs::exists(made.parent_path(), error)) {
        made = made.parent_path();
    }
    const Status status = fill_bundle(path, shapes, manifest);
    if (!status) {
        if (there) {
            for (const fs::directory_entry &entry : fs::directory_iterator(path, error)) {
                fs::remove_all(entry.path(), error);
            }
        } else {
            fs::remove_all(made, error);
        }
    }
    if (status) {
        fmt::print("{}: {} problems for device '{}', {} variants; take the folder to the machine that has one, run ./measure there, and bring results.json back: fourfold tune --import results.json --out schedules/tuned/\n", folder, shapes.size(), to_string(Device(options->device.kind)), variants.size());
    }
    return status;
}

namespace {

/// What a bundle says of itself, as far as measuring needs it. Errors: kInvalidArgument for what export_bundle did not write, or
/// wrote in another build.
Status read_manifest(const std::string &path, TuneFlags &flags, std::map<std::string, std::string> &search) {
    const Result<std::string> text = read_file(path);
    if (!text) {
        return text.status();
    }
    const auto broken = [&](const std::string &why) { return bad(fmt::format("'{}' is no manifest of a bundle: {}", path, why)); };
    if (text->size() > (size_t{1} << 20) || std::count(text->begin(), text->end(), '{') + std::count(text->begin(), text->end(), '[') > 64) {
        return broken("it is too long or too deep");
    }
    const Json manifest = Json::parse(*text, nullptr, false);
    const auto word = [&](const char *key) {
        const auto at = manifest.find(key);
        return at != manifest.end() && at->is_string() ? at->get<std::string>() : std::string();
    };
    if (!manifest.is_object() || word("format") != kFormat || manifest.value("version", Json()) != Json(kVersion)) {
        return broken(fmt::format("it is not of format '{}', version {}", kFormat, kVersion));
    }
    const Result<Device> device = parse_device(word("device"));
    const auto variants = manifest.find("variants");
    if (!device || *device == Device::kCpu || variants == manifest.end() || !variants->is_object()) {
        return broken("it names no GPU or no variants");
    }
    const std::map<std::string, std::string> own = variants_for(device->kind);
    size_t same = 0;
    for (const auto &[name, hash] : own) {
        const auto at = variants->find(name);
        same += at != variants->end() && *at == Json(hash);
    }
    if (word("library") != version() || same != own.size() || same != variants->size()) {
        return bad(fmt::format("'{}' is of another build: of its {} variants this program (fourfold {}) has {} with the same contents; measure with the program of the bundle", path, variants->size(), version(), same));
    }
    const auto given = manifest.find("search");
    if (given == manifest.end() || !given->is_object() || !std::all_of(given->begin(), given->end(), [](const Json &value) { return value.is_string(); })) {
        return broken("it does not say how to search");
    }
    search = given->get<std::map<std::string, std::string>>();
    flags.device = word("device");
    flags.accuracy = word("accuracy");
    flags.workspace_max = word("workspace_max");
    return {};
}

Status measure(CLI::App &verb, const std::string &folder, const std::string &device, TuneFlags &flags) {
    const fs::path path(folder);
    std::map<std::string, std::string> search;
    if (Status status = read_manifest((path / "manifest.json").string(), flags, search); !status) {
        return status;
    }
    for (const auto &[name, value] : search) {
        CLI::Option *option = search_option(verb, name);
        try {
            if (option != nullptr && option->count() == 0) {
                option->add_result(value);
                option->run_callback();
            }
        } catch (const CLI::Error &) {
            option = nullptr;
        }
        if (option == nullptr) {
            return bad(fmt::format("'{}' is no manifest of a bundle: it searches with {} {}", (path / "manifest.json").string(), name, value));
        }
    }
    if (!device.empty()) {
        const Result<Device> named = parse_device(device);
        if (!named) {
            return named.status();
        }
        if (named->kind != parse_device(flags.device)->kind) {
            return bad(fmt::format("--device {}: this bundle is for device '{}'", device, flags.device));
        }
        flags.device = device;
    }
    const Result<std::vector<Shape>> shapes = read_shapes((path / "problems.csv").string());
    if (!shapes) {
        return shapes.status();
    }
    flags.out = flags.out.empty() ? (path / "results.json").string() : flags.out;
    flags.resume = true;
    return tune_shapes(*shapes, flags);
}

/// What one file of results came to.
struct Imported {
    std::map<std::string, std::string> lines;  ///< by GPU
    int records = 0, stale = 0, foreign = 0, unreadable = 0;
    bool torn = false;

    std::string summary() const {
        TableInfo info;
        info.records = records;
        info.stale = stale;
        info.foreign = foreign;
        info.unreadable = unreadable;
        info.torn = torn;
        return info.summary();
    }
};

Result<Imported> usable_lines(const std::string &path) {
    const Result<std::string> text = read_file(path);
    if (!text) {
        return text.status();
    }
    const ReadTable table = read_table(*text);
    if (!table.header) {
        return bad(fmt::format("'{}' is no table of measurements{}", path, table.first_reason.empty() ? "" : ": " + table.first_reason));
    }
    Imported imported;
    imported.unreadable = table.unreadable;
    imported.torn = table.torn;
    std::string_view rest = *text;
    for (size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
        const std::string_view line = rest.substr(0, end + 1);
        rest.remove_prefix(end + 1);
        Record record;
        std::string reason;
        if (parse_record_line(line.substr(0, end), record, reason) != LineKind::kRecord) {
            continue;
        }
        if (!is_device_target(record.isa)) {
            ++imported.foreign;
        } else if (!is_current(record)) {
            ++imported.stale;
        } else {
            ++imported.records;
            imported.lines[record.microarchitecture] += line;
        }
    }
    return imported;
}

/// Adds lines to a table, made where it is missing.
Status add_to_table(const std::string &path, const std::string &lines) {
    std::vector<NamedTable> tables;
    std::error_code error;
    if (fs::exists(path, error)) {
        Result<std::string> old = read_file(path);
        if (!old) {
            return old.status();
        }
        tables.push_back({path, std::move(*old)});
    }
    tables.push_back({"the results", header_line() + lines});
    const Result<std::string> merged = merge_tables(tables);
    const Status status = merged ? write_file(path, *merged) : merged.status();
    if (status) {
        fmt::print("{}: {} records\n", path, std::count(merged->begin(), merged->end(), '\n') - 1);
    }
    return status;
}

}  // namespace

Status import_results(const std::vector<std::string> &results, const std::string &out) {
    std::map<std::string, std::string> lines;
    for (const std::string &name : results) {
        std::error_code error;
        const std::string path = fs::is_directory(name, error) ? (fs::path(name) / "results.json").string() : name;
        const Result<Imported> imported = usable_lines(path);
        if (!imported) {
            return imported.status();
        }
        fmt::print("{}: {}\n", path, imported->summary());
        for (const auto &[gpu, text] : imported->lines) {
            lines[gpu] += text;
        }
    }
    if (lines.empty()) {
        return bad("--import: none of the records can be used in this build");
    }
    std::map<std::string, std::string> tables;
    for (const auto &[gpu, text] : lines) {
        tables[table_path(out, gpu)] += text;
    }
    for (const auto &[path, text] : tables) {
        if (Status status = add_to_table(path, text); !status) {
            return status;
        }
    }
    return {};
}

Action add_measure(CLI::App &verb) {
    struct Flags {
        TuneFlags tune;
        std::string bundle, device;
    };
    auto flags = std::make_shared<Flags>();
    verb.add_option("bundle", flags->bundle, "the folder that tune --export-bundle made")->required();
    verb.add_option("--device", flags->device, "which of the machine's GPUs, if not the first: cuda:1");
    verb.add_option("--out", flags->tune.out, "the results (default: results.json in the bundle); what they have already is not measured again");
    add_search_flags(verb, flags->tune);
    verb.footer("The second of three steps, for GPUs of machines that cannot build fourfold: tune --export-bundle packs, measure measures, as tune does, where the GPU is, and tune --import makes a table. The bundle's own ./measure runs this verb.");
    return [flags, &verb] { return measure(verb, flags->bundle, flags->device, flags->tune); };
}

}  // namespace fourfold::cli
