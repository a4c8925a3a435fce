// Devices through the C interface.
#include <cstring>
#include <string>
#include <vector>

#include "device/device_test.h"
#include "fourfold/fourfold_c.h"
#include "fourfold/staged_plan.h"
#include "support/problems.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

::testing::AssertionResult says(const std::string &word) {
    const std::string message = fourfold_last_error();
    return (message.find(word) != std::string::npos ? ::testing::AssertionSuccess() : ::testing::AssertionFailure()) << "'" << message << "'";
}

fourfold_problem parsed(const char *text) {
    fourfold_problem problem;
    EXPECT_EQ(fourfold_problem_parse(&problem, sizeof problem, text), FOURFOLD_OK) << fourfold_last_error();
    return problem;
}

fourfold_plan_options on(Device device) {
    fourfold_plan_options options;
    EXPECT_EQ(fourfold_plan_options_init(&options, sizeof options), FOURFOLD_OK);
    options.device = device.kind;
    options.device_ordinal = device.ordinal;
    return options;
}

/// A copy of an array's dense memory, or as much memory, on the device.
class DeviceCopy {
public:
    DeviceCopy(const void *data, size_t bytes) {
        const Device d = test_device();
        EXPECT_EQ(fourfold_device_buffer_create(d.kind, d.ordinal, bytes, &buffer_), FOURFOLD_OK) << fourfold_last_error();
        if (data != nullptr) {
            EXPECT_EQ(fourfold_copy_to_device(d.kind, d.ordinal, this->data(), data, bytes, nullptr), FOURFOLD_OK) << fourfold_last_error();
        }
    }
    ~DeviceCopy() {
        fourfold_device_buffer_destroy(buffer_);
    }
    DeviceCopy(const DeviceCopy &) = delete;
    DeviceCopy &operator=(const DeviceCopy &) = delete;

    void *data() const {
        return fourfold_device_buffer_data(buffer_);
    }
    float *floats() const {
        return static_cast<float *>(data());
    }

private:
    fourfold_device_buffer *buffer_ = nullptr;
};

size_t bytes_of(const Array &array) {
    return static_cast<size_t>(array.elements()) * sizeof(float);
}

TEST(DevicesInC, AreListed) {
    std::vector<std::string> found;
    ASSERT_EQ(fourfold_list_devices([](void *data, const fourfold_device_info *d) { static_cast<std::vector<std::string> *>(data)->push_back(to_string(Device(static_cast<Device::Kind>(d->device), d->ordinal)) + " " + d->name + " " + d->driver + " " + std::to_string(d->memory_bytes) + " " + std::to_string(d->compute_units) + " " + std::to_string(d->capability)); }, &found), FOURFOLD_OK);
    std::vector<std::string> expected;
    for (const DeviceInfo &d : devices()) {
        expected.push_back(to_string(d.device) + " " + d.name + " " + d.driver + " " + std::to_string(d.memory_bytes) + " " + std::to_string(d.compute_units) + " " + std::to_string(d.capability));
    }
    EXPECT_EQ(found, expected);
}

TEST(DevicesInC, Misuse) {
    fourfold_device_buffer *buffer = nullptr;
    EXPECT_EQ(fourfold_device_buffer_create(FOURFOLD_OPENCL, 77, 16, &buffer), FOURFOLD_UNSUPPORTED);
    EXPECT_EQ(fourfold_last_error(), DeviceBuffer::allocate(Device::opencl(77), 16).status().message());
    EXPECT_EQ(buffer, nullptr);
    EXPECT_EQ(fourfold_device_buffer_create(3, 0, 16, &buffer), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("device is 3"));
    EXPECT_EQ(fourfold_device_buffer_create(FOURFOLD_OPENCL, 0, 16, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("buffer is null"));
    EXPECT_EQ(fourfold_synchronize(FOURFOLD_CPU, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_device_buffer_data(nullptr), nullptr);
    fourfold_device_buffer_destroy(nullptr);
    EXPECT_EQ(fourfold_list_devices(nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("each is null"));

    const fourfold_problem problem = parsed("b1 ic2 i5 oc2 f3");
    fourfold_plan_options options = on(Device::opencl(77));
    fourfold_plan *plan = nullptr;
    EXPECT_EQ(fourfold_plan_create(&problem, &options, &plan), FOURFOLD_UNSUPPORTED);
    EXPECT_TRUE(says("opencl:77"));
    fourfold_staged_plan *staged = nullptr;
    EXPECT_EQ(fourfold_staged_plan_create(&problem, nullptr, SIZE_MAX, &staged), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_staged_plan_create(nullptr, nullptr, SIZE_MAX, &staged), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("problem is null"));
    EXPECT_EQ(fourfold_staged_plan_create(&problem, nullptr, SIZE_MAX, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("plan is null"));
    EXPECT_EQ(staged, nullptr);
    int64_t pieces = 0;
    EXPECT_EQ(fourfold_staged_plan_pieces(nullptr, &pieces), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_staged_plan_describe(nullptr, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_staged_plan_pack_filters(nullptr, nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_staged_plan_execute(nullptr, nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
    fourfold_staged_plan_destroy(nullptr);
}

class InC : public DeviceTest {};

TEST_F(InC, APlanComputesInTheDevicesMemory) {
    const Device d = test_device();
    const char *text = "b2 ic5 i9 oc7 f3 p1 relu";
    Operands operands(parse_problem(text), 11);
    const fourfold_problem problem = parsed(text);
    const fourfold_plan_options options = on(d);
    fourfold_plan *plan = nullptr;
    ASSERT_EQ(fourfold_plan_create(&problem, &options, &plan), FOURFOLD_OK) << fourfold_last_error();
    fourfold_plan_info info = {};
    info.struct_size = sizeof info;
    ASSERT_EQ(fourfold_plan_query(plan, &info), FOURFOLD_OK);
    EXPECT_EQ(info.device, d.kind);
    EXPECT_EQ(info.device_ordinal, d.ordinal);
    {
        const DeviceCopy x(operands.input.data(), bytes_of(operands.input)), w(operands.filters.data(), bytes_of(operands.filters)), bias(operands.bias.data(), operands.bias.bytes());
        const DeviceCopy y(nullptr, bytes_of(operands.output)), packed(nullptr, info.packed_filter_bytes), workspace(nullptr, info.workspace_bytes_unpacked);
        const fourfold_const_view filters = {w.floats(), {}, 0};
        ASSERT_EQ(fourfold_plan_pack_filters(plan, &filters, packed.data(), info.packed_filter_bytes, workspace.data(), info.workspace_bytes_unpacked, nullptr), FOURFOLD_OK) << fourfold_last_error();
        fourfold_tensors tensors = {};
        tensors.struct_size = sizeof tensors;
        tensors.input.data = x.floats();
        tensors.packed_filters = packed.data();
        tensors.packed_filter_bytes = info.packed_filter_bytes;
        tensors.bias = bias.floats();
        tensors.output.data = y.floats();
        ASSERT_EQ(fourfold_plan_execute(plan, &tensors, workspace.data(), info.workspace_bytes_unpacked, nullptr), FOURFOLD_OK) << fourfold_last_error();
        ASSERT_EQ(fourfold_synchronize(d.kind, d.ordinal, nullptr), FOURFOLD_OK) << fourfold_last_error();
        ASSERT_EQ(fourfold_copy_to_host(d.kind, d.ordinal, operands.output.data(), y.data(), bytes_of(operands.output), nullptr), FOURFOLD_OK) << fourfold_last_error();
    }
    EXPECT_TRUE(matches(operands, operands.expected(), error_limit(static_cast<Algorithm>(info.algorithm))));
    fourfold_plan_destroy(plan);
}

TEST_F(InC, AStagedPlanComputesHostData) {
    const char *text = "b1 ic3 i40x30 oc5 f3 p1 residual relu";
    Operands operands(parse_problem(text), 11);
    const fourfold_problem problem = parsed(text);
    const fourfold_plan_options options = on(test_device());
    const Tensors t = operands.tensors();
    fourfold_tensors tensors = {};
    tensors.struct_size = sizeof tensors;
    tensors.input.data = t.input.data;
    tensors.bias = t.bias;
    tensors.residual.data = t.residual.data;
    tensors.output.data = t.output.data;
    const fourfold_const_view filters = {t.filters.view.data, {}, 0};
    // Whole, and within less memory until it takes pieces.
    size_t limit = SIZE_MAX;
    for (const bool whole : {true, false}) {
        fourfold_staged_plan *staged = nullptr;
        int64_t pieces = 0;
        for (limit = whole ? SIZE_MAX : size_t{1} << 22; pieces < (whole ? 1 : 3); limit = limit * 3 / 4) {
            fourfold_staged_plan_destroy(staged);
            ASSERT_EQ(fourfold_staged_plan_create(&problem, &options, limit, &staged), FOURFOLD_OK) << fourfold_last_error();
            ASSERT_EQ(fourfold_staged_plan_pieces(staged, &pieces), FOURFOLD_OK);
        }
        EXPECT_EQ(pieces == 1, whole);
        operands.clear_output();
        EXPECT_EQ(fourfold_staged_plan_execute(staged, &tensors, nullptr), FOURFOLD_INVALID_ARGUMENT);
        EXPECT_TRUE(says("filters are null"));
        ASSERT_EQ(fourfold_staged_plan_pack_filters(staged, &filters, nullptr), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(fourfold_staged_plan_pack_filters(staged, nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
        EXPECT_EQ(fourfold_staged_plan_execute(staged, nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
        EXPECT_TRUE(says("tensors is null"));
        ASSERT_EQ(fourfold_staged_plan_execute(staged, &tensors, nullptr), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_TRUE(matches(operands, operands.expected(), error_limit(Algorithm::kWinograd)));
        size_t length = 0;
        EXPECT_EQ(fourfold_staged_plan_describe(staged, nullptr, 0, &length), FOURFOLD_OK);
        EXPECT_GT(length, 0u);
        fourfold_staged_plan_destroy(staged);
    }
}

}  // namespace
}  // namespace fourfold::test
