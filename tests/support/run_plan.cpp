#include "support/run_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "support/device_mirror.h"
#include "support/random.h"

namespace fourfold::test {

namespace {

float draw(Random &random, Values values) {
    switch (values) {
    case Values::kUniform:
        return random.uniform(-1.0f, 1.0f);
    case Values::kPositive:
        return random.uniform(0.0f, 1.0f);
    case Values::kIntegers:
        return static_cast<float>(random.between(-2, 2));
    }
    return 0.0f;
}

void hash(uint64_t *state, const float *value, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        std::memcpy(&bits, value + i, sizeof(bits));
        *state = (*state ^ bits) * 0x100000001b3u;
    }
}

/// Four words at a time: packed filters may be hundreds of megabytes, and byte by byte that was most of the tests' time. Each step is a bijection, so
/// that no single change is missed.
uint64_t hash(const unsigned char *data, size_t bytes) {
    constexpr uint64_t prime = 0x100000001b3u;
    std::array<uint64_t, 4> states = {0xcbf29ce484222325u, 1, 2, 3}, words;
    size_t i = 0;
    for (; i + sizeof words <= bytes; i += sizeof words) {
        std::memcpy(words.data(), data + i, sizeof words);
        for (size_t k = 0; k < words.size(); k++) {
            states[k] = (states[k] ^ words[k]) * prime;
        }
    }
    for (; i < bytes; i++) {
        states[0] = (states[0] ^ data[i]) * prime;
    }
    uint64_t state = 0;
    for (const uint64_t other : states) {
        state = (state ^ other) * prime;
    }
    return state;
}

Status broken(const std::string &what, const Plan &plan) {
    return Status(StatusCode::kInternal, what + "; " + plan.describe());
}

}  // namespace

Operands::Operands(const Conv2dProblem &p, uint64_t seed, Values values, Placement placement, bool regions)
    : problem(p), seed(seed), placement(placement), regions(regions) {
    const std::array<int64_t, 4> x = {p.batch, p.in_channels, p.in_height, p.in_width}, w = {p.out_channels, p.in_channels / p.groups, p.filter_height, p.filter_width},
                                 y = {p.batch, p.out_channels, p.out_height(), p.out_width()};
    const bool data = p.operation == Operation::kBackwardData, gradient = p.operation == Operation::kBackwardFilters;
    Random random(seed);
    const auto fill = [&](float &value) { value = draw(random, values); };
    if (p.moves_columns()) {
        const std::array<int64_t, 4> columns = {p.batch, p.in_channels, p.filter_height * p.filter_width, p.out_height() * p.out_width()};
        const bool unfold = p.operation == Operation::kUnfold;
        input = unfold ? Array(x, placement, regions, p.layout) : Array(columns, placement, regions);
        output = unfold ? Array(columns, placement, regions) : Array(x, placement, regions, p.layout);
        input.for_each(fill);
        return;
    }
    const int64_t channels = data ? p.in_channels : p.out_channels;
    const auto make = [&](Array &array, const std::array<int64_t, 4> &sizes) { array = Array(sizes, placement, regions, p.layout); };
    if (!data) {
        make(input, x);
    }
    if (!gradient) {
        make(filters, w);
    }
    if (data || gradient) {
        make(grad_output, y);
    }
    make(output, data ? x : gradient ? w : y);
    bias = GuardedBuffer(sizeof(float) * static_cast<size_t>(channels), sizeof(float), placement);
    input.for_each(fill);
    filters.for_each(fill);
    grad_output.for_each(fill);
    for (int64_t k = 0; !gradient && k < channels; k++) {
        fill(reinterpret_cast<float *>(bias.data())[k]);
    }
    if (p.residual) {
        residual = Array(output.sizes(), placement, regions, p.layout);
        residual.for_each(fill);
    }
}

Tensors Operands::tensors() const {
    Tensors t;
    if (problem.residual) {
        t.residual = residual.view();
    }
    switch (problem.operation) {
    case Operation::kBackwardData:
        t.grad_output = grad_output.view();
        t.filters = filters.view();
        t.bias = reinterpret_cast<const float *>(bias.data());
        t.grad_input = output.mutable_view();
        break;
    case Operation::kBackwardFilters:
        t.input = input.view();
        t.grad_output = grad_output.view();
        t.grad_filters = output.mutable_view();
        t.grad_bias = reinterpret_cast<float *>(bias.data());
        break;
    case Operation::kUnfold:
    case Operation::kFold:
        t.input = input.view();
        t.output = output.mutable_view();
        break;
    default:
        t.input = input.view();
        t.filters = filters.view();
        t.bias = reinterpret_cast<const float *>(bias.data());
        t.output = output.mutable_view();
    }
    return t;
}

reference::Forward Operands::expected() const {
    if (problem.operation == Operation::kBackwardData) {
        return reference::backward_data(problem, grad_output.reference_view(), filters.reference_view(), reinterpret_cast<const float *>(bias.data()), residual.reference_view());
    }
    if (problem.operation == Operation::kBackwardFilters) {
        return reference::backward_filters(problem, input.reference_view(), grad_output.reference_view());
    }
    if (problem.moves_columns()) {
        return problem.operation == Operation::kUnfold ? reference::unfold(problem, input.reference_view()) : reference::fold(problem, input.reference_view());
    }
    return reference::forward(problem, input.reference_view(), filters.reference_view(), reinterpret_cast<const float *>(bias.data()),
                              residual.reference_view());
}

::testing::AssertionResult Operands::bias_matches(double limit) const {
    const reference::Forward expected = reference::bias_gradient(problem, grad_output.reference_view());
    for (size_t k = 0; k < expected.y.size(); k++) {
        const float got = reinterpret_cast<const float *>(bias.data())[k];
        if (!(std::fabs(got - expected.y[k]) <= limit * expected.scale)) {
            return ::testing::AssertionFailure() << to_string() << ": bias gradient [" << k << "] = " << got << ", expected " << expected.y[k];
        }
    }
    return ::testing::AssertionSuccess();
}

void Operands::clear_output() {
    if (problem.operation == Operation::kBackwardFilters) {
        std::memset(bias.data(), 0xff, bias.bytes());
    }
    output.for_each([](float &x) { std::memset(&x, 0xff, sizeof(x)); });
}

uint64_t Operands::inputs_checksum() const {
    uint64_t state = problem.operation == Operation::kBackwardFilters ? 0 : hash(bias.data(), bias.bytes());
    for (const Array *array : {&input, &filters, &grad_output, &residual}) {
        const_cast<Array *>(array)->for_each([&](float &x) { hash(&state, &x, 1); });
    }
    return state;
}

std::string Operands::to_string() const {
    return std::string("'") + problem.to_string() + "', " + test::to_string(placement) + (regions ? ", regions, " : ", ") + seed_note(seed);
}

namespace {

/// run_plan on a device.
Status run_on_device(const Plan &plan, Operands &operands, const RunOptions &how) {
    const Device device = plan.device();
    ExecutionContext context;
    context.stream = how.stream;
    operands.clear_output();
    const auto mirror = [&](const Array &array) { return DeviceMirror(device, array.memory().data(), array.memory().bytes()); };
    DeviceMirror input = mirror(operands.input), filters = mirror(operands.filters), grad_output = mirror(operands.grad_output), residual = mirror(operands.residual), output = mirror(operands.output);
    DeviceMirror bias(device, operands.bias.data(), operands.bias.bytes());
    DeviceMirror packed(device, nullptr, plan.packed_filter_bytes()), workspace(device, nullptr, plan.workspace_bytes_unpacked());
    Tensors t = operands.tensors();
    t.input = input.at(t.input);
    t.grad_output = grad_output.at(t.grad_output);
    t.residual = residual.at(t.residual);
    t.filters.view = filters.at(t.filters.view);
    t.bias = bias.at(t.bias);
    t.output = output.at(t.output);
    t.grad_input = output.at(t.grad_input);
    t.grad_filters = output.at(t.grad_filters);
    t.grad_bias = bias.at(t.grad_bias);
    if (!how.unpacked && plan.packed_filter_bytes() > 0) {
        if (Status status = plan.pack_filters(t.filters.view, packed.block(), workspace.block(), context); !status) {
            return status;
        }
        t.filters = Filters(ConstMemoryBlock{packed.block().data, packed.block().bytes});
    }
    Status status = plan.execute(t, workspace.block(), context);
    status = status ? synchronize(device, how.stream) : status;
    if (!status) {
        return status;
    }
    if (!workspace.fetch() || !packed.fetch()) {
        return broken("execute wrote outside its workspace or packed block", plan);
    }
    const auto same = [](DeviceMirror &copy, const GuardedBuffer &memory) { return copy.fetch() && (memory.bytes() == 0 || std::memcmp(copy.fetched(), memory.data(), memory.bytes()) == 0); };
    if (!same(input, operands.input.memory()) || !same(filters, operands.filters.memory()) || !same(grad_output, operands.grad_output.memory()) || !same(residual, operands.residual.memory())) {
        return broken("execute changed one of its inputs", plan);
    }
    const bool writes_bias = operands.problem.operation == Operation::kBackwardFilters;
    if (writes_bias ? !bias.fetch() : !same(bias, operands.bias)) {
        return broken("execute changed the bias", plan);
    }
    if (writes_bias) {
        std::memcpy(operands.bias.data(), bias.fetched(), operands.bias.bytes());
    }
    if (!output.fetch()) {
        return broken("execute wrote outside the output", plan);
    }
    std::memcpy(operands.output.memory().data(), output.fetched(), operands.output.memory().bytes());
    return operands.output.surroundings_intact() ? Status() : broken("execute wrote around the region of the output", plan);
}

}  // namespace

Status run_plan(const Plan &plan, Operands &operands, const RunOptions &how) {
    if (plan.device() != Device::kCpu && !how.shared_memory) {
        return run_on_device(plan, operands, how);
    }
    ExecutionContext context;
    context.executor = how.executor;
    Tensors tensors = operands.tensors();
    const uint64_t before = operands.inputs_checksum();

    GuardedBuffer packed;
    uint64_t packed_before = 0;
    const bool unpacked = how.unpacked || plan.packed_filter_bytes() == 0;
    if (!unpacked) {
        packed = GuardedBuffer(plan.packed_filter_bytes(), kAlignment, how.placement);
        GuardedBuffer workspace(plan.workspace_bytes_unpacked(), kAlignment, how.placement);
        Status status = plan.pack_filters(operands.filters.view(), {packed.data(), packed.bytes()}, workspace.block(), context);
        if (status && how.shared_memory) {
            status = synchronize(plan.device());
        }
        if (!status) {
            return status;
        }
        if (!packed.intact() || !workspace.intact()) {
            return broken("pack_filters wrote outside its packed block or workspace", plan);
        }
        tensors.filters = Filters(ConstMemoryBlock{packed.data(), packed.bytes()});
        packed_before = hash(packed.data(), packed.bytes());
    }

    operands.clear_output();
    GuardedBuffer workspace(unpacked ? plan.workspace_bytes_unpacked() : plan.workspace_bytes(), kAlignment, how.placement);
    Status status = plan.execute(tensors, workspace.block(), context);
    if (status && how.shared_memory) {
        status = synchronize(plan.device());
    }
    if (!status) {
        return status;
    }
    if (!workspace.intact()) {
        return broken("execute wrote outside its workspace", plan);
    }
    if (!packed.intact() || (!unpacked && hash(packed.data(), packed.bytes()) != packed_before)) {
        return broken("execute changed the packed filters", plan);
    }
    if (!operands.output.surroundings_intact()) {
        return broken("execute wrote outside the output", plan);
    }
    if (!operands.input.surroundings_intact() || !operands.filters.surroundings_intact() || !operands.residual.surroundings_intact() ||
        !operands.grad_output.surroundings_intact() || !operands.bias.intact() || operands.inputs_checksum() != before) {
        return broken("execute changed one of its inputs", plan);
    }
    return {};
}

Status run_plan(const PlanOptions &options, Operands &operands, const RunOptions &how) {
    const Result<Plan> plan = Plan::create(operands.problem, options);
    return plan ? run_plan(*plan, operands, how) : plan.status();
}

double error_limit(Algorithm algorithm) {
    switch (algorithm) {
    case Algorithm::kNaive:
    case Algorithm::kDirect:
    case Algorithm::kIm2col:
        return 1e-6;
    case Algorithm::kFft:
    case Algorithm::kFftTiled:
        return 2e-6;
    case Algorithm::kAuto:
    case Algorithm::kWinograd:
        return 2e-5;
    }
    return 0.0;
}

double max_error(const Array &y, const reference::Forward &expected) {
    double worst = 0.0;
    size_t i = 0;
    const_cast<Array &>(y).for_each([&](float &value) {
        const double difference = std::fabs(value - expected.y[i++]);
        worst = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(worst, difference);
    });
    return worst == 0.0 ? 0.0 : worst / expected.scale;
}

::testing::AssertionResult matches(const Operands &operands, const reference::Forward &expected, double limit) {
    const std::array<int64_t, 4> &sizes = operands.output.sizes();
    if (sizes[2] != expected.out_height || sizes[3] != expected.out_width) {
        return ::testing::AssertionFailure() << operands.to_string() << ": the problem says an output of " << sizes[2] << "x" << sizes[3]
                                             << ", the reference finds " << expected.out_height << "x" << expected.out_width;
    }
    const double error = max_error(operands.output, expected);
    if (error <= limit) {
        return ::testing::AssertionSuccess();
    }
    const std::vector<float> y = operands.output.values();
    size_t worst = 0, wrong = 0;
    double largest = -1.0;
    for (size_t i = 0; i < y.size(); i++) {
        const double difference = std::fabs(y[i] - expected.y[i]);
        wrong += !(difference <= limit * expected.scale);
        if (!(difference <= largest)) {
            largest = difference;
            worst = i;
            if (std::isnan(difference)) {
                largest = std::numeric_limits<double>::infinity();
            }
        }
    }
    const int64_t at = static_cast<int64_t>(worst);
    const int64_t row = sizes[3], plane = sizes[2] * row, image = sizes[1] * plane;
    return ::testing::AssertionFailure() << operands.to_string() << ": error " << error << " over " << limit << "; " << wrong << " of " << y.size()
                                         << " outputs are wrong, the worst y[" << at / image << "," << at % image / plane << "," << at % plane / row
                                         << "," << at % row << "] = " << y[worst] << ", expected " << expected.y[worst];
}

bool same_bits(const std::vector<float> &a, const std::vector<float> &b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), sizeof(float) * a.size()) == 0);
}

bool same_sums(const std::vector<float> &a, const std::vector<float> &b) {
#ifdef FOURFOLD_INSTRUMENTED
    float largest = 0.0f;
    for (const float x : a) {
        largest = std::max(largest, std::isfinite(x) ? std::fabs(x) : 0.0f);
    }
    const auto near = [&](float x, float y) { return std::fabs(x - y) <= 1e-6f * largest; };
    return same_bits(a, b) || (a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), near));
#else
    return same_bits(a, b);
#endif
}

bool refuses(Algorithm algorithm, const Conv2dProblem &problem) {
    PlanOptions options;
    options.algorithm = algorithm;
    return may_refuse(algorithm) && Plan::create(problem, options).status().code() == StatusCode::kUnsupported;
}

std::string main_stage(Algorithm algorithm, Operation operation) {
    switch (algorithm) {
    case Algorithm::kDirect:
        return operation == Operation::kBackwardFilters ? "conv_backward_filters" : "conv_direct";
    case Algorithm::kIm2col:
        return operation == Operation::kUnfold ? "im2col" : operation == Operation::kFold ? "fold" : "gemm";
    case Algorithm::kFft:
        return "spectral_product";
    case Algorithm::kFftTiled:
        return operation == Operation::kBackwardFilters ? "tile_correlation" : "tile_product";
    case Algorithm::kWinograd:
        return "winograd_product";
    default:
        return "";
    }
}

std::vector<std::string> runnable_variants(Algorithm algorithm, Operation operation) {
    if (algorithm == Algorithm::kNaive) {
        return {""};
    }
    std::vector<std::string> names;
    for (const VariantInfo &variant : list_variants()) {
        // A tile size may be forced too, the length of transforms without a sum over channels, and the other form of direct.
        const bool tile = (algorithm == Algorithm::kFftTiled && variant.stage == "tile_forward") || (algorithm == Algorithm::kWinograd && variant.stage == "winograd_forward");
        const bool filters = operation == Operation::kBackwardFilters;
        const bool lanes = (!filters && algorithm == Algorithm::kDirect && variant.stage == "conv_direct_oc") || (algorithm == Algorithm::kFftTiled && variant.parameters.find("mode=none") == std::string::npos && ((variant.stage == "lane_columns" && !(filters && variant.parameters.find("mode=one") != std::string::npos)) || (!filters && variant.stage == "plane_rows")));
        const bool inexact = operation == Operation::kUnfold && variant.parameters == "exact=0";
        if (variant.runnable && !inexact && (tile || lanes || variant.stage == main_stage(algorithm, operation))) {
            names.push_back(variant.name);
        }
    }
    return names;
}

}  // namespace fourfold::test
