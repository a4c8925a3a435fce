// The table that keeps a device's modules: who holds one, when it goes.
#include "device/module_table.h"

#include <atomic>
#include <string>
#include <thread>

#include <gtest/gtest.h>

namespace fourfold::test {
namespace {

std::atomic<int> alive{0};

struct Counted {
    Counted() {
        alive++;
    }
    ~Counted() {
        alive--;
    }
};

using Table = ModuleTable<Counted>;
constexpr int kIdle = static_cast<int>(Table::kIdle);

std::unique_ptr<Counted> load() {
    return std::make_unique<Counted>();
}

TEST(ModuleTable, SharedWhileHeldAndTheLastStayForTheNext) {
    Table table;
    std::vector<std::string> names;
    for (int i = 0; i < 3 * kIdle; i++) {
        names.push_back("module " + std::to_string(i));
    }
    const std::shared_ptr<void> held = table.hold(names[0].c_str(), load), same = table.hold(names[0].c_str(), load);
    EXPECT_EQ(alive, 1);
    const std::shared_ptr<Counted> module = table.find(names[0].c_str());
    for (const std::string &name : names) {
        EXPECT_NE(table.hold(name.c_str(), load), nullptr);
    }
    EXPECT_EQ(alive, 1 + kIdle);
    EXPECT_EQ(table.find(names[0].c_str()), module) << "it is held";
    EXPECT_EQ(table.find(names[1].c_str()), nullptr);
    EXPECT_NE(table.find(names.back().c_str()), nullptr);
    // The one held last goes last.
    EXPECT_NE(table.hold(names[names.size() - static_cast<size_t>(kIdle)].c_str(), load), nullptr);
    table.unload_idle(1);
    EXPECT_EQ(alive, 2);
    EXPECT_NE(table.find(names[names.size() - static_cast<size_t>(kIdle)].c_str()), nullptr);
    table.unload_idle(0);
    EXPECT_EQ(alive, 1);
}

TEST(ModuleTable, AFailureLeavesNothing) {
    const int before = alive;
    Table table;
    EXPECT_EQ(table.hold("module", [] { return nullptr; }), nullptr);
    EXPECT_EQ(table.find("module"), nullptr);
    std::vector<std::shared_ptr<void>> holds;
    EXPECT_FALSE(table.compile(&holds, "module", [] { return nullptr; }));
    EXPECT_TRUE(holds.empty());
    EXPECT_TRUE(table.compile(&holds, "module", load));
    EXPECT_TRUE(table.compile(&holds, "module", load));
    EXPECT_EQ(holds.size(), 1u);
    EXPECT_EQ(alive, before + 1);
    holds.clear();
    table.unload_idle(0);
    EXPECT_EQ(alive, before);
}

TEST(ModuleTable, WhatAnExecutionAsksForStays) {
    const int before = alive;
    {
        Table table;
        std::vector<std::shared_ptr<void>> holds;
        EXPECT_TRUE(table.compile(nullptr, "never loaded", load));
        // Loaded for a plan that is gone: another plan's end would unload it before the launch.
        ASSERT_TRUE(table.compile(&holds, "idle", load));
        holds.clear();
        ASSERT_NE(table.find("idle"), nullptr);
        EXPECT_TRUE(table.compile(nullptr, "idle", [] { return nullptr; })) << "it is there";
        // What a plan holds goes with it, however often it is executed.
        ASSERT_TRUE(table.compile(&holds, "held", load));
        EXPECT_TRUE(table.compile(nullptr, "held", load));
        holds.clear();
        table.unload_idle(0);
        EXPECT_NE(table.find("never loaded"), nullptr);
        EXPECT_NE(table.find("idle"), nullptr);
        EXPECT_EQ(table.find("held"), nullptr);
        EXPECT_EQ(alive, before + 2);
    }
    EXPECT_EQ(alive, before);
}

TEST(ModuleTable, AModuleStaysForWhoLaunchesIt) {
    const int before = alive;
    Table table;
    std::shared_ptr<void> held = table.hold("module", load);
    std::shared_ptr<Counted> launched = table.find("module");
    held.reset();
    table.unload_idle(0);
    EXPECT_EQ(table.find("module"), nullptr);
    EXPECT_EQ(alive, before + 1);
    launched.reset();
    EXPECT_EQ(alive, before);
}

/// Executions of an idle module beside one who unloads all that is idle.
TEST(ModuleTable, NobodyUnloadsWhatAnExecutionWasPromised) {
    for (int round = 0; round < 200; round++) {
        Table table;
        ASSERT_NE(table.hold("module", load), nullptr);
        std::thread other([&] { table.unload_idle(0); });
        EXPECT_TRUE(table.compile(nullptr, "module", load));
        EXPECT_NE(table.find("module"), nullptr);
        other.join();
        EXPECT_NE(table.find("module"), nullptr);
    }
}

}  // namespace
}  // namespace fourfold::test
