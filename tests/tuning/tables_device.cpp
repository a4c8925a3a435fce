// Tables of GPUs, on the OpenCL device that PoCL offers: the same tiers, by the GPU's name instead of the CPU's.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "fourfold/staged_plan.h"
#include "records.h"
#include "support/problems.h"
#include "tables.h"

namespace fourfold::test {
namespace {

using cli::header_line;
using cli::make_record;
using cli::record_line;

/// Every test begins and ends without tables.
class DeviceTiers : public ::testing::Test {
protected:
    void SetUp() override {
        if (const Result<DeviceInfo> info = device_info(Device::opencl()); !info) {
            GTEST_SKIP() << "skipped: " << info.status().message();
        }
        unload_tables(false);
    }
    void TearDown() override {
        unload_tables(true);
    }
};

PlanOptions on_device(Algorithm algorithm = Algorithm::kAuto) {
    PlanOptions options;
    options.device = Device::opencl();
    options.algorithm = algorithm;
    return options;
}

Plan plan_of(const Conv2dProblem &p, const PlanOptions &options = on_device()) {
    Result<Plan> plan = Plan::create(p, options);
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    return *plan;
}

std::vector<Candidate> choices_of(const Conv2dProblem &p) {
    const Result<std::vector<Candidate>> list = list_choices(p, on_device());
    EXPECT_TRUE(list.ok()) << list.status().message();
    return list.ok() ? *list : std::vector<Candidate>();
}

Record timed(const Conv2dProblem &p, const std::string &choice, double seconds, bool winner = true, double predicted = 1e-3) {
    PlanOptions options = on_device();
    options.threads = 1;
    Record r = make_record(p, options, choice);
    r.winner = winner;
    r.seconds_min = r.seconds_median = seconds;
    r.seconds_predicted = predicted;
    r.samples = 10;
    return r;
}

Result<TableInfo> load(const std::vector<Record> &records) {
    std::string text = header_line();
    for (const Record &r : records) {
        text += record_line(r, Device::opencl());
    }
    return load_table_text("mine", text);
}

const char *const kProblems[] = {"b2 ic20 i15x18 oc24 f3 p1", "b1 ic4 i24 oc6 f5 s2 g2 nhwc", "bwd-data b2 ic12 i15 oc20 f3 p1", "bwd-filters b2 ic12 i15 oc20 f3 p1", "unfold b1 ic3 i12 oc1 f3"};

TEST_F(DeviceTiers, ARecordOfThisGpuDecides) {
    for (const char *text : kProblems) {
        const Conv2dProblem p = parse_problem(text);
        unload_tables(false);
        const Plan before = plan_of(p);
        EXPECT_EQ(before.tier(), Tier::kCostModel);
        EXPECT_EQ(before.decided_by(), "least time by the cost model");
        const std::string choice = choices_of(p).back().choice;
        const Result<TableInfo> info = load({timed(p, choice, 1e-4)});
        ASSERT_TRUE(info.ok()) << info.status().message();
        EXPECT_EQ(info->summary(), "1 records");
        const Plan plan = plan_of(p);
        EXPECT_EQ(plan.choice(), choice) << text;
        EXPECT_EQ(plan.tier(), Tier::kRecord) << text;
        EXPECT_NE(plan.describe().find("record in mine"), std::string::npos) << plan.describe();
        EXPECT_EQ(plan_of(p, {}).tier(), Tier::kCostModel) << "the CPU's plans are none of a GPU's table's business";
    }
}

TEST_F(DeviceTiers, ANamedAlgorithmTakesItsFastestRecord) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    const std::string before = plan_of(p, on_device(Algorithm::kDirect)).choice();
    std::string other, winner;
    for (const Candidate &c : choices_of(p)) {
        other = c.algorithm == Algorithm::kDirect && c.choice != before ? c.choice : other;
        winner = c.algorithm != Algorithm::kDirect ? c.choice : winner;
    }
    ASSERT_FALSE(other.empty());
    ASSERT_TRUE(load({timed(p, winner, 1e-4), timed(p, before, 3e-4, false), timed(p, other, 2e-4, false)}).ok());
    const Plan plan = plan_of(p, on_device(Algorithm::kDirect));
    EXPECT_EQ(plan.choice(), other);
    EXPECT_EQ(plan_of(p).choice(), winner);
    // It is prepared as any other: the sum of ones.
    Result<StagedPlan> staged = StagedPlan::create(plan);
    ASSERT_TRUE(staged.ok()) << staged.status().message();
    std::vector<float> x(static_cast<size_t>(p.input_elements()), 1.0f), w(static_cast<size_t>(p.filter_elements()), 1.0f), y(static_cast<size_t>(p.output_elements()));
    Tensors tensors;
    tensors.input = x.data();
    tensors.filters = w.data();
    tensors.output = y.data();
    const Status status = staged->execute(tensors);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(y[static_cast<size_t>(p.out_width() + 1)], 20.0f * 9.0f);
}

TEST_F(DeviceTiers, OtherGpusAndCpusSayNothing) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    const std::string choice = choices_of(p).back().choice;
    const std::string cpu_choice = plan_of(p, {}).choice();
    Record other = timed(p, choice, 1e-4), target = other, impostor = other;
    other.microarchitecture = "opencl Another GPU";
    target.isa = "cuda86";
    impostor.microarchitecture = machine().microarchitecture;
    for (const Record &r : {other, target, impostor}) {
        unload_tables(false);
        ASSERT_TRUE(load({r}).ok());
        EXPECT_EQ(plan_of(p).tier(), Tier::kCostModel) << r.microarchitecture << " " << r.isa;
        EXPECT_EQ(plan_of(p, {}).tier(), Tier::kCostModel) << r.microarchitecture << " " << r.isa;
        EXPECT_EQ(plan_of(p, {}).choice(), cpu_choice);
    }
}

TEST_F(DeviceTiers, WhatCannotBeUsedIsCounted) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    const std::string choice = choices_of(p).back().choice;
    Record foreign = timed(p, choice, 1e-4);
    const Record good = foreign;
    // Of what the choice names, and of all stages that its algorithm runs beside: other contents, or none.
    ASSERT_GE(good.variants.size(), 2u);
    std::vector<Record> records(2 * good.variants.size(), good);
    for (size_t i = 0; i < good.variants.size(); i++) {
        records[2 * i].variants[i].second = "0123456789abcdef";
        records[2 * i + 1].variants.erase(records[2 * i + 1].variants.begin() + static_cast<std::ptrdiff_t>(i));
    }
    foreign.isa = "cuda999";
    records.push_back(foreign);
    const Result<TableInfo> info = load(records);
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->records, 0);
    EXPECT_EQ(info->stale, static_cast<int>(records.size()) - 1);
    EXPECT_EQ(info->foreign, 1);
    EXPECT_EQ(plan_of(p).tier(), Tier::kCostModel);
}

TEST_F(DeviceTiers, NeighboursVote) {
    const Conv2dProblem p = parse_problem("b2 ic20 i20 oc24 f3 p1");
    const Algorithm loser = plan_of(p).algorithm();
    std::vector<Record> records;
    for (int i : {16, 18, 19, 21, 22, 24}) {
        Conv2dProblem near = p;
        near.in_height = near.in_width = i;
        for (const Candidate &c : choices_of(near)) {
            records.push_back(timed(near, c.choice, c.predicted_seconds * (c.algorithm == loser ? 50.0 : 1.0), false, c.predicted_seconds));
        }
    }
    ASSERT_TRUE(load(records).ok());
    const Plan plan = plan_of(p);
    EXPECT_EQ(plan.tier(), Tier::kNeighbours) << plan.decided_by();
    EXPECT_NE(plan.algorithm(), loser);
}

TEST(MachineNames, AreWhatRecordsMayHold) {
    EXPECT_EQ(machine_name({}).microarchitecture, machine().microarchitecture);
    EXPECT_EQ(machine_name({}).isa, machine().isa);
    EXPECT_EQ(machine_name(Device::opencl(77)).isa, "");
    if (const Result<DeviceInfo> info = device_info(Device::opencl()); !info) {
        GTEST_SKIP() << "skipped: " << info.status().message();
    }
    const Conv2dProblem p = parse_problem("b1 ic1 i8 oc1 f3");
    Record back;
    std::string reason;
    const Record r = timed(p, choices_of(p).front().choice, 1e-4);
    EXPECT_EQ(r.microarchitecture.rfind("opencl ", 0), 0u) << r.microarchitecture;
    ASSERT_EQ(parse_record_line(record_line(r, Device::opencl()), back, reason), LineKind::kRecord) << reason;
    EXPECT_EQ(back.microarchitecture, machine_name(Device::opencl()).microarchitecture);
    EXPECT_TRUE(is_current(back));
}

}  // namespace
}  // namespace fourfold::test
