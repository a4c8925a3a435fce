// Devices as callers meet them: memory, copies, StagedPlan, streams, refusals.
#include <cstdlib>
#include <cstring>
#include <thread>

#include "device/device_test.h"
#include "fourfold/staged_plan.h"
#include "support/problems.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

TEST(Devices, NamesRoundTrip) {
    for (const Device &device : {Device::cpu(), Device::cuda(), Device::cuda(3), Device::opencl(), Device::opencl(1)}) {
        const Result<Device> back = parse_device(to_string(device));
        ASSERT_TRUE(back.ok()) << to_string(device);
        EXPECT_EQ(*back, device);
    }
    for (const char *name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cpu:1", "opencl:99999999999"}) {
        const Status status = parse_device(name).status();
        EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << name;
        EXPECT_NE(status.message().find(std::string("'").append(name).append("'")), std::string::npos) << status.message();
    }
}

TEST(Devices, ThoseMissingSayWhy) {
    for (const Device &device : {Device::cuda(77), Device::opencl(77)}) {
        const Status status = device_info(device).status();
        EXPECT_EQ(status.code(), StatusCode::kUnsupported) << to_string(device);
        EXPECT_FALSE(status.message().empty());
        PlanOptions options;
        options.device = device;
        EXPECT_EQ(Plan::create(parse_problem("b1 ic1 i4 oc1 f3"), options).status().message(), status.message());
        EXPECT_EQ(DeviceBuffer::allocate(device, 16).status().code(), StatusCode::kUnsupported);
    }
    EXPECT_EQ(device_info(Device::cpu()).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(device_info(Device::cuda(-1)).status().code(), StatusCode::kInvalidArgument);
}

class Staging : public DeviceTest {};

TEST_F(Staging, MemoryAndCopies) {
    Result<DeviceBuffer> buffer = DeviceBuffer::allocate(test_device(), 4096);
    ASSERT_TRUE(buffer.ok()) << buffer.status().message();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % kAlignment, 0u);
    std::vector<unsigned char> sent(4096), back(4096);
    for (size_t i = 0; i < sent.size(); i++) {
        sent[i] = static_cast<unsigned char>(i * 37);
    }
    ASSERT_TRUE(copy_to_device(test_device(), buffer->data(), sent.data(), sent.size()).ok());
    DeviceBuffer moved = std::move(*buffer);
    ASSERT_TRUE(copy_to_host(test_device(), back.data(), moved.data(), back.size()).ok());
    EXPECT_EQ(sent, back);
    // Addresses are the device's: any part can be read alone.
    ASSERT_TRUE(copy_to_host(test_device(), back.data(), static_cast<unsigned char *>(moved.data()) + 100, 10).ok());
    EXPECT_EQ(std::memcmp(back.data(), sent.data() + 100, 10), 0);
    EXPECT_EQ(copy_to_host(test_device(), nullptr, moved.data(), 1).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(DeviceBuffer::allocate(test_device(), size_t{1} << 60).status().code(), StatusCode::kResourceExhausted);
    const Result<DeviceBuffer> nothing = DeviceBuffer::allocate(test_device(), 0);
    ASSERT_TRUE(nothing.ok());
    EXPECT_EQ(nothing->data(), nullptr);
}

TEST_F(Staging, StagedPlanComputesHostData) {
    for (const char *text : {"fwd b2 ic5 i9 oc7 f3 p1 residual relu", "bwd-data b2 ic5 i9 oc7 f3 p1 s2", "bwd-filters b2 ic5 i9 oc7 f3 p1", "unfold b2 ic3 i7 oc1 f3 p1", "fold b2 ic3 i7 oc1 f3 p1"}) {
        Operands operands(parse_problem(text), 11);
        const Result<Plan> plan = Plan::create(operands.problem, options());
        ASSERT_TRUE(plan.ok()) << text << ": " << plan.status().message();
        Result<StagedPlan> staged = StagedPlan::create(*plan);
        ASSERT_TRUE(staged.ok()) << staged.status().message();
        Tensors tensors = operands.tensors();
        for (int repeat = 0; repeat < 2; repeat++) {
            operands.clear_output();
            const Status status = staged->execute(tensors);
            ASSERT_TRUE(status.ok()) << text << ": " << status.message();
            EXPECT_TRUE(matches(operands, operands.expected(), 1e-6));
            tensors.filters = Filters();  // packed the first time
        }
    }
}

TEST_F(Staging, StagedPlanRefusesWhatIsMissing) {
    const Result<Plan> plan = Plan::create(parse_problem("b1 ic2 i5 oc2 f3"), options());
    ASSERT_TRUE(plan.ok());
    Result<StagedPlan> staged = StagedPlan::create(*plan);
    ASSERT_TRUE(staged.ok());
    std::vector<float> x(50), w(36), y(18);
    Tensors tensors;
    tensors.input = x.data();
    tensors.output = y.data();
    EXPECT_EQ(staged->execute(tensors).message(), "filters are null, and none were packed before");
    tensors.input = nullptr;
    EXPECT_EQ(staged->execute(tensors).message(), "input is null");
    tensors.input = ConstView(x.data(), 60, 30, 6, 1);
    EXPECT_NE(staged->execute(tensors).message().find("input has gaps"), std::string::npos);
    const Result<Plan> cpu = Plan::create(plan->problem());
    EXPECT_EQ(StagedPlan::create(*cpu).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(Staging, PackedFiltersAreRefused) {
    const Conv2dProblem problem = parse_problem("b1 ic2 i33x20 oc2 f3");
    size_t limit = size_t{1} << 22;
    Result<StagedPlan> whole = StagedPlan::create(problem, options(), limit), pieces = StagedPlan::create(problem, options(), limit);
    while (pieces.ok() && pieces->pieces() == 1) {
        limit = limit * 3 / 4;
        pieces = StagedPlan::create(problem, options(), limit);
    }
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    ASSERT_TRUE(pieces.ok()) << pieces.status().message();
    ASSERT_EQ(whole->pieces(), 1);
    Operands operands(problem, 11);
    Tensors tensors = operands.tensors(), packed = tensors;
    const AlignedBuffer block(size_t{1} << 16);
    packed.filters = Filters(block);
    for (StagedPlan *staged : {&*whole, &*pieces}) {
        for (const bool packed_before : {false, true}) {
            if (packed_before) {
                ASSERT_TRUE(staged->pack_filters(tensors.filters.view).ok());
            }
            const Status status = staged->execute(packed);
            EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
            EXPECT_EQ(status.message().find("filters are packed; "), 0u) << status.message();
        }
        EXPECT_TRUE(staged->execute(tensors).ok());
    }
    EXPECT_EQ(whole->upload(packed).code(), StatusCode::kInvalidArgument);
    // Where there are none to read, as in a Plan, they do not matter.
    Operands columns(parse_problem("unfold b1 ic2 i7 oc1 f3"), 11);
    Result<StagedPlan> unfold = StagedPlan::create(columns.problem, options());
    ASSERT_TRUE(unfold.ok()) << unfold.status().message();
    tensors = columns.tensors();
    tensors.filters = Filters(block);
    EXPECT_TRUE(unfold->execute(tensors).ok());
}

/// Within less and less memory, until an execution has at least three pieces.
TEST_F(Staging, InPiecesTheResultIsTheSame) {
    for (const char *text : {
             "b1 ic3 i40x30 oc5 f3 p1 residual relu",
             "b1 ic4 i41x30 oc6 f5x3 s2 p1,0,2,1 g2",
             "b1 ic3 i33x20 oc4 f3 p3 d2 reflect",
             "b1 ic3 i33x20 oc4 f7 p3 symmetric conv",
             "b1 ic3 i33x20 oc4 f4 p2,1,1,2 replicate s3x1",
             "b1 ic3 i33x20 oc4 f3 p1 circular residual",
             "b2 ic3 i33x20 oc4 f3 p2 constant:0.5 nhwc residual clamp:-1,1",
             "b1 ic6 i40x11 oc6 f3 p1 g6 nhwc",
             "b7 ic3 i9x7 oc5 f3 p1 residual",
         }) {
        for (bool regions : {false, true}) {
            Operands operands(parse_problem(text), 11, Values::kUniform, Placement::kGuardBytes, regions);
            size_t limit = size_t{1} << 22;
            Result<StagedPlan> staged = StagedPlan::create(operands.problem, options(), limit);
            while (staged.ok() && staged->pieces() < 3) {
                limit = limit * 3 / 4;
                staged = StagedPlan::create(operands.problem, options(), limit);
            }
            ASSERT_TRUE(staged.ok()) << text << " in " << limit << " bytes: " << staged.status().message();
            Tensors tensors = operands.tensors();
            for (int repeat = 0; repeat < 2; repeat++) {
                operands.clear_output();
                const Status status = staged->execute(tensors);
                ASSERT_TRUE(status.ok()) << text << ": " << status.message();
                EXPECT_TRUE(matches(operands, operands.expected(), error_limit(staged->plan().algorithm()))) << text << " in " << staged->pieces() << " pieces";
                tensors.filters = Filters();  // packed the first time
            }
        }
    }
}

TEST_F(Staging, WhatCannotBeDoneInPieces) {
    const Conv2dProblem problem = parse_problem("b1 ic64 i64 oc64 f3 p1");
    const Status row = StagedPlan::create(problem, options(), 1000).status();
    EXPECT_EQ(row.code(), StatusCode::kResourceExhausted) << row.message();
    EXPECT_EQ(row.message(), "device '" + to_string(test_device()) + "': one row of one image takes more than the 1000 bytes of memory that it may have");
    const Status gradient = StagedPlan::create(gradient_of(problem, Operation::kBackwardData), options(), 1000).status();
    EXPECT_EQ(gradient.code(), StatusCode::kResourceExhausted) << gradient.message();
    EXPECT_EQ(gradient.message().find("device '" + to_string(test_device()) + "': "), 0u) << gradient.message();
    PlanOptions winograd = options(Algorithm::kWinograd);
    EXPECT_EQ(StagedPlan::create(parse_problem("b1 ic2 i9 oc2 f5"), winograd).status().code(), StatusCode::kUnsupported);
    EXPECT_EQ(StagedPlan::create(problem, PlanOptions()).status().code(), StatusCode::kInvalidArgument);
}

/// The workspace has what tensors and packed filters leave of the memory: fewer images at a time rather than pieces, or no plan.
TEST_F(Staging, TheLimitIsOfTensorsAndWorkspaceTogether) {
    const Conv2dProblem forward = parse_problem("b8 ic16 i16 oc16 f3 p1");
    for (const Operation operation : {Operation::kForward, Operation::kBackwardData}) {
        Operands operands(gradient_of(forward, operation), 11);
        const size_t tensors = 2u * 8 * 16 * 16 * 16 * 4 + 2u * 16 * 16 * 9 * 4 + 4096, image = 16u * 9 * 16 * 16 * 4;
        const size_t limit = tensors + 6 * image;
        Result<StagedPlan> staged = StagedPlan::create(operands.problem, options(Algorithm::kIm2col), limit);
        ASSERT_TRUE(staged.ok()) << staged.status().message();
        EXPECT_EQ(staged->pieces(), 1) << operands.to_string();
        EXPECT_LE(staged->plan().workspace_bytes(), 6 * image);
        const Status status = staged->execute(operands.tensors());
        ASSERT_TRUE(status.ok()) << status.message();
        EXPECT_TRUE(matches(operands, operands.expected(), 1e-6));
    }
    // Filters that are most of it: what they leave is known when a first plan has told their packed size.
    const Conv2dProblem filters = parse_problem("b4 ic64 i8 oc64 f5 p2");
    const size_t w = 64u * 64 * 25 * 4, columns = 64u * 25 * 64 * 4, images = 2u * 4 * 64 * 64 * 4 + 64 * 4;
    const Result<StagedPlan> staged = StagedPlan::create(filters, options(Algorithm::kIm2col), images + 2 * w + 2 * columns);
    ASSERT_TRUE(staged.ok()) << staged.status().message();
    EXPECT_EQ(staged->pieces(), 1);
}

TEST_F(Staging, DownloadTakesOnlyWhatWasUploaded) {
    Operands operands(parse_problem("bwd-filters b2 ic5 i9 oc7 f3 p1"), 11);
    Result<StagedPlan> staged = StagedPlan::create(operands.problem, options());
    ASSERT_TRUE(staged.ok()) << staged.status().message();
    Tensors tensors = operands.tensors(), other = tensors;
    EXPECT_NE(staged->download(tensors).message().find("nothing was uploaded"), std::string::npos);
    tensors.grad_bias = nullptr;
    ASSERT_TRUE(staged->upload(tensors).ok());
    ASSERT_TRUE(staged->launch().ok());
    EXPECT_EQ(staged->download(other).message(), "grad_bias was null when the tensors were uploaded; it was not computed");
    other = tensors;
    other.grad_filters.data = nullptr;
    EXPECT_EQ(staged->download(other).message(), "grad_filters is null");
    std::vector<float> wide(7 * 5 * 3 * 4, 5.0f);
    other.grad_filters = MutableView(wide.data(), 60, 12, 4, 1);
    EXPECT_NE(staged->download(other).message().find("grad_filters has gaps"), std::string::npos);
    other.grad_filters = MutableView(wide.data(), 45, 1, 15, 5);
    EXPECT_EQ(staged->download(other).message(), "grad_filters has other strides than when it was uploaded");
    EXPECT_EQ(wide, std::vector<float>(wide.size(), 5.0f));
    // The same strides, said in words.
    other.grad_filters = MutableView(tensors.grad_filters.data, 45, 9, 3, 1);
    EXPECT_TRUE(staged->download(other).ok());
    EXPECT_TRUE(matches(operands, operands.expected(), 1e-6));
}

TEST_F(Staging, ThreadsShareAPlan) {
    Operands first(parse_problem("b2 ic8 i12 oc8 f3 p1"), 1), second(first.problem, 2);
    const Result<Plan> plan = Plan::create(first.problem, options());
    ASSERT_TRUE(plan.ok());
    const reference::Forward expected[] = {first.expected(), second.expected()};
    Status status[2];
    std::thread other([&] {
        for (int i = 0; i < 10 && status[1].ok(); i++) {
            status[1] = run_plan(*plan, second);
        }
    });
    for (int i = 0; i < 10 && status[0].ok(); i++) {
        status[0] = run_plan(*plan, first);
    }
    other.join();
    EXPECT_TRUE(status[0].ok()) << status[0].message();
    EXPECT_TRUE(status[1].ok()) << status[1].message();
    EXPECT_TRUE(matches(first, expected[0], 1e-6));
    EXPECT_TRUE(matches(second, expected[1], 1e-6));
}

TEST_F(Staging, ProfileNamesTheStages) {
    Operands operands(parse_problem("b1 ic4 i9 oc4 f3 p1 reflect"), 1);
    const Result<Plan> plan = Plan::create(operands.problem, options(Algorithm::kDirect));
    ASSERT_TRUE(plan.ok());
    Result<StagedPlan> staged = StagedPlan::create(*plan);
    ASSERT_TRUE(staged.ok());
    Profile profile;
    ExecutionContext context;
    context.profile = &profile;
    ASSERT_TRUE(staged->execute(operands.tensors(), context).ok());
    std::string names;
    for (const Profile::Stage &stage : profile.stages()) {
        names += stage.name + std::string(" ");
    }
    EXPECT_NE(names.find("pad "), std::string::npos) << names;
    EXPECT_NE(names.find("conv_implicit "), std::string::npos) << names;
}

}  // namespace
}  // namespace fourfold::test
