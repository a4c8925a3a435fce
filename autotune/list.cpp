// fourfold list: what is built in, and the machine.
#include <algorithm>
#include <memory>
#include <sstream>

#include <fmt/format.h>

#include "commands.h"
#include "contest.h"
#include "device/runtime.h"
#include "fourfold/tuning.h"
#include "ptxas_table.h"
#include "tables.h"
#include "text.h"

namespace fourfold::cli {
namespace {

const char *summary(Algorithm algorithm) {
    switch (algorithm) {
    case Algorithm::kNaive:
        return "the plain loop nest in C++: a baseline; auto takes it only where nothing else can do a problem";
    case Algorithm::kDirect:
        return "the sums as they are written, in register tiles";
    case Algorithm::kIm2col:
        return "unfold in column blocks, then matrix products";
    case Algorithm::kFft:
        return "whole planes through the Fourier transform";
    case Algorithm::kFftTiled:
        return "overlapping tiles through generated Fourier transforms, channels as lanes";
    case Algorithm::kWinograd:
        return "3x3 only: overlapping tiles through Winograd's transforms, the fewest multiplications";
    default:
        return "";
    }
}

void print_variants(bool verbose) {
    std::vector<VariantInfo> variants = list_variants();
    std::vector<std::string> stages;
    for (const VariantInfo &v : variants) {
        if (std::find(stages.begin(), stages.end(), v.stage) == stages.end()) {
            stages.push_back(v.stage);
        }
    }
    const auto runnable = std::count_if(variants.begin(), variants.end(), [](const VariantInfo &v) { return v.runnable; });
    fmt::print("variants: {} in {} stages; {} run on this machine{}\n", variants.size(), stages.size(), runnable, verbose ? "" : " (the others in parentheses)");
    for (const std::string &stage : stages) {
        fmt::print("  {}\n", stage);
        for (const VariantInfo &v : variants) {
            if (v.stage != stage) {
                continue;
            }
            if (verbose) {
                fmt::print("    {:<40} {:<8} {:<24} {} {}\n", v.name, v.isa, v.parameters, v.hash, v.runnable ? "runs here" : "does not run here");
            } else {
                fmt::print("    {}\n", v.runnable ? v.name : "(" + v.name + ")");
            }
        }
    }
}

/// "sm_80: 40 registers, 0 bytes shared; sm_90: ...; 2 wide loads, 0 shuffles" for machine code with this hash; empty where it was not seen by ptxas.
std::string resources(const std::string &hash) {
    std::istringstream lines(kPtxasTable);
    std::string text, counts;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string variant, of, arch, registers, shared, wide, shuffles;
        std::getline(fields, variant, ',');
        std::getline(fields, of, ',');
        std::getline(fields, arch, ',');
        std::getline(fields, registers, ',');
        std::getline(fields, shared, ',');
        std::getline(fields, wide, ',');
        std::getline(fields, shuffles, ',');
        if (of == hash) {
            text += fmt::format("{}{}: {} registers, {} bytes shared", text.empty() ? "" : "; ", arch, registers, shared);
            counts = fmt::format("; {} wide loads, {} shuffles", wide, shuffles);
        }
    }
    return text + counts;
}

void print_device_variants(bool verbose) {
    std::vector<VariantInfo> variants = list_device_variants();
    fmt::print("variants for GPUs: {}{}\n", variants.size(), verbose ? "" : " (fourfold list --verbose names them)");
    for (const VariantInfo &v : variants) {
        if (verbose) {
            fmt::print("    {:<48} {:<8} {:<24} {} {}\n", v.name, v.isa, v.parameters, v.hash, v.runnable ? "runs here" : "does not run here");
            if (v.device.kind == Device::kCuda) {
                const std::string known = resources(v.hash);
                fmt::print("        {}\n", known.empty() ? "not in schedules/cuda/ptxas.csv: ptxas has not seen this machine code" : known);
            }
        }
    }
}

Status list_all(bool verbose) {
    const MachineInfo &m = machine();
    fmt::print("machine: {}\n  microarchitecture {}, ISA {}, {} hardware threads, caches {} L1, {} L2, {} L3\n", m.cpu, m.microarchitecture, m.isa, m.hardware_threads,
               bytes_text(m.l1_bytes), bytes_text(m.l2_bytes), bytes_text(m.l3_bytes));
    fmt::print("algorithms:\n");
    for (Algorithm algorithm : compared_algorithms()) {
        fmt::print("  {:<10} {}\n", to_string(algorithm), summary(algorithm));
    }
    fmt::print("FFT backends:");
    for (FftBackend backend : fft_backends()) {
        fmt::print(" {}", to_string(backend));
    }
    fmt::print("\ntables:{}\n", tables().empty() ? " none" : "");
    for (const TableInfo &table : tables()) {
        fmt::print("  {}{}: {}\n", table.name, table.shipped ? " (shipped)" : "", table.summary());
    }
    const std::vector<DeviceInfo> gpus = devices();
    fmt::print("GPUs:{}\n", gpus.empty() ? " none that this build can use" : "");
    for (const DeviceInfo &gpu : gpus) {
        const Result<FoundDevice> found = find_device(gpu.device);
        const MachineName name = found ? machine_name(found->info, found->target) : MachineName();
        fmt::print("  {:<9} {}, {}, {} of memory, {} compute units; records of it are of '{}', {}\n", to_string(gpu.device), gpu.name, gpu.driver, bytes_text(gpu.memory_bytes), gpu.compute_units, name.microarchitecture, name.isa);
    }
    print_variants(verbose);
    print_device_variants(verbose);
    return {};
}

}  // namespace

Action add_list(CLI::App &verb) {
    auto verbose = std::make_shared<bool>(false);
    verb.add_flag("--verbose", *verbose, "with ISA, parameters and content hash of every variant; registers and shared memory of those for CUDA");
    return [verbose] { return list_all(*verbose); };
}

}  // namespace fourfold::cli
