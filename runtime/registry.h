// The generated list of variants, and calls into them.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "fourfold/problem.h"
#include "machine.h"

namespace fourfold {

/// A value in SizedKernel::sizes that calls may differ in.
constexpr int32_t kAnySize = std::numeric_limits<int32_t>::min();

/// A variant compiled for calls of certain sizes only. The sizes of a call are the extent and stride of every dimension of
/// every buffer and the value of every integer, in the order of the ports.
struct SizedKernel {
    const int32_t *sizes;
    int (*call)(void **arguments);
};

/// A stage compiled with one schedule for one target. Entries come from schedules/cpu/variants.json through the build.
struct Variant {
    const char *stage;
    Isa isa;
    const char *parameters;  ///< "m=8 n=3"
    const char *name;        ///< "conv_direct_avx512_m8_n3"
    int (*call)(void **arguments);
    const char *hash;  ///< of the object that the generator wrote: 16 hex digits
    const SizedKernel *sized = nullptr;  ///< the same function for certain sizes
    int sized_count = 0;

    /// The integer value of a parameter, or fallback.
    int parameter(const char *key, int fallback) const;
};

/// A stage compiled with one schedule for one GPU target. Entries come from schedules/cuda/variants.json through the build.
struct DeviceVariant {
    const char *target;  ///< "cuda75", "cuda80", "cuda86", "opencl"
    Variant variant;     ///< its isa is the host code's
};
/// Empty in a library made for a list of problems.
const std::vector<DeviceVariant> &device_variants();

/// All variants of the build, in the list's order (registry_list.cpp is generated), then those added.
const std::vector<Variant> &registry();
/// The generated list.
const std::vector<Variant> &built_in_variants();
/// For tools that try a schedule before it is built in. Before the first plan of the process: plans point into the registry.
void add_variant(const Variant &variant);
/// What a library that was made for a list of problems (fourfold generate) does with one of them.
struct Dispatch {
    const char *problem;  ///< as Conv2dProblem::to_string prints it
    Algorithm algorithm;
    const char *choice;   ///< see Plan::choice; empty: as the cost model chooses among those built in
    int threads;          ///< of plans that choose for so many; 0: of all others
};
/// Empty in a library for all problems.
const std::vector<Dispatch> &dispatch_list();
/// The rung that the library was made for; kAvx512 where it has all.
Isa highest_isa();
/// std::getenv, but null in a library that was made for a list of problems: that reads no environment.
const char *environment(const char *name);

/// The kernel for a call of these sizes: one of variant.sized where it fits exactly, otherwise the variant itself.
inline int (*kernel_for(const Variant &variant, const int32_t *sizes, int count))(void **) {
    for (int k = 0; k < variant.sized_count; k++) {
        const int32_t *fixed = variant.sized[k].sizes;
        int i = 0;
        while (i < count && (fixed[i] == sizes[i] || fixed[i] == kAnySize)) {
            i++;
        }
        if (i == count) {
            return variant.sized[k].call;
        }
    }
    return variant.call;
}

/// Sees what planning and execution ask of the registry, while one is installed: how tools find out which variants and sizes
/// a problem needs. Not thread-safe by itself.
class RegistryTracer {
public:
    virtual ~RegistryTracer() = default;
    virtual void looked_up(const Variant &variant) = 0;
    virtual void called(const Variant &variant, const int32_t *sizes, int count, double seconds) = 0;
};
extern std::atomic<RegistryTracer *> registry_tracer;

/// Those of a stage that a rung offers, in the list's order; found by an index, as planning asks for thousands.
const std::vector<const Variant *> &variants_of(const char *stage, Isa isa);
/// Those that the best available rung offers.
const std::vector<const Variant *> &variants_of(const char *stage);
/// The stage's variant on the best rung with exactly these parameters. Never null: one that the list lacks fails when called.
const Variant *find_variant(const char *stage, const char *parameters = "");
/// "layout=nchw" or "layout=nhwc".
const char *layout_parameter(Layout layout);

}  // namespace fourfold
