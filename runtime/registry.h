// The generated list of variants, and calls into them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fourfold/problem.h"
#include "machine.h"

namespace fourfold {

/// A stage compiled with one schedule for one target. Entries come from schedules/cpu/variants.json through the build.
struct Variant {
    const char *stage;
    Isa isa;
    const char *parameters;  ///< "m=8 n=3"
    const char *name;        ///< "conv_direct_avx512_m8_n3"
    int (*call)(void **arguments);

    /// The integer value of a parameter, or fallback.
    int parameter(const char *key, int fallback) const;
};

/// All variants of the build, in the list's order (registry.cpp is generated).
const std::vector<Variant> &registry();
/// The content hash of each, in the same order (variant_hashes.cpp is generated from the compiled objects).
const char *const *variant_hashes();
/// Those of a stage that the best available rung offers.
std::vector<const Variant *> variants_of(const char *stage);
/// The stage's variant on the best rung with exactly these parameters; the list guarantees that it exists.
const Variant *find_variant(const char *stage, const char *parameters = "");
/// "layout=nchw" or "layout=nhwc".
const char *layout_parameter(Layout layout);

}  // namespace fourfold
