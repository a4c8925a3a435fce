// The machine at run time: ISA rung, caches, cores.
#pragma once

#include <string>

#include "fourfold/plan.h"

namespace fourfold {

/// The ladder of targets, best first; the order of the registry.
enum class Isa { kAvx512 = 0, kAvx2 = 1, kGeneric = 2 };

const char *to_string(Isa isa);
/// The highest rung that this CPU, its operating system and FOURFOLD_ISA allow.
Isa best_isa();
/// Not ok when FOURFOLD_ISA is set to something else than a rung.
Status isa_cap_status();
/// Floats in a vector of the rung: what the generators' natural vector size is there.
int vector_lanes(Isa isa);

/// What a core has beside its model's number.
struct CoreFeatures {
    bool amx = false, avx10 = false;
};
/// The name that records know a processor by, as LLVM's -mcpu spells it, from what /proc/cpuinfo says and the core's features.
std::string microarchitecture_name(const std::string &vendor, int family, int model, const CoreFeatures &features);

}  // namespace fourfold
