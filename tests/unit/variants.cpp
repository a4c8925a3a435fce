// The list of compiled variants, as the registry gives it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "content_hash.h"
#include "fourfold/fourfold.h"
#include "halide_hooks.h"
#include "machine.h"
#include "registry.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

TEST(Variants, NamesAreUniqueAndDecode) {
    std::set<std::string> names;
    for (const VariantInfo &variant : list_variants()) {
        EXPECT_TRUE(names.insert(variant.name).second) << variant.name << " is listed twice";
        EXPECT_EQ(variant.name.rfind(variant.stage + "_" + variant.isa, 0), 0u) << variant.name;
    }
    EXPECT_FALSE(names.empty());
}

TEST(Variants, HashesTellVariantsApart) {
    std::set<std::string> hashes;
    for (const VariantInfo &variant : list_variants()) {
        EXPECT_EQ(variant.hash.size(), 16u) << variant.name;
        EXPECT_EQ(variant.hash.find_first_not_of("0123456789abcdef"), std::string::npos) << variant.name;
        EXPECT_TRUE(hashes.insert(variant.hash).second) << variant.name << " has another's hash";
    }
}

TEST(Variants, HashesAreOfTheirObjects) {
    for (const VariantInfo &variant : list_variants()) {
        std::ifstream file(FOURFOLD_KERNELS "/fourfold_" + variant.name + ".o", std::ios::binary);
        std::ostringstream object;
        object << file.rdbuf();
        ASSERT_FALSE(object.str().empty()) << variant.name;
        EXPECT_EQ(variant.hash, hash_text(object.str())) << variant.name;
    }
}

/// The list that the build read.
nlohmann::json variant_list() {
    std::ifstream file(FOURFOLD_VARIANTS_JSON);
    return nlohmann::json::parse(file);
}

TEST(Variants, LieInTheDeclaredSpace) {
    const nlohmann::json stages = variant_list()["stages"];
    for (const VariantInfo &variant : list_variants()) {
        ASSERT_TRUE(stages.contains(variant.stage)) << variant.name;
        const nlohmann::json &space = stages[variant.stage]["space"];
        std::istringstream words(variant.parameters);
        size_t count = 0;
        for (std::string word; words >> word; count++) {
            const size_t equals = word.find('=');
            ASSERT_NE(equals, std::string::npos) << variant.name;
            const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
            ASSERT_TRUE(space.contains(key)) << variant.name << ": " << key;
            const auto allowed = [&](const nlohmann::json &v) { return v.is_string() ? v == value : v.is_number() && std::to_string(v.get<int>()) == value; };
            EXPECT_TRUE(std::any_of(space[key].begin(), space[key].end(), allowed)) << variant.name << ": " << word;
        }
        // Only those which may be null are left to their default.
        const auto count_named = std::count_if(space.begin(), space.end(), [&](const nlohmann::json &values) { return std::find(values.begin(), values.end(), nullptr) == values.end(); });
        EXPECT_LE(count, space.size()) << variant.name;
        EXPECT_GE(count, static_cast<size_t>(count_named)) << variant.name << " leaves a parameter to its default";
    }
}

/// Transforms of one size have their frequencies in one order, straight-line or in two loops: a block that one's plan packed is
/// another's as well.
TEST(Variants, TileTransformsOfASizeSharePackedFilters) {
    const auto problem = Conv2dProblem::parse("b2 ic18 i25x31 oc20 f5 p2");
    ASSERT_TRUE(problem) << problem.status().message();
    const std::vector<VariantInfo> all = list_variants();
    const auto size_of = [](const VariantInfo &v) { return v.parameters.substr(0, v.parameters.find(' ')); };
    int pairs = 0;
    for (const VariantInfo &packer : all) {
        for (const VariantInfo &user : all) {
            if (packer.stage != "tile_forward" || user.stage != packer.stage || !packer.runnable || !user.runnable || packer.isa != to_string(best_isa()) || user.isa != packer.isa || packer.name == user.name || size_of(packer) != size_of(user)) {
                continue;
            }
            const auto product = std::find_if(all.begin(), all.end(), [&](const VariantInfo &v) { return v.stage == "tile_product" && v.isa == user.isa; });
            ASSERT_NE(product, all.end());
            PlanOptions options;
            options.choice = "fft_tiled " + packer.name + " " + product->name;
            const Result<Plan> packing = Plan::create(*problem, options);
            options.choice = "fft_tiled " + user.name + " " + product->name;
            const Result<Plan> plan = Plan::create(*problem, options);
            ASSERT_TRUE(packing && plan) << packing.status().message() << plan.status().message();
            Operands operands(*problem, 1);
            AlignedBuffer packed(packing->packed_filter_bytes()), workspace(std::max(packing->workspace_bytes_unpacked(), plan->workspace_bytes()));
            const Status status = packing->pack_filters(operands.filters.view(), packed, workspace);
            ASSERT_TRUE(status.ok()) << status.message();
            Tensors tensors = operands.tensors();
            tensors.filters = packed;
            const Status executed = plan->execute(tensors, workspace);
            ASSERT_TRUE(executed.ok()) << executed.message();
            EXPECT_TRUE(matches(operands, operands.expected(), error_limit(Algorithm::kFftTiled))) << packer.name << " packs for " << user.name;
            pairs++;
        }
    }
    if (pairs == 0) {
        GTEST_SKIP() << "no size has two variants that run here";
    }
}

TEST(Variants, StayWithinTheBudget) {
    const nlohmann::json budget = variant_list()["budget"];
    EXPECT_LE(list_variants().size(), budget["variants"].get<size_t>());
    if (kSanitized) {
        GTEST_SKIP() << "a sanitized library has no budget of bytes";
    }
    EXPECT_LE(std::filesystem::file_size(FOURFOLD_LIBRARY), budget["library_bytes"].get<uintmax_t>());
}

TEST(Variants, EveryStageHasEveryRung) {
    std::map<std::string, std::set<std::string>> rungs_of_stage;
    std::set<std::string> rungs;
    for (const VariantInfo &variant : list_variants()) {
        rungs_of_stage[variant.stage].insert(variant.isa);
        rungs.insert(variant.isa);
    }
    EXPECT_TRUE(rungs.count("generic")) << "the last rung of the ladder";
#if defined(__x86_64__)
    EXPECT_TRUE(rungs.count("avx512"));
    EXPECT_TRUE(rungs.count("avx2"));
#endif
    for (const auto &[stage, have] : rungs_of_stage) {
        EXPECT_EQ(have, rungs) << "rungs of " << stage;
    }
}

TEST(Variants, MainStagesExist) {
    for (Algorithm algorithm : {Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
        EXPECT_FALSE(runnable_variants(algorithm).empty()) << to_string(algorithm) << "'s main stage, " << main_stage(algorithm);
    }
}

TEST(Variants, OneThatTheListLacksFailsWithASentence) {
    const Variant *variant = find_variant("pad", "mode=unheard-of");
    ASSERT_NE(variant, nullptr);
    KernelContext context;
    void *user_context = &context;
    void *arguments[] = {&user_context};
    EXPECT_NE(variant->call(arguments), 0);
    EXPECT_NE(std::string(context.text).find("lacks a variant"), std::string::npos) << context.text;
}

TEST(Machine, IsNamedByItsModelAndElseByItsFeatures) {
    EXPECT_EQ(microarchitecture_name("AuthenticAMD", 0x1A, 2, {}), "znver5");
    EXPECT_EQ(microarchitecture_name("AuthenticAMD", 0x19, 0x11, {}), "znver4");
    EXPECT_EQ(microarchitecture_name("AuthenticAMD", 0x19, 0x01, {}), "znver3");
    EXPECT_EQ(microarchitecture_name("GenuineIntel", 6, 0x8F, {true, false}), "sapphirerapids");
    EXPECT_EQ(microarchitecture_name("GenuineIntel", 6, 0x55, {}), "skylake-avx512");
    // A model that a hypervisor made up.
    EXPECT_EQ(microarchitecture_name("GenuineIntel", 6, 0xA7, {true, false}), "sapphirerapids");
    EXPECT_EQ(microarchitecture_name("GenuineIntel", 6, 0xA7, {true, true}), "graniterapids");
    EXPECT_EQ(microarchitecture_name("GenuineIntel", 6, 0xA7, {}), "intel-6-167");
    EXPECT_EQ(microarchitecture_name("Somebody", 6, 0x8F, {true, true}), "x86-64");
}

TEST(Variants, RunnableUpToTheMachinesRung) {
    const std::set<std::string> known = {"avx512", "avx2", "generic"};
    EXPECT_TRUE(known.count(machine().isa)) << machine().isa;
    EXPECT_GE(machine().hardware_threads, 1);
    EXPECT_FALSE(machine().microarchitecture.empty());
    for (const VariantInfo &variant : list_variants()) {
        if (variant.isa == machine().isa || variant.isa == "generic") {
            EXPECT_TRUE(variant.runnable) << variant.name;
        }
        if (machine().isa == "generic" && variant.isa != "generic") {
            EXPECT_FALSE(variant.runnable) << variant.name << " under the cap or on a machine without it";
        }
        if (machine().isa == "avx2" && variant.isa == "avx512") {
            EXPECT_FALSE(variant.runnable) << variant.name;
        }
    }
}

}  // namespace
}  // namespace fourfold::test
