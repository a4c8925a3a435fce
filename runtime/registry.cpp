#include "registry.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "device/runtime.h"
#include "halide_hooks.h"

namespace fourfold {

const char *environment(const char *name) {
    return dispatch_list().empty() ? std::getenv(name) : nullptr;
}

std::atomic<RegistryTracer *> registry_tracer{nullptr};

namespace {
std::vector<Variant> &all_variants() {
    static std::vector<Variant> list = built_in_variants();
    return list;
}

int call_missing(void **arguments) {
    auto *context = static_cast<KernelContext *>(*static_cast<void **>(arguments[0]));
    if (context->text[0] == '\0') {
        std::snprintf(context->text, sizeof context->text, "the list that this library was built from lacks a variant that the plan needs");
    }
    return -1;
}

/// Stands for what a shortened list should not have left out.
const Variant missing = {"", Isa::kGeneric, "", "", call_missing, ""};
}  // namespace

const std::vector<Variant> &registry() {
    return all_variants();
}

void add_variant(const Variant &variant) {
    all_variants().push_back(variant);
}

int Variant::parameter(const char *key, int fallback) const {
    const size_t length = std::strlen(key);
    for (const char *at = parameters; *at != '\0';) {
        if (std::strncmp(at, key, length) == 0 && at[length] == '=') {
            return std::atoi(at + length + 1);
        }
        at += std::strcspn(at, " ");
        at += std::strspn(at, " ");
    }
    return fallback;
}

std::vector<const Variant *> variants_of(const char *stage) {
    std::vector<const Variant *> found;
    for (const Variant &v : registry()) {
        if (v.isa == best_isa() && std::strcmp(v.stage, stage) == 0) {
            found.push_back(&v);
        }
    }
    return found;
}

const Variant *find_variant(const char *stage, const char *parameters) {
    for (const Variant *v : variants_of(stage)) {
        if (std::strcmp(v->parameters, parameters) == 0) {
            if (RegistryTracer *tracer = registry_tracer.load(std::memory_order_relaxed)) {
                tracer->looked_up(*v);
            }
            return v;
        }
    }
    return &missing;
}

const char *layout_parameter(Layout layout) {
    return layout == Layout::kNchw ? "layout=nchw" : "layout=nhwc";
}

std::vector<VariantInfo> list_variants() {
    std::vector<VariantInfo> list;
    for (const Variant &v : registry()) {
        list.push_back({v.name, v.stage, to_string(v.isa), v.parameters, v.isa >= best_isa(), v.hash, Device()});
    }
    return list;
}

std::vector<VariantInfo> list_device_variants() {
    std::vector<VariantInfo> list;
    for (const DeviceVariant &v : device_variants()) {
        const Device device = std::strcmp(v.target, "opencl") == 0 ? Device::opencl() : Device::cuda();
        const Result<FoundDevice> found = find_device(device);
        list.push_back({v.variant.name, v.variant.stage, v.target, v.variant.parameters, found.ok() && found->target == v.target, v.variant.hash, device});
    }
    return list;
}

}  // namespace fourfold
