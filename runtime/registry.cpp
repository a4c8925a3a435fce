#include "registry.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include "device/runtime.h"
#include "halide_hooks.h"

namespace fourfold {

const char *environment(const char *name) {
    return dispatch_list().empty() ? std::getenv(name) : nullptr;
}

std::atomic<RegistryTracer *> registry_tracer{nullptr};

namespace {
struct Registry {
    std::vector<Variant> list = built_in_variants();
    std::map<std::pair<std::string_view, Isa>, std::vector<const Variant *>> by_stage;

    Registry() {
        index();
    }
    void index() {
        by_stage.clear();
        for (const Variant &v : list) {
            by_stage[{v.stage, v.isa}].push_back(&v);
        }
    }
};

Registry &all_variants() {
    static Registry all;
    return all;
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
    return all_variants().list;
}

void add_variant(const Variant &variant) {
    all_variants().list.push_back(variant);
    all_variants().index();
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

const std::vector<const Variant *> &variants_of(const char *stage, Isa isa) {
    static const std::vector<const Variant *> none;
    const auto at = all_variants().by_stage.find({stage, isa});
    return at == all_variants().by_stage.end() ? none : at->second;
}

const std::vector<const Variant *> &variants_of(const char *stage) {
    return variants_of(stage, best_isa());
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
