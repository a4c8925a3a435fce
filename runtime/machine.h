// The machine at run time: ISA rung, caches, cores.
#pragma once

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

}  // namespace fourfold
