// The CUDA side of the library on a stand-in for the driver (standin_driver.h), which ctest puts before the real one: everything but
// the arithmetic, on machines without a GPU.
#include <dlfcn.h>

#include <algorithm>
#include <complex>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#if defined(FOURFOLD_HAVE_AUTOTUNE)
#include "contest.h"
#endif
#include "device/frequency_product.h"
#include "device/stager.h"
#include "device/standin_driver.h"
#include "fourfold/fourfold.h"
#include "fourfold/staged_plan.h"
#include "support/problems.h"
#include "support/spawn.h"
#include "tables.h"

namespace fourfold::test {
namespace {

constexpr int kOutOfMemory = 2, kLaunchFailed = 719;

StandIn *standin() {
    static StandIn *const found = [] {
        void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        auto *get = library != nullptr ? reinterpret_cast<StandIn *(*)()>(dlsym(library, "fourfold_standin")) : nullptr;
        return get != nullptr ? get() : nullptr;
    }();
    return found;
}

Conv2dProblem problem_of(const char *text) {
    const Result<Conv2dProblem> problem = Conv2dProblem::parse(text);
    return *problem;
}

DeviceBuffer buffer(size_t floats) {
    Result<DeviceBuffer> made = DeviceBuffer::allocate(Device::cuda(), floats * sizeof(float));
    EXPECT_TRUE(made.ok()) << made.status().message();
    return made ? std::move(*made) : DeviceBuffer();
}

/// Where the stand-in has what is in memory of the device.
float *content(const DeviceBuffer &buffer) {
    return standin()->content(buffer.floats());
}
/// The same of memory of so many bytes; null where there is none, or more than one.
void *content_of(size_t bytes) {
    return standin()->content(static_cast<unsigned char *>(standin()->allocation_of(bytes)));
}

/// A plan with memory of the device for all that it reads and writes. Throws where there is no plan, since the test itself then makes no
/// sense.
struct OnDevice {
    Conv2dProblem problem;
    Plan plan;
    DeviceBuffer x, w, y, bias, packed, workspace;

    OnDevice(const char *text, Algorithm algorithm)
        : OnDevice(text, options_of(algorithm)) {
    }
    OnDevice(const char *text, const PlanOptions &options)
        : problem(problem_of(text)), plan(make(problem, options)), x(buffer(static_cast<size_t>(problem.input_elements()))), w(buffer(static_cast<size_t>(problem.filter_elements()))), y(buffer(static_cast<size_t>(problem.output_elements()))), bias(buffer(static_cast<size_t>(problem.out_channels))), packed(bytes(plan.packed_filter_bytes())), workspace(bytes(plan.workspace_bytes_unpacked())) {
    }

    static DeviceBuffer bytes(size_t count) {
        return buffer((count + 3) / 4);
    }
    static PlanOptions options_of(Algorithm algorithm) {
        PlanOptions options;
        options.device = Device::cuda();
        options.algorithm = algorithm;
        return options;
    }
    static Plan make(const Conv2dProblem &problem, const PlanOptions &options) {
        Result<Plan> made = Plan::create(problem, options);
        if (!made) {
            throw std::runtime_error(problem.to_string() + ": " + made.status().message());
        }
        return *made;
    }
    Status pack(void *stream = nullptr) {
        ExecutionContext context;
        context.stream = stream;
        return plan.pack_filters(w.floats(), packed, workspace, context);
    }
    Status execute(void *stream = nullptr) {
        Tensors t;
        t.input = x.floats();
        t.filters = ConstMemoryBlock(packed);
        t.bias = bias.floats();
        t.output = y.floats();
        ExecutionContext context;
        context.stream = stream;
        return plan.execute(t, workspace, context);
    }
};

/// A stream as callers make them, there until this goes.
struct CallersStream : DeviceStream {
    CallersStream() {
        const Result<DeviceRuntime *> runtime = device_runtime(Device::cuda());
        EXPECT_TRUE(runtime.ok() && make(**runtime).ok());
    }
};

struct Case {
    Algorithm algorithm;
    const char *problem;
};
constexpr Case kCases[] = {
    {Algorithm::kIm2col, "b2 ic5 i9x7 oc6 f3 p1 relu"},
    {Algorithm::kIm2col, "b3 ic4 i11 oc4 f3 s2 p1 g2 reflect"},
    {Algorithm::kFft, "b3 ic5 i19x17 oc6 f5 p2 relu"},
    {Algorithm::kFft, "b2 ic4 i11 oc4 f3 s2 p1 g2 symmetric"},
    {Algorithm::kFftTiled, "b2 ic5 i41x57 oc6 f5 p2"},
    {Algorithm::kWinograd, "b3 ic5 i19x17 oc6 f3 p1 relu"},
    {Algorithm::kWinograd, "b2 ic4 i11 oc34 f3 p1 g2 symmetric"},
};

class CudaRuntime : public ::testing::Test {
protected:
    void SetUp() override {
        if (standin() == nullptr) {
            GTEST_SKIP() << "libcuda.so.1 is not the stand-in; ctest loads it by LD_LIBRARY_PATH";
        }
        standin()->clear();
    }
    void TearDown() override {
        if (standin() != nullptr) {
            EXPECT_EQ(standin()->pushed, standin()->popped) << "a context stayed current";
            EXPECT_EQ(std::exchange(standin()->astray, {}), std::vector<std::string>()) << "with a stream that is not there";
        }
    }
};

/// Before all others: a process initialises the driver once.
TEST_F(CudaRuntime, ADriverThatRefusedIsAskedAgain) {
    static bool repeated = false;
    if (std::exchange(repeated, true)) {
        GTEST_SKIP() << "the driver is initialised since the first time";
    }
    standin()->fail_next("cuInit", kOutOfMemory);
    const Status refused = device_info(Device::cuda()).status();
    EXPECT_EQ(refused.code(), StatusCode::kUnsupported);
    EXPECT_EQ(refused.message(), "device 'cuda': the NVIDIA driver refuses: cuInit failed with CUDA_ERROR_OUT_OF_MEMORY");
    EXPECT_TRUE(device_info(Device::cuda()).ok()) << "a failure must not stick";
}

TEST_F(CudaRuntime, SaysWhatTheDriverSays) {
    const Result<DeviceInfo> info = device_info(Device::cuda());
    ASSERT_TRUE(info.ok()) << info.status().message();
    EXPECT_EQ(info->name, "Stand-in 0");
    EXPECT_EQ(info->capability, 90);
    EXPECT_EQ(info->memory_bytes, size_t{1} << 30);
    EXPECT_EQ(info->compute_units, 132);
    EXPECT_EQ(info->driver, "CUDA 13.0");
    const Result<DeviceInfo> seventh = device_info(Device::cuda(7));
    EXPECT_EQ(seventh.status().code(), StatusCode::kUnsupported);
    EXPECT_EQ(seventh.status().message(), "device 'cuda:7': does not exist; the driver shows 3 GPUs");
}

TEST_F(CudaRuntime, MemoryGoesAndComesBack) {
    const size_t before = standin()->allocated;
    {
        const DeviceBuffer memory = buffer(1000);
        EXPECT_EQ(standin()->allocated, before + 4000);
        std::vector<float> in(1000, 2.5f), out(1000);
        EXPECT_TRUE(copy_to_device(Device::cuda(), memory.data(), in.data(), 4000).ok());
        EXPECT_TRUE(copy_to_host(Device::cuda(), out.data(), memory.data(), 4000).ok());
        EXPECT_EQ(in, out);
    }
    EXPECT_EQ(standin()->allocated, before);
}

TEST_F(CudaRuntime, SaysWhenMemoryRunsOut) {
    const Result<DeviceBuffer> large = DeviceBuffer::allocate(Device::cuda(), size_t{1} << 31);
    EXPECT_EQ(large.status().code(), StatusCode::kResourceExhausted);
    EXPECT_EQ(large.status().message(), "device 'cuda': there are no 2147483648 bytes of memory left");
    standin()->fail("cuMemAlloc", kOutOfMemory);
    PlanOptions options;
    options.device = Device::cuda();
    const Result<Plan> plan = Plan::create(problem_of("b1 ic3 i8 oc4 f3 p1"), options);
    EXPECT_EQ(plan.status().code(), StatusCode::kResourceExhausted) << plan.status().message();
}

TEST_F(CudaRuntime, ADeviceThatFailedIsTriedAgainAndNobodyWaitsForAnother) {
    static bool repeated = false;
    if (std::exchange(repeated, true)) {
        GTEST_SKIP() << "the contexts are there since the first time";
    }
    standin()->fail_next("cuDevicePrimaryCtxRetain", kOutOfMemory);
    const Status status = DeviceBuffer::allocate(Device::cuda(1), 64).status();
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
    EXPECT_EQ(status.message(), "device 'cuda:1': cuDevicePrimaryCtxRetain failed with CUDA_ERROR_OUT_OF_MEMORY");
    EXPECT_TRUE(DeviceBuffer::allocate(Device::cuda(1), 64).ok()) << "a failure must not stick";
    DeviceBuffer first = buffer(16);
    standin()->set_slow_loads(true);
    std::thread slow([] { EXPECT_TRUE(DeviceBuffer::allocate(Device::cuda(2), 64).ok()); });
    standin()->wait_for_loading(1);
    EXPECT_TRUE(DeviceBuffer::allocate(Device::cuda(1), 64).ok()) << "while another device's context is made";
    first = DeviceBuffer();
    standin()->set_slow_loads(false);
    slow.join();
}

/// Of the GPUs the third has less (CMakeLists.txt), and launches that ask for more are refused. After the test that makes its context.
TEST_F(CudaRuntime, SharedMemoryIsTheDevices) {
    PlanOptions options;
    options.algorithm = Algorithm::kDirect;
    for (const VariantInfo &v : list_device_variants()) {
        options.variant = v.runnable && v.device == Device::cuda() && v.stage == "conv_plane" ? v.name : options.variant;
    }
    ASSERT_FALSE(options.variant.empty());
    size_t most[2] = {0, 0};
    for (const auto &[device, shared, at] : {std::tuple(Device::cuda(), size_t{49152}, &most[0]), {Device::cuda(2), size_t{16384}, &most[1]}}) {
        options.device = device;
        const auto problem = [](int64_t filter) { return problem_of(("b1 ic1 i300 oc1 f" + std::to_string(filter)).c_str()); };
        int64_t filter = 1;
        for (; Plan::create(problem(filter), options).ok(); filter++) {
        }
        const Status refused = Plan::create(problem(filter), options).status();
        EXPECT_EQ(refused.code(), StatusCode::kUnsupported);
        EXPECT_NE(refused.message().find(" bytes of shared memory, of which there are " + std::to_string(shared)), std::string::npos) << refused.message();
        PlanOptions any = options;
        any.variant.clear();
        EXPECT_EQ(Plan::create(problem(filter), any)->variant().rfind("conv_implicit", 0), 0u) << "the other form needs none";
        // The largest that is planned can be launched.
        Result<StagedPlan> staged = StagedPlan::create(problem(filter - 1), options);
        ASSERT_TRUE(staged.ok()) << staged.status().message();
        std::vector<float> x(300 * 300), w(static_cast<size_t>(filter * filter)), y(300 * 300);
        Tensors t;
        t.input = x.data();
        t.filters = w.data();
        t.output = y.data();
        standin()->clear();
        const Status status = staged->execute(t);
        EXPECT_TRUE(status.ok()) << status.message();
        for (const DriverCall &call : standin()->recorded("cuLaunchKernel")) {
            *at = std::max(*at, call.bytes);
        }
        EXPECT_LE(*at, shared);
        EXPECT_GT(*at, shared * 9 / 10) << "a variant was refused that fits";
    }
    // In 32-bit indices packed filters count too.
    options.device = Device::cuda();
    const Status packed = Plan::create(problem_of("b1 ic1 i90 oc200000 f52"), options).status();
    EXPECT_EQ(packed.code(), StatusCode::kUnsupported);
    EXPECT_NE(packed.message().find("packed filters of 2^31 bytes or more"), std::string::npos) << packed.message();
}

TEST_F(CudaRuntime, PlansCompileAndExecutionsOnlyLaunch) {
    for (const Case &c : kCases) {
        SCOPED_TRACE(std::string(to_string(c.algorithm)) + ": " + c.problem);
        OnDevice on(c.problem, c.algorithm);
        const CallersStream stream;
        standin()->clear();
        // What follows is all that the first execution does as well.
        EXPECT_TRUE(on.pack(stream.get()).ok());
        const Status status = on.execute(stream.get());
        EXPECT_TRUE(status.ok()) << status.message();
        EXPECT_FALSE(standin()->recorded("cuLaunchKernel").empty());
        const std::set<std::string> allowed = {"cuLaunchKernel", "cuMemsetD8Async", "cuMemcpyHtoDAsync", "cufftExecR2C", "cufftExecC2R"};
        for (const DriverCall &call : standin()->calls) {
            EXPECT_TRUE(allowed.count(call.name)) << call.name << " while executing";
            if (call.name == "cuLaunchKernel" || call.name.rfind("cuMem", 0) == 0 || call.name.rfind("cufftExec", 0) == 0) {
                EXPECT_EQ(call.stream, stream.get()) << call.name << " " << call.entry;
            }
        }
        // Without packing nothing at all is copied.
        standin()->clear();
        EXPECT_TRUE(on.execute(stream.get()).ok());
        EXPECT_TRUE(standin()->recorded("cuMemcpyHtoDAsync").empty());
    }
}

TEST_F(CudaRuntime, NoLimitOfRegisters) {
    // The whole process's modules: what plans of other tests loaded is loaded no more.
    OnDevice on("b1 ic3 i8 oc4 f5 p2 circular", Algorithm::kIm2col);
    for (const DriverCall &call : standin()->recorded("cuModuleLoadDataEx")) {
        EXPECT_EQ(call.options, 0u);
        EXPECT_EQ(call.target, "sm_86");
    }
    standin()->clear();
    OnDevice again("b1 ic3 i8 oc4 f5 p2 circular", Algorithm::kIm2col);
    EXPECT_TRUE(standin()->recorded("cuModuleLoadDataEx").empty()) << "a module is loaded once for all plans";
}

TEST_F(CudaRuntime, TransformsByCufftAndByOurOwn) {
    const Conv2dProblem problem = problem_of("b3 ic5 i40x50 oc6 f5 p2");
    for (const char *transforms : {"cufft", "generated"}) {
        SCOPED_TRACE(transforms);
        PlanOptions options;
        options.device = Device::cuda();
        options.choice = std::string("fft transforms=") + transforms;
        const Result<Plan> plan = Plan::create(problem, options);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        EXPECT_NE(plan->choice().find(transforms), std::string::npos) << plan->choice();
    }
    standin()->fail("cufftCreate", 5);
    PlanOptions options;
    options.device = Device::cuda();
    options.algorithm = Algorithm::kFft;
    const Result<Plan> without = Plan::create(problem_of("b3 ic5 i41x57 oc6 f5 p2"), options);
    ASSERT_TRUE(without.ok()) << without.status().message();
    EXPECT_NE(without->choice().find("generated"), std::string::npos) << "a cuFFT that fails leaves our own";
}

/// Before the tests that need the handle of cuBLAS, which the process keeps.
TEST_F(CudaRuntime, CublasIsMadeForPlansThatUseIt) {
    static bool repeated = false;
    if (std::exchange(repeated, true)) {
        GTEST_SKIP() << "the handle is there since the first time";
    }
    const Conv2dProblem problem = problem_of("b3 ic5 i40x50 oc6 f5 p2");
    PlanOptions options;
    options.device = Device::cuda();
    options.algorithm = Algorithm::kFft;
    const Result<Plan> best = Plan::create(problem, options);
    ASSERT_TRUE(best.ok()) << best.status().message();
    ASSERT_EQ(best->choice().find("cublas"), std::string::npos) << best->choice();
    EXPECT_TRUE(standin()->recorded("cublasCreate").empty()) << "it was considered, and not chosen";
    options.algorithm = Algorithm::kAuto;
    options.choice = "fft product=cublas";
    standin()->fail("cublasCreate", 3);
    const Status refused = Plan::create(problem, options).status();
    ASSERT_FALSE(standin()->recorded("cublasCreate").empty()) << "a plan before this one made the handle, or this one makes none";
    EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
    EXPECT_EQ(refused.message().find("fft: device 'cuda': cuBLAS: cublasCreate failed with error 3"), 0u) << refused.message();
    standin()->clear();
    ASSERT_TRUE(Plan::create(problem, options).ok()) << "a failure must not stick";
    ASSERT_TRUE(Plan::create(problem, options).ok());
    EXPECT_EQ(standin()->recorded("cublasCreate").size(), 1u) << "one handle for all plans";
}

TEST_F(CudaRuntime, TheSpectralProductByCublas) {
    for (const char *text : {"b3 ic5 i40x50 oc6 f5 p2", "b2 ic4 i21 oc6 f3 s2 p1 g2", "b5 ic3 i32x12 oc1 f3 circular"}) {
        SCOPED_TRACE(text);
        standin()->clear();
        PlanOptions options;
        options.device = Device::cuda();
        // Transforms of the same planes in place, which are not the same plans of cuFFT; the last problem's lie at the same distances.
        options.choice = "fft transforms=cufft";
        const Result<Plan> in_place = Plan::create(problem_of(text), options);
        ASSERT_TRUE(in_place.ok()) << in_place.status().message();
        EXPECT_NE(in_place->variant(), "cublas");
        options.choice = "fft product=cublas";
        OnDevice on(text, options);
        EXPECT_EQ(on.plan.choice(), "fft product=cublas transforms=cufft");
        EXPECT_EQ(on.plan.variant(), "cublas");
        ASSERT_TRUE(on.pack().ok());
        const CallersStream stream;
        standin()->clear();
        const size_t allocated = standin()->allocated;
        Status status = on.execute(stream.get());
        ASSERT_TRUE(status.ok()) << status.message();
        EXPECT_EQ(standin()->allocated, allocated);
        EXPECT_EQ(standin()->recorded("cufftExecR2C").size(), 1u);
        EXPECT_EQ(standin()->recorded("cufftExecC2R").size(), 1u);
        EXPECT_TRUE(standin()->recorded("cublas loads a kernel").empty()) << "while executing";
        const std::vector<DriverCall> products = standin()->recorded("cublasCgemmStridedBatched");
        EXPECT_EQ(products.size(), static_cast<size_t>(on.problem.groups));
        for (const DriverCall &call : products) {
            EXPECT_EQ(call.stream, stream.get());
        }
        for (const DriverCall &call : standin()->recorded("cuLaunchKernel")) {
            EXPECT_EQ(call.entry.find("spectral_product"), std::string::npos) << call.entry;
        }
        standin()->fail("cublasCgemmStridedBatched", 14);
        status = on.execute();
        EXPECT_EQ(status.message(), "device 'cuda': cuBLAS: cublasCgemmStridedBatched failed with error 14");
        EXPECT_EQ(status.code(), StatusCode::kInternal);
        standin()->clear();
        standin()->fail_next("cublasCgemmStridedBatched", 3);
        EXPECT_EQ(on.execute().code(), StatusCode::kResourceExhausted) << "CUBLAS_STATUS_ALLOC_FAILED";
        standin()->fail_next("cufftExecR2C", 2);
        EXPECT_EQ(on.execute().code(), StatusCode::kResourceExhausted) << "CUFFT_ALLOC_FAILED";
        standin()->fail_next("cufftExecC2R", 6);
        EXPECT_EQ(on.execute().code(), StatusCode::kInternal) << "CUFFT_EXEC_FAILED";
        standin()->clear();
        EXPECT_TRUE(on.execute().ok()) << "a failed product must not stick";
    }
    PlanOptions named;
    named.device = Device::cuda();
    named.choice = "fft product=cublas";
    named.workspace_limit = 1 << 20;
    EXPECT_EQ(Plan::create(problem_of("b3 ic5 i40x50 oc6 f5 p2"), named).status().code(), StatusCode::kResourceExhausted) << "its workspace is the plan's";
}

TEST_F(CudaRuntime, CublasMultipliesTheMatricesThatItIsGiven) {
    const Result<DeviceRuntime *> runtime = device_runtime(Device::cuda());
    ASSERT_TRUE(runtime.ok());
    const Result<std::unique_ptr<FrequencyProduct>> product = cublas_product(**runtime);
    ASSERT_TRUE(product.ok()) << product.status().message();
    // Two groups side by side in the rows; more frequencies than one call takes.
    const FrequencyProduct::Sizes sizes = {65537, 2, 3, 2};
    const int64_t groups = 2, x_step = sizes.rows * groups * sizes.channels, y_step = sizes.rows * groups * sizes.outputs;
    const size_t allocated = standin()->allocated;
    const Status prepared = (*product)->prepare(sizes, {nullptr, x_step, groups * sizes.channels}, {nullptr, y_step, groups * sizes.outputs});
    ASSERT_TRUE(prepared.ok()) << prepared.message();
    EXPECT_FALSE(standin()->recorded("cublasCgemmStridedBatched").empty());
    EXPECT_EQ(standin()->allocated, allocated) << "what preparing took goes back";
    const DeviceBuffer x = buffer(static_cast<size_t>(2 * sizes.frequencies * x_step)), w = buffer(static_cast<size_t>(2 * sizes.frequencies * sizes.outputs * sizes.channels)), y = buffer(static_cast<size_t>(2 * sizes.frequencies * y_step)), work = buffer((*product)->workspace_bytes() / 4);
    const auto value = [](int64_t i, int64_t salt) { return static_cast<float>((i * 37 + salt) % 23 - 11); };
    for (int64_t i = 0; i < 2 * sizes.frequencies * x_step; i++) {
        content(x)[i] = value(i, 1);
    }
    for (int64_t i = 0; i < 2 * sizes.frequencies * sizes.outputs * sizes.channels; i++) {
        content(w)[i] = value(i, 5);
    }
    KernelContext context;
    context.device = *runtime;
    for (int64_t g = 0; g < groups; g++) {
        ASSERT_TRUE((*product)->run(sizes, {x.floats() + 2 * g * sizes.channels, x_step, groups * sizes.channels}, w.floats(), {y.floats() + 2 * g * sizes.outputs, y_step, groups * sizes.outputs}, 0.5f, work.data(), context)) << context.text;
    }
    const auto number = [](const DeviceBuffer &b, int64_t i) { return std::complex<double>(content(b)[2 * i], content(b)[2 * i + 1]); };
    for (const int64_t f : {int64_t{0}, int64_t{1}, int64_t{65534}, int64_t{65535}, int64_t{65536}}) {
        for (int64_t n = 0; n < sizes.rows; n++) {
            for (int64_t g = 0; g < groups; g++) {
                for (int64_t k = 0; k < sizes.outputs; k++) {
                    std::complex<double> sum = 0.0;
                    for (int64_t c = 0; c < sizes.channels; c++) {
                        sum += number(x, f * x_step + (n * groups + g) * sizes.channels + c) * number(w, (f * sizes.outputs + k) * sizes.channels + c);
                    }
                    EXPECT_EQ(number(y, f * y_step + (n * groups + g) * sizes.outputs + k), 0.5 * sum) << f << " " << n << " " << g << " " << k;
                }
            }
        }
    }
}

/// Of cuFFT, now.
long live_transforms() {
    return static_cast<long>(standin()->recorded("cufftCreate").size()) - static_cast<long>(standin()->recorded("cufftDestroy").size());
}

TEST_F(CudaRuntime, CufftPlansLiveAsLongAsOursThatUseThem) {
    PlanOptions options;
    options.device = Device::cuda();
    options.choice = "fft transforms=cufft";
    // 5 images of which not all fit the limit: blocks of several sizes are asked for.
    const Conv2dProblem problem = problem_of("b5 ic3 i40x50 oc4 f5 p2");
    const Result<Plan> whole = Plan::create(problem, options);
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    // Forward, inverse, and that of the filters.
    EXPECT_EQ(live_transforms(), 3);
    {
        options.workspace_limit = whole->workspace_bytes() / 2;
        const Result<Plan> blocked = Plan::create(problem, options);
        ASSERT_TRUE(blocked.ok()) << blocked.status().message();
        // Of 3 and of 2 images; the filters' is shared.
        EXPECT_EQ(live_transforms(), 3 + 4);
    }
    EXPECT_EQ(live_transforms(), 3);
    const size_t made = standin()->recorded("cufftCreate").size();
    options.workspace_limit = std::numeric_limits<size_t>::max();
    const Result<Plan> again = Plan::create(problem, options);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(standin()->recorded("cufftCreate").size(), made) << "the same transforms are made once";
    options.choice = "fft transforms=generated";
    const Result<Plan> generated = Plan::create(problem, options);
    options.choice.clear();
    const Result<Plan> any = Plan::create(problem_of("b2 ic3 i8 oc4 f3 p1"), options);
    ASSERT_TRUE(any.ok()) << any.status().message();
    ASSERT_EQ(any->choice().find("cufft"), std::string::npos);
    EXPECT_EQ(live_transforms(), 3) << "plans that were considered and not chosen keep none";
}

TEST_F(CudaRuntime, TheNextBestWhereAPlanCannotBePrepared) {
    const Conv2dProblem problem = problem_of("b2 ic6 i14x13 oc7 f3 p1");
    PlanOptions options;
    options.device = Device::cuda();
    const Result<Plan> best = Plan::create(problem, options);
    ASSERT_TRUE(best.ok()) << best.status().message();
    // The best plan's tables find no memory.
    standin()->fail_next("cuMemAlloc", kOutOfMemory);
    const Result<Plan> other = Plan::create(problem, options);
    ASSERT_TRUE(other.ok()) << other.status().message();
    EXPECT_NE(other->choice(), best->choice());
    const std::string note = "not " + best->choice() + ": device 'cuda': there are no ";
    EXPECT_NE(other->decided_by().find(note), std::string::npos) << other->decided_by();
    standin()->fail_next("cuMemAlloc", kOutOfMemory);
    const Result<std::vector<Candidate>> candidates = explain(problem, options);
    ASSERT_TRUE(candidates.ok());
    for (const Candidate &c : *candidates) {
        EXPECT_TRUE(!c.chosen || (c.choice == other->choice() && c.reason.find(note) != std::string::npos)) << c.choice << ": " << c.reason;
    }
    // Who names an algorithm gets it, by its next variant; who names the variant gets the reason.
    options.algorithm = best->algorithm();
    standin()->fail_next("cuMemAlloc", kOutOfMemory);
    const Result<Plan> named = Plan::create(problem, options);
    ASSERT_TRUE(named.ok()) << named.status().message();
    EXPECT_EQ(named->algorithm(), best->algorithm());
    EXPECT_NE(named->choice(), best->choice());
    options.algorithm = Algorithm::kAuto;
    options.choice = best->choice();
    standin()->fail_next("cuMemAlloc", kOutOfMemory);
    const Status refused = Plan::create(problem, options).status();
    EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
    EXPECT_EQ(refused.message().find(to_string(best->algorithm()) + std::string(": device 'cuda': there are no ")), 0u) << refused.message();
}

TEST_F(CudaRuntime, AModuleThatIsRefusedIsTriedAgain) {
    PlanOptions options;
    options.device = Device::cuda();
    const Conv2dProblem problem = problem_of("bwd-filters b2 ic5 i9x7 oc6 f3 p1");
    standin()->fail("cuModuleLoadDataEx", kOutOfMemory);
    const long loaded = standin()->loaded;
    const Status status = Plan::create(problem, options).status();
    EXPECT_EQ(standin()->loaded, loaded);
    EXPECT_NE(status.message().find("direct: device 'cuda': cuModuleLoadDataEx failed with CUDA_ERROR_OUT_OF_MEMORY"), std::string::npos) << status.message();
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.message();
    standin()->clear();
    const long unloaded = standin()->unloaded;
    standin()->fail_next("cuModuleGetFunction", kLaunchFailed);
    const Result<Plan> plan = Plan::create(problem, options);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_EQ(standin()->unloaded, unloaded + 1) << "a module without its kernels is of no use";
}

TEST_F(CudaRuntime, AModuleIsLoadedOnceAndNobodyElseWaits) {
    OnDevice on("b2 ic5 i9x7 oc6 f3 p1", Algorithm::kIm2col);
    ASSERT_TRUE(on.pack().ok());
    standin()->clear();
    standin()->set_slow_loads(true);
    // Both need a pad stage that no other plan has.
    const auto plan = [] { return OnDevice::make(problem_of("b2 ic5 i9x7 oc6 f3 p1 replicate"), OnDevice::options_of(Algorithm::kIm2col)).variant(); };
    std::string variants[2];
    std::thread first([&] { variants[0] = plan(); }), second([&] { variants[1] = plan(); });
    standin()->wait_for_loading(1);
    // Meanwhile others plan with modules that are there, and execute.
    EXPECT_TRUE(on.execute().ok());
    OnDevice again("b2 ic5 i9x7 oc6 f3 p1", Algorithm::kIm2col);
    EXPECT_TRUE(again.pack().ok());
    EXPECT_TRUE(again.execute().ok());
    EXPECT_EQ(standin()->recorded("cuModuleLoadDataEx").size(), 1u);
    standin()->set_slow_loads(false);
    first.join();
    second.join();
    EXPECT_FALSE(variants[0].empty());
    EXPECT_EQ(variants[0], variants[1]);
    std::set<const void *> images;
    for (const DriverCall &call : standin()->recorded("cuModuleLoadDataEx")) {
        EXPECT_TRUE(images.insert(call.image).second) << "a module was loaded twice";
    }
}

/// Host data of a problem whose input is larger than two pieces of pinned memory, and of another size than everything else.
struct HostData {
    const Conv2dProblem problem = problem_of("b1 ic3 i1024 oc2 f3 p1");
    std::vector<float> x = std::vector<float>(static_cast<size_t>(problem.input_elements())), w = std::vector<float>(54, 0.5f), y = std::vector<float>(static_cast<size_t>(problem.output_elements()));
    PlanOptions options;

    HostData() {
        for (size_t i = 0; i < x.size(); i++) {
            x[i] = static_cast<float>(i % 65521);
        }
        options.device = Device::cuda();
        options.algorithm = Algorithm::kDirect;
    }
    Tensors tensors() {
        Tensors t;
        t.input = x.data();
        t.filters = w.data();
        t.output = y.data();
        return t;
    }
};
constexpr size_t kMebibyte = size_t{1} << 20;

TEST_F(CudaRuntime, HostMemoryGoesThroughPinnedPieces) {
    HostData host;
    const size_t pinned = standin()->pinned_by_driver;
    {
        Result<StagedPlan> staged = StagedPlan::create(host.problem, host.options);
        ASSERT_TRUE(staged.ok()) << staged.status().message();
        EXPECT_EQ(staged->pieces(), 1);
        EXPECT_EQ(standin()->pinned_by_driver, pinned + 8 * kMebibyte);
        standin()->clear();
        ASSERT_TRUE(staged->upload(host.tensors()).ok());
        const size_t bytes = host.x.size() * sizeof(float);
        void *const there = content_of(bytes);
        ASSERT_NE(there, nullptr);
        EXPECT_EQ(std::memcmp(there, host.x.data(), bytes), 0);
        // 12 MiB of input, and the filters.
        const std::vector<DriverCall> copies = standin()->recorded("cuMemcpyHtoDAsync");
        ASSERT_GE(copies.size(), 4u);
        for (size_t i = 0; i < 3; i++) {
            EXPECT_EQ(copies[i].bytes, 4 * kMebibyte);
            EXPECT_TRUE(standin()->is_pinned(reinterpret_cast<uintptr_t>(copies[i].host), copies[i].bytes));
        }
        ASSERT_TRUE(staged->launch().ok());
        // Launches compute nothing; this stands for what they would have written.
        auto *const result = static_cast<float *>(content_of(host.y.size() * sizeof(float)));
        ASSERT_NE(result, nullptr);
        for (size_t i = 0; i < host.y.size(); i++) {
            result[i] = static_cast<float>(i % 8191);
        }
        ASSERT_TRUE(staged->download(host.tensors()).ok());
        EXPECT_EQ(std::memcmp(result, host.y.data(), host.y.size() * sizeof(float)), 0);
        standin()->clear();
        ASSERT_TRUE(staged->execute(host.tensors()).ok());
        for (const char *allocation : {"cuMemAlloc", "cuMemAllocHost", "cuEventCreate", "cuStreamCreate"}) {
            EXPECT_TRUE(standin()->recorded(allocation).empty()) << allocation << " while executing";
        }
    }
    EXPECT_EQ(standin()->pinned_by_driver, pinned);
}

TEST_F(CudaRuntime, PinnedMemoryOfTheCallerIsCopiedDirectly) {
    HostData host;
    standin()->pin(host.x.data(), host.x.size() * sizeof(float));
    standin()->pin(host.y.data(), host.y.size() * sizeof(float));
    {
        Result<StagedPlan> staged = StagedPlan::create(host.problem, host.options);
        ASSERT_TRUE(staged.ok()) << staged.status().message();
        standin()->clear();
        ASSERT_TRUE(staged->execute(host.tensors()).ok());
        EXPECT_EQ(standin()->recorded("cuMemcpyHtoDAsync")[0].host, host.x.data());
        EXPECT_EQ(standin()->recorded("cuMemcpyHtoDAsync")[0].bytes, host.x.size() * sizeof(float));
        ASSERT_EQ(standin()->recorded("cuMemcpyDtoHAsync").size(), 1u);
        EXPECT_EQ(standin()->recorded("cuMemcpyDtoHAsync")[0].host, host.y.data());
        EXPECT_EQ(std::memcmp(content_of(host.x.size() * sizeof(float)), host.x.data(), host.x.size() * sizeof(float)), 0);
        // Half pinned is not pinned.
        standin()->unpin(host.x.data());
        standin()->pin(host.x.data(), 4 * kMebibyte);
        standin()->clear();
        ASSERT_TRUE(staged->execute(host.tensors()).ok());
        EXPECT_NE(standin()->recorded("cuMemcpyHtoDAsync")[0].host, host.x.data());
        standin()->fail("cuMemcpyHtoDAsync", kLaunchFailed);
        EXPECT_EQ(staged->execute(host.tensors()).message(), "device 'cuda': cuMemcpyHtoDAsync failed with error 719");
    }
    standin()->unpin(host.x.data());
    standin()->unpin(host.y.data());
}

TEST_F(CudaRuntime, LargeImagesInPiecesWhoseCopiesOverlap) {
    HostData host;
    const size_t before = standin()->allocated;
    const CallersStream stream;
    ExecutionContext context;
    context.stream = stream.get();
    Result<StagedPlan> staged = StagedPlan::create(host.problem, host.options, 6 * kMebibyte);
    ASSERT_TRUE(staged.ok()) << staged.status().message();
    EXPECT_GE(staged->pieces(), 4);
    Tensors tensors = host.tensors();
    ASSERT_TRUE(staged->pack_filters(tensors.filters.view, context).ok());
    tensors.filters = Filters();
    standin()->clear();
    const Status status = staged->execute(tensors, context);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_LE(standin()->most_allocated, before + 6 * kMebibyte);
    EXPECT_EQ(staged->upload(host.tensors()).code(), StatusCode::kUnsupported);
    // In the order of the calls: what is sent for a piece comes before the fetch of the one before, so that both overlap its computation.
    std::string order;
    for (const DriverCall &call : standin()->calls) {
        const bool compute = call.name == "cuLaunchKernel", to = call.name == "cuMemcpyHtoDAsync", from = call.name == "cuMemcpyDtoHAsync";
        const char letter = compute ? 'C' : to ? 's'
                                        : from ? 'f'
                                               : '\0';
        if (compute) {
            EXPECT_EQ(call.stream, stream.get());
        } else if (from) {
            EXPECT_NE(call.stream, stream.get());
        }
        if (letter != '\0' && (order.empty() || order.back() != letter)) {
            order += letter;
        }
        EXPECT_NE(call.name, "cuMemAlloc");
        EXPECT_NE(call.name, "cuMemAllocHost");
    }
    std::string expected = "sC";
    for (int64_t i = 1; i < staged->pieces(); i++) {
        expected += "sCf";
    }
    EXPECT_EQ(order, expected);
    EXPECT_GE(standin()->recorded("cuStreamWaitEvent").size(), static_cast<size_t>(2 * staged->pieces()));
    // Nothing is left to wait for after a failure, and the next call is fine.
    standin()->fail_next("cuLaunchKernel", kLaunchFailed);
    EXPECT_FALSE(staged->execute(tensors, context).ok());
    EXPECT_TRUE(staged->execute(tensors, context).ok());
    EXPECT_EQ(StagedPlan::create(host.problem, host.options, kMebibyte / 64).status().code(), StatusCode::kResourceExhausted);
}

/// Some streams as early and the others as late as CUDA allows, with launches that add the rows which lie filter_height - 1 apart: a result is
/// right only where every copy and launch waits for what it needs, and halos and seams are where they belong.
TEST_F(CudaRuntime, PiecesWaitForEachOther) {
    const Conv2dProblem problem = problem_of("b2 ic1 i301x200 oc1 f5x1 p1,3,0,0 replicate");
    const int64_t w = problem.in_width, height = problem.out_height();
    std::vector<float> x(static_cast<size_t>(problem.input_elements())), y(static_cast<size_t>(problem.output_elements())), filters(5, 1.0f);
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = static_cast<float>(i * 7 % 65521);
    }
    PlanOptions options;
    options.device = Device::cuda();
    options.algorithm = Algorithm::kDirect;
    Result<StagedPlan> staged = StagedPlan::create(problem, options, kMebibyte / 4);
    ASSERT_TRUE(staged.ok()) << staged.status().message();
    ASSERT_GE(staged->pieces(), 6);
    ASSERT_TRUE(staged->pack_filters(filters.data()).ok());
    const Conv2dProblem piece = staged->plan().problem();
    const size_t in = static_cast<size_t>(piece.input_elements()) * sizeof(float), out = static_cast<size_t>(piece.output_elements()) * sizeof(float);
    enum { kAllLate,
           kLaunchesEarly,
           kCopiesEarly,
           kSendsEarly,
           kFetchesEarly };
    const CallersStream stream;
    const void *fetching = nullptr;  // of fourfold's own streams the one that fetches
    ExecutionContext context;
    context.stream = stream.get();
    for (const auto &[pinned, order] : {std::pair(false, kAllLate), {false, kLaunchesEarly}, {false, kCopiesEarly}, {false, kSendsEarly}, {false, kFetchesEarly}, {true, kAllLate}, {true, kLaunchesEarly}, {true, kCopiesEarly}, {true, kSendsEarly}, {true, kFetchesEarly}}) {
        SCOPED_TRACE(std::string(pinned ? "pinned" : "pageable") + ", order " + std::to_string(order));
        standin()->clear();
        if (order != kAllLate) {
            standin()->eager = [&, early = order](const void *s) {
                const bool launches = s == stream.get(), fetches = s == fetching;
                return early == kLaunchesEarly ? launches : early == kCopiesEarly ? !launches
                                                        : early == kFetchesEarly  ? fetches
                                                                                  : !launches && !fetches;
            };
        }
        if (pinned) {
            standin()->pin(x.data(), x.size() * sizeof(float));
            standin()->pin(y.data(), y.size() * sizeof(float));
        }
        standin()->launched = [&](const std::vector<uintptr_t> &addresses) {
            const float *from = nullptr;
            float *to = nullptr;
            for (const uintptr_t address : addresses) {
                const auto found = standin()->allocations.find(address);
                const size_t bytes = found != standin()->allocations.end() ? found->second : 0;
                from = bytes == in ? standin()->content(reinterpret_cast<const float *>(address)) : from;
                to = bytes == out ? standin()->content(reinterpret_cast<float *>(address)) : to;
            }
            for (int64_t i = 0; from != nullptr && to != nullptr && i < piece.out_height() * w; i++) {
                to[i] = from[i] + 2 * from[i + 4 * w];
            }
        };
        for (int repeat = 0; repeat < 2; repeat++) {
            std::fill(y.begin(), y.end(), -1.0f);
            Tensors t;
            t.input = x.data();
            t.output = y.data();
            const Status status = staged->execute(t, context);
            ASSERT_TRUE(status.ok()) << status.message();
            int64_t wrong = 0;
            for (int64_t n = 0; n < 2; n++) {
                for (int64_t row = 0; row < height; row++) {
                    const auto source = [&](int64_t r) { return x.data() + (n * problem.in_height + std::clamp<int64_t>(r - 1, 0, problem.in_height - 1)) * w; };
                    for (int64_t column = 0; column < w; column++) {
                        wrong += y[static_cast<size_t>((n * height + row) * w + column)] != source(row)[column] + 2 * source(row + 4)[column];
                    }
                }
            }
            EXPECT_EQ(wrong, 0) << "of " << y.size();
        }
        fetching = standin()->recorded("cuMemcpyDtoHAsync").at(0).stream;
        size_t direct = 0;
        for (const DriverCall &call : standin()->recorded("cuMemcpyHtoDAsync")) {
            const auto *host = static_cast<const float *>(call.host);
            direct += host >= x.data() && host < x.data() + x.size() ? call.bytes : 0;
        }
        EXPECT_EQ(direct >= 2 * x.size() * sizeof(float), pinned);
    }
    standin()->unpin(x.data());
    standin()->unpin(y.data());
}

/// Results that are never fetched before somebody waits for them: meanwhile all is sent that there are slots for.
TEST_F(CudaRuntime, WhatIsSentWaitsForNoFetch) {
    HostData host;
    const CallersStream stream;
    ExecutionContext context;
    context.stream = stream.get();
    Result<StagedPlan> staged = StagedPlan::create(host.problem, host.options, 6 * kMebibyte);
    ASSERT_TRUE(staged.ok()) << staged.status().message();
    ASSERT_GE(staged->pieces(), 4);
    standin()->pin(host.x.data(), host.x.size() * sizeof(float));
    standin()->pin(host.y.data(), host.y.size() * sizeof(float));
    ASSERT_TRUE(staged->execute(host.tensors(), context).ok());
    const void *const fetching = standin()->recorded("cuMemcpyDtoHAsync").at(0).stream;
    Tensors tensors = host.tensors();
    tensors.filters = Filters();  // packed the first time
    standin()->clear();
    standin()->eager = [&](const void *s) { return s != fetching; };
    ASSERT_TRUE(staged->execute(tensors, context).ok());
    size_t sent = 0;
    for (const DriverCall &call : standin()->copied) {
        if (call.name == "cuMemcpyDtoHAsync") {
            break;
        }
        EXPECT_NE(call.stream, stream.get());
        sent += call.bytes;
    }
    // Two pieces are computed; the two after them wait in their slots for the results of these to go.
    EXPECT_EQ(sent, 4 * static_cast<size_t>(staged->plan().problem().input_elements()) * sizeof(float));
    standin()->unpin(host.x.data());
    standin()->unpin(host.y.data());
}

TEST_F(CudaRuntime, ACallersStreamMayGoWhenItsCallHasReturned) {
    HostData host;
    for (const size_t limit : {std::numeric_limits<size_t>::max(), 6 * kMebibyte}) {
        SCOPED_TRACE(limit);
        Result<StagedPlan> staged = StagedPlan::create(host.problem, host.options, limit);
        ASSERT_TRUE(staged.ok()) << staged.status().message();
        EXPECT_EQ(staged->pieces() == 1, limit > 6 * kMebibyte);
        for (int repeat = 0; repeat < 2; repeat++) {
            const CallersStream stream;
            ExecutionContext context;
            context.stream = stream.get();
            EXPECT_TRUE(staged->pack_filters(host.w.data(), context).ok());
            EXPECT_TRUE(staged->execute(host.tensors(), context).ok());
        }
    }
    // A failure is waited for too.
    Result<StagedPlan> staged = StagedPlan::create(host.problem, host.options);
    ASSERT_TRUE(staged.ok()) << staged.status().message();
    {
        const CallersStream stream;
        ExecutionContext context;
        context.stream = stream.get();
        standin()->fail_next("cuLaunchKernel", kLaunchFailed);
        EXPECT_FALSE(staged->execute(host.tensors(), context).ok());
        ASSERT_TRUE(staged->upload(host.tensors(), context).ok());
        ASSERT_TRUE(staged->launch(context).ok());
    }
    {
        const Result<StagedPlan> gone = std::move(staged);
    }
    // The stand-in refuses what has another stream, and TearDown finds it.
    standin()->clear();
    EXPECT_FALSE(synchronize(Device::cuda(), &host).ok());
    EXPECT_EQ(std::exchange(standin()->astray, {}), std::vector<std::string>({"cuStreamSynchronize"}));
}

TEST_F(CudaRuntime, WhatWasLaunchedIsWaitedForBeforeItsMemoryGoes) {
    HostData host;
    const CallersStream stream;
    ExecutionContext context;
    context.stream = stream.get();
    {
        Result<StagedPlan> staged = StagedPlan::create(host.problem, host.options);
        ASSERT_TRUE(staged.ok()) << staged.status().message();
        ASSERT_TRUE(staged->upload(host.tensors(), context).ok());
        standin()->clear();
        ASSERT_TRUE(staged->launch(context).ok());
        EXPECT_TRUE(standin()->recorded("cuStreamSynchronize").empty()) << "a launch waits for nothing";
        EXPECT_TRUE(standin()->recorded("cuEventSynchronize").empty());
        ASSERT_EQ(standin()->recorded("cuEventRecord").size(), 1u);
        EXPECT_EQ(standin()->recorded("cuEventRecord")[0].stream, stream.get());
        standin()->clear();
    }
    ASSERT_FALSE(standin()->calls.empty());
    EXPECT_EQ(standin()->calls.front().name, "cuEventSynchronize");
    EXPECT_FALSE(standin()->recorded("cuMemFree").empty());
}

TEST_F(CudaRuntime, FailuresComeBackInWords) {
    OnDevice on("b2 ic5 i9x7 oc6 f3 p1", Algorithm::kIm2col);
    ASSERT_TRUE(on.pack().ok());
    standin()->fail("cuLaunchKernel", kOutOfMemory);
    Status status = on.execute();
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
    EXPECT_EQ(status.message().rfind("device 'cuda': cuLaunchKernel of ", 0), 0u) << status.message();
    EXPECT_NE(status.message().find("CUDA_ERROR_OUT_OF_MEMORY"), std::string::npos) << status.message();
    standin()->clear();
    standin()->fail_next("cuLaunchKernel", kLaunchFailed);
    EXPECT_EQ(on.execute().code(), StatusCode::kInternal);
    EXPECT_TRUE(on.execute().ok()) << "a failed launch must not stick";
    standin()->fail("cuStreamSynchronize", kLaunchFailed);
    status = synchronize(Device::cuda());
    EXPECT_EQ(status.message(), "device 'cuda': cuStreamSynchronize failed with error 719");
    standin()->clear();
    standin()->fail("cuMemcpyDtoHAsync", kLaunchFailed);
    float value = 0.0f;
    EXPECT_FALSE(copy_to_host(Device::cuda(), &value, on.y.data(), sizeof value).ok());
}

/// A table with one record of the GPU that is named so.
std::string record_of(const std::string &gpu, const char *target, const std::string &problem, const std::string &choice) {
    std::string variants;
    for (const auto &[name, hash] : choice_contents(choice, target)) {
        variants += (variants.empty() ? "\"" : ",\"") + name + "\":\"" + hash + "\"";
    }
    return "{\"format\":\"fourfold-records\",\"version\":1}\n{\"problem\":\"" + problem + "\",\"accuracy\":\"default\",\"microarchitecture\":\"" + gpu + "\",\"isa\":\"" + target +
           "\",\"threads\":1,\"cache\":\"warm\",\"role\":\"winner\",\"choice\":\"" + choice + "\",\"ms_min\":0.1,\"ms_median\":0.1,\"samples\":9,\"ms_predicted\":0.2,\"variants\":{" + variants + "}}\n";
}

TEST_F(CudaRuntime, RecordsDecideByTheGpusNameAndItsRelatives) {
    const std::string text = "b3 ic5 i19x17 oc6 f5 p2";
    PlanOptions options;
    options.device = Device::cuda();
    const Result<std::vector<Candidate>> choices = list_choices(problem_of(text.c_str()), options);
    ASSERT_TRUE(choices.ok()) << choices.status().message();
    const std::string choice = choices->back().choice;
    EXPECT_NE(choice, choices->front().choice);
    const auto plan = [&](const std::string &gpu, const char *of) {
        unload_tables(false);
        const Result<TableInfo> table = load_table_text("mine", record_of(gpu, of, text, choice));
        EXPECT_TRUE(table.ok() && table->records == 1) << gpu;
        Result<Plan> made = Plan::create(problem_of(text.c_str()), options);
        EXPECT_TRUE(made.ok()) << made.status().message();
        return *made;
    };
    EXPECT_EQ(plan("sm_90 Stand-in 0", "cuda86").tier(), Tier::kRecord);
    EXPECT_EQ(plan("sm_90 Stand-in 0", "cuda86").choice(), choice);
    EXPECT_EQ(plan("sm_90 NVIDIA H200", "cuda86").tier(), Tier::kFamily) << "of the same compute capability";
    EXPECT_EQ(plan("sm_90 NVIDIA H200", "cuda86").choice(), choice);
    EXPECT_NE(plan("sm_90 NVIDIA H200", "cuda86").decided_by().find("measured on sm_90 NVIDIA H200"), std::string::npos);
    EXPECT_EQ(plan("sm_80 Stand-in 0", "cuda86").tier(), Tier::kCostModel);
    EXPECT_EQ(plan("sm_90 Stand-in 0", "cuda80").tier(), Tier::kCostModel) << "variants that this GPU does not choose from";
    unload_tables(true);
}

TEST_F(CudaRuntime, ThreadsAndStreamsDoNotMix) {
    OnDevice on("b2 ic5 i9x7 oc6 f3 p1", Algorithm::kIm2col);
    ASSERT_TRUE(on.pack().ok());
    standin()->clear();
    constexpr int kThreads = 4, kRounds = 25;
    const CallersStream streams[kThreads];
    std::vector<std::thread::id> ids(kThreads);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; i++) {
        threads.emplace_back([&, i] {
            ids[static_cast<size_t>(i)] = std::this_thread::get_id();
            // Each with an output of its own, as several streams need.
            OnDevice mine("b2 ic5 i9x7 oc6 f3 p1", Algorithm::kIm2col);
            EXPECT_TRUE(mine.pack(streams[i].get()).ok());
            for (int n = 0; n < kRounds; n++) {
                EXPECT_TRUE(mine.execute(streams[i].get()).ok());
            }
        });
    }
    for (std::thread &t : threads) {
        t.join();
    }
    const std::vector<DriverCall> launches = standin()->recorded("cuLaunchKernel");
    EXPECT_GE(launches.size(), static_cast<size_t>(kThreads * kRounds));
    for (const DriverCall &call : launches) {
        for (size_t i = 0; i < kThreads; i++) {
            if (call.thread == ids[i]) {
                EXPECT_EQ(call.stream, streams[i].get());
            }
        }
    }
}

/// After the tests that load modules of gradients themselves.
TEST_F(CudaRuntime, GradientsByTransformsOnlyLaunch) {
    for (const auto &[choice, text] : {
             std::pair("fft transforms=cufft", "bwd-data b3 ic5 i19x17 oc6 f5 p2 relu"),
             {"fft product=cublas", "bwd-data b2 ic4 i11 oc4 f3 s2 p1 g2 reflect"},
             {"fft transforms=generated", "bwd-data b2 ic4 i11 oc4 f2 s3"},
             {"fft_tiled", "bwd-data b2 ic5 i41x57 oc6 f5 p2"},
             {"winograd", "bwd-data b3 ic4 i19x17 oc6 f3 p1 g2"},
             {"fft transforms=cufft", "bwd-filters b3 ic5 i19x17 oc6 f5 p2"},
             {"fft product=cublas", "bwd-filters b600 ic4 i7 oc4 f3 s2 p1 g2 symmetric"},
             {"fft_tiled transforms=cufft", "bwd-filters b3 ic5 i41x37 oc6 f5 p2"},
             {"fft_tiled transforms=generated", "bwd-filters b9 ic4 i37 oc4 f3 s2 p1 g2 symmetric"},
             {"winograd", "bwd-filters b3 ic5 i19x17 oc6 f3 p1 g1 reflect"},
         }) {
        SCOPED_TRACE(std::string(choice) + ": " + text);
        PlanOptions options;
        options.device = Device::cuda();
        options.choice = choice;
        const Conv2dProblem problem = problem_of(text);
        Result<StagedPlan> staged = StagedPlan::create(problem, options);
        ASSERT_TRUE(staged.ok()) << staged.status().message();
        std::vector<float> x(static_cast<size_t>(problem.input_elements())), w(static_cast<size_t>(problem.filter_elements())), y(static_cast<size_t>(problem.output_elements())), bias(static_cast<size_t>(problem.out_channels));
        Tensors t;
        t.grad_output = y.data();
        if (problem.operation == Operation::kBackwardData) {
            t.filters = w.data();
            t.grad_input = x.data();
        } else {
            t.input = x.data();
            t.grad_filters = w.data();
            t.grad_bias = bias.data();
        }
        const CallersStream stream;
        ExecutionContext context;
        context.stream = stream.get();
        ASSERT_TRUE(staged->upload(t, context).ok());
        standin()->clear();
        const Status status = staged->launch(context);
        ASSERT_TRUE(status.ok()) << status.message();
        const std::set<std::string> allowed = {"cuLaunchKernel", "cuMemsetD8Async", "cufftExecR2C", "cufftExecC2R", "cublasSetStream", "cublasSetWorkspace", "cublasCgemmStridedBatched", "cuEventRecord"};
        for (const DriverCall &call : standin()->calls) {
            EXPECT_TRUE(allowed.count(call.name)) << call.name << " while executing";
            EXPECT_EQ(call.stream, stream.get()) << call.name << " " << call.entry;
        }
        EXPECT_FALSE(standin()->recorded("cuLaunchKernel").empty());
    }
}

/// Whatever an execution does, it does on the device: at the device's addresses the host has no access here. Of filters larger than their
/// image some taps meet padding only, which transforms on the CPU clear.
TEST_F(CudaRuntime, TheHostTouchesNoMemoryOfTheDevice) {
    std::map<std::pair<Algorithm, Operation>, int> done;
    for (const char *text : {"b2 ic2 i3 oc4 f3 p2 g2 reflect", "b2 ic2 i1x2 oc2 f3 p1 nhwc", "b3 ic2 i2x1 oc2 f3 p3 conv", "b1 ic1 i1 oc1 f3 s2 p2"}) {
        for (const Operation operation : {Operation::kForward, Operation::kBackwardData, Operation::kBackwardFilters, Operation::kUnfold, Operation::kFold}) {
            const Conv2dProblem problem = gradient_of(problem_of(text), operation);
            for (const Algorithm algorithm : {Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
                SCOPED_TRACE(std::string(to_string(algorithm)) + ": " + problem.to_string());
                const Result<Plan> plan = Plan::create(problem, OnDevice::options_of(algorithm));
                if (!plan) {
                    EXPECT_EQ(plan.status().code(), StatusCode::kUnsupported) << plan.status().message();
                    continue;
                }
                const auto floats = [](int64_t count) { return buffer(static_cast<size_t>(count)); };
                const int64_t columns = problem.batch * problem.in_channels * problem.filter_height * problem.filter_width * problem.out_height() * problem.out_width();
                const DeviceBuffer image = floats(problem.input_elements()), w = floats(problem.filter_elements()), result = floats(problem.output_elements()), bias = floats(std::max(problem.in_channels, problem.out_channels)), unfolded = floats(columns);
                const DeviceBuffer packed = OnDevice::bytes(plan->packed_filter_bytes()), workspace = OnDevice::bytes(plan->workspace_bytes_unpacked());
                Tensors t;
                switch (operation) {
                case Operation::kBackwardData:
                    t.grad_output = result.floats();
                    t.grad_input = image.floats();
                    break;
                case Operation::kBackwardFilters:
                    t.input = image.floats();
                    t.grad_output = result.floats();
                    t.grad_filters = w.floats();
                    t.grad_bias = bias.floats();
                    break;
                case Operation::kUnfold:
                    t.input = image.floats();
                    t.output = unfolded.floats();
                    break;
                case Operation::kFold:
                    t.input = unfolded.floats();
                    t.output = image.floats();
                    break;
                default:
                    t.input = image.floats();
                    t.bias = bias.floats();
                    t.output = result.floats();
                }
                if (operation != Operation::kBackwardFilters && !problem.moves_columns()) {
                    ASSERT_TRUE(plan->pack_filters(w.floats(), packed, workspace).ok());
                    t.filters = ConstMemoryBlock(packed);
                }
                const Status status = plan->execute(t, workspace);
                EXPECT_TRUE(status.ok()) << status.message();
                done[{algorithm, operation}]++;
            }
        }
    }
    for (const Algorithm algorithm : {Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
        for (const Operation operation : {Operation::kForward, Operation::kBackwardData, Operation::kBackwardFilters}) {
            EXPECT_GE((done[{algorithm, operation}]), 2) << to_string(algorithm);
        }
    }
    for (const Operation operation : {Operation::kUnfold, Operation::kFold}) {
        EXPECT_GE((done[{Algorithm::kIm2col, operation}]), 2);
    }
}

#if defined(FOURFOLD_HAVE_AUTOTUNE)
/// bench and compare: contenders take turns with one copy of the tensors and one workspace.
TEST_F(CudaRuntime, AContestHoldsOneCopyOfItsTensors) {
    const Conv2dProblem problem = problem_of("b1 ic8 i512 oc8 f3 p1");
    cli::ContestOptions options;
    options.algorithms = {Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFftTiled, Algorithm::kWinograd};
    options.plan.device = Device::cuda();
    options.check = false;  // launches compute nothing
    options.measure.min_time = 0.0;
    const size_t before = standin()->allocated;
    const std::vector<cli::Entry> entries = cli::run_contest(problem, options);
    size_t workspace = 0, all = 0;
    const size_t tensors = static_cast<size_t>(problem.input_elements() + problem.output_elements()) * sizeof(float);
    int timed = 0;
    for (const cli::Entry &e : entries) {
        EXPECT_EQ(e.outcome, cli::Outcome::kTimed) << to_string(e.algorithm) << ": " << e.reason;
        EXPECT_GT(e.transfer_seconds, 0.0);
        workspace = std::max(workspace, e.workspace_bytes);
        all += e.workspace_bytes + tensors;
        timed += e.outcome == cli::Outcome::kTimed;
    }
    ASSERT_EQ(timed, 4);
    const size_t slack = 4 * kMebibyte;  // tables, packed filters
    ASSERT_GT(all, tensors + workspace + slack);
    EXPECT_LE(standin()->most_allocated - before, tensors + workspace + slack);
    EXPECT_EQ(standin()->allocated, before);
}
#endif

/// What a process says that plans on a machine with these GPUs; null: without the stand-in. With `report` the stand-in says at the end what
/// was taken and given back.
Outcome probe(const char *gpus, const char *device, const char *problem = "b2 ic5 i9x7 oc6 f3 p1", bool report = false) {
    std::vector<std::string> command = {"/usr/bin/env", "-u", "LD_LIBRARY_PATH"};
    if (gpus != nullptr) {
        command = {"/usr/bin/env", "LD_LIBRARY_PATH=" FOURFOLD_STANDIN_FOLDER, std::string("FOURFOLD_STANDIN_GPUS=") + gpus, std::string("FOURFOLD_STANDIN_REPORT=") + (report ? "1" : "0")};
    }
    command.insert(command.end(), {FOURFOLD_PROBE, device, problem});
    return spawn(command);
}

TEST(CudaLadder, TakesTheBestThatTheGpuRuns) {
    const struct {
        const char *capability, *target;
    } ladder[] = {{"75", "cuda75"}, {"80", "cuda80"}, {"86", "cuda86"}, {"87", "cuda86"}, {"89", "cuda86"}, {"90", "cuda86"}, {"100", "cuda86"}, {"120", "cuda86"}};
    for (const auto &rung : ladder) {
        const Outcome outcome = probe(rung.capability, "cuda");
        EXPECT_EQ(outcome.exit_code, 0) << outcome.out;
        EXPECT_NE(outcome.out.find(std::string("_") + rung.target), std::string::npos) << "capability " << rung.capability << ": " << outcome.out;
    }
}

TEST(CudaLadder, EachGpuOfSeveral) {
    EXPECT_NE(probe("75,90", "cuda:0").out.find("_cuda75"), std::string::npos);
    EXPECT_NE(probe("75,90", "cuda:1").out.find("_cuda86"), std::string::npos);
    EXPECT_EQ(probe("75,90", "cuda:2").out, "device 'cuda:2': does not exist; the driver shows 2 GPUs\n");
}

TEST(CudaLadder, ListingMakesNoContext) {
    const std::string out = probe("75,70,90", "list", "", true).out;
    EXPECT_NE(out.find("cuda: Stand-in 0\ncuda:2: Stand-in 2\n"), std::string::npos) << out;
    EXPECT_EQ(out.find("\n0 variants run"), std::string::npos) << out;
    EXPECT_NE(out.find("contexts 0, modules 0 - 0, memory 0, pinned 0\n"), std::string::npos) << out;
}

TEST(CudaLadder, WhatIsLoadedIsUnloaded) {
    const std::string out = probe("90", "cuda", "b2 ic5 i9x7 oc6 f3 p1 reflect", true).out;
    const size_t at = out.find("contexts 1, modules ");
    ASSERT_NE(at, std::string::npos) << out;
    int loaded = 0, unloaded = 0, memory = -1;
    ASSERT_EQ(std::sscanf(out.c_str() + at, "contexts 1, modules %d - %d, memory %d", &loaded, &unloaded, &memory), 3) << out;
    EXPECT_GT(loaded, 1);
    EXPECT_EQ(unloaded, loaded);
    EXPECT_EQ(memory, 0);
}

TEST(CudaLadder, RefusesInWords) {
    EXPECT_EQ(probe("70", "cuda").out, "device 'cuda': Stand-in 0 has compute capability 7.0; this build's kernels need 7.5\n");
    EXPECT_EQ(probe("", "cuda").out, "device 'cuda': the NVIDIA driver refuses: cuInit failed with CUDA_ERROR_NO_DEVICE\n");
    EXPECT_EQ(probe("", "cuda").exit_code, 1);
    if (dlopen("libcuda.so", RTLD_LAZY) == nullptr) {
        EXPECT_EQ(probe(nullptr, "cuda").out, "device 'cuda': libcuda.so.1 cannot be loaded: no NVIDIA driver is installed\n");
    }
    // A GPU that is missing does no harm to the CPU.
    EXPECT_EQ(probe("", "cpu").exit_code, 0);
}

}  // namespace
}  // namespace fourfold::test
