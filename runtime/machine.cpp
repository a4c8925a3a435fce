#include "machine.h"

#include "registry.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <sched.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

namespace fourfold {
namespace {

Isa detect_isa() {
#if defined(__x86_64__)
    // The compiler's runtime check includes the operating system's support for the wide registers (XGETBV). clang's does not know f16c.
    __builtin_cpu_init();
    unsigned a = 0, b = 0, c = 0, d = 0;
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    Isa isa = avx512 ? Isa::kAvx512 : avx2 ? Isa::kAvx2 : Isa::kGeneric;
#else
    Isa isa = Isa::kGeneric;
#endif
    isa = std::max(isa, highest_isa());
    if (const char *cap = environment("FOURFOLD_ISA")) {
        for (Isa lower : {Isa::kAvx512, Isa::kAvx2, Isa::kGeneric}) {
            if (std::strcmp(cap, to_string(lower)) == 0 && lower > isa) {
                isa = lower;
            }
        }
    }
    return isa;
}

std::string cpuinfo(const char *key) {
    std::ifstream file("/proc/cpuinfo");
    std::string line;
    while (std::getline(file, line)) {
        if (line.compare(0, std::strlen(key), key) == 0) {
            const size_t colon = line.find(':');
            if (colon != std::string::npos && line.find_last_not_of(" \t", colon - 1) + 1 == std::strlen(key)) {
                const size_t begin = line.find_first_not_of(" \t", colon + 1);
                return begin == std::string::npos ? "" : line.substr(begin);
            }
        }
    }
    return "";
}

/// Extensions that tell the cores of servers apart.
CoreFeatures core_features() {
    CoreFeatures features;
#if defined(__x86_64__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    features.amx = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 24 & 1) != 0;
    features.avx10 = __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (d >> 19 & 1) != 0;
#endif
    return features;
}

size_t cache_bytes(int name, size_t fallback) {
    const long bytes = sysconf(name);
    return bytes > 0 ? static_cast<size_t>(bytes) : fallback;
}

/// The last-level cache that the first core shares; sysconf would count all of the socket's.
size_t l3_bytes() {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
    size_t kilobytes = 0;
    char unit = 0;
    return file >> kilobytes >> unit && unit == 'K' ? kilobytes << 10 : cache_bytes(_SC_LEVEL3_CACHE_SIZE, 8u << 20);
}

MachineInfo read_machine() {
    MachineInfo m;
    m.cpu = cpuinfo("model name");
    m.microarchitecture = microarchitecture_name(cpuinfo("vendor_id"), std::atoi(cpuinfo("cpu family").c_str()), std::atoi(cpuinfo("model").c_str()), core_features());
    m.isa = to_string(best_isa());
    cpu_set_t set;
    m.hardware_threads = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
    m.hardware_threads = m.hardware_threads < 1 ? 1 : m.hardware_threads;
    m.l1_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32u << 10);
    m.l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 512u << 10);
    m.l3_bytes = l3_bytes();
    return m;
}

}  // namespace

/// Families and models: the vendors' manuals, as in LLVM's Host.cpp.
std::string microarchitecture_name(const std::string &vendor, int family, int model, const CoreFeatures &features) {
    if (vendor == "AuthenticAMD") {
        if (family == 0x1A) {
            return "znver5";
        }
        if (family == 0x19) {
            return (model >= 0x10 && model <= 0x1F) || model >= 0x60 ? "znver4" : "znver3";
        }
        if (family == 0x17) {
            return model >= 0x30 ? "znver2" : "znver1";
        }
    }
    if (vendor == "GenuineIntel" && family == 6) {
        switch (model) {
        case 0x8F:
            return "sapphirerapids";
        case 0xCF:
            return "emeraldrapids";
        case 0xAD:
        case 0xAE:
            return "graniterapids";
        case 0x6A:
        case 0x6C:
            return "icelake-server";
        case 0x55:
            return "skylake-avx512";
        case 0x4F:
        case 0x56:
            return "broadwell";
        case 0x3F:
        case 0x3C:
            return "haswell";
        case 0x97:
        case 0x9A:
            return "alderlake";
        case 0xB7:
        case 0xBA:
        case 0xBF:
            return "raptorlake";
        default:
            // A hypervisor may give a model of its own; what only these cores have, it passes on. Emerald Rapids is Sapphire
            // Rapids with more cache, which here is the same machine.
            if (features.amx) {
                return features.avx10 ? "graniterapids" : "sapphirerapids";
            }
            return "intel-6-" + std::to_string(model);
        }
    }
    return "x86-64";
}

const char *to_string(Isa isa) {
    switch (isa) {
    case Isa::kAvx512:
        return "avx512";
    case Isa::kAvx2:
        return "avx2";
    default:
        return "generic";
    }
}

Status isa_cap_status() {
    const char *cap = environment("FOURFOLD_ISA");
    if (cap == nullptr || *cap == '\0') {
        return Status();
    }
    for (Isa isa : {Isa::kAvx512, Isa::kAvx2, Isa::kGeneric}) {
        if (std::strcmp(cap, to_string(isa)) == 0) {
            return Status();
        }
    }
    return Status(StatusCode::kInvalidArgument, std::string("FOURFOLD_ISA is '") + cap + "'; there are avx512, avx2, generic");
}

Isa best_isa() {
    static const Isa isa = detect_isa();
    return isa;
}

int vector_lanes(Isa isa) {
    return isa == Isa::kAvx512 ? 16 : isa == Isa::kAvx2 ? 8 : 4;
}

namespace {

MachineInfo &current_machine() {
    static MachineInfo info = read_machine();
    return info;
}

}  // namespace

const MachineInfo &machine() {
    return current_machine();
}

void assume_machine(const MachineInfo &m) {
    current_machine() = m;
}

}  // namespace fourfold
