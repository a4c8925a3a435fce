#include "golden/golden_cases.h"

#include <cstring>
#include <fstream>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "support/npy.h"

namespace fourfold::test {

namespace {

PaddingMode padding_mode(const std::string &name) {
    if (name == "zeros") {
        return PaddingMode::kZeros;
    }
    if (name == "reflect") {
        return PaddingMode::kReflect;
    }
    if (name == "replicate") {
        return PaddingMode::kReplicate;
    }
    if (name == "circular") {
        return PaddingMode::kCircular;
    }
    throw std::runtime_error("unknown padding mode " + name + " in cases.json");
}

std::vector<GoldenCase> read_cases() {
    std::ifstream file(FOURFOLD_GOLDEN_DATA "/cases.json");
    if (!file) {
        throw std::runtime_error("cannot open " FOURFOLD_GOLDEN_DATA "/cases.json");
    }
    const nlohmann::json all = nlohmann::json::parse(file);
    std::vector<GoldenCase> cases;
    for (const nlohmann::json &entry : all.at("convolutions")) {
        GoldenCase c;
        c.name = entry.at("name");
        Conv2dProblem &p = c.problem;
        p.batch = entry.at("batch");
        p.in_channels = entry.at("in_channels");
        p.in_height = entry.at("in_height");
        p.in_width = entry.at("in_width");
        p.out_channels = entry.at("out_channels");
        p.filter_height = entry.at("filter_height");
        p.filter_width = entry.at("filter_width");
        p.stride_h = entry.at("stride")[0];
        p.stride_w = entry.at("stride")[1];
        p.pad_top = entry.at("padding")[0];
        p.pad_bottom = entry.at("padding")[1];
        p.pad_left = entry.at("padding")[2];
        p.pad_right = entry.at("padding")[3];
        p.dilation_h = entry.at("dilation")[0];
        p.dilation_w = entry.at("dilation")[1];
        p.groups = entry.at("groups");
        p.padding_mode = padding_mode(entry.at("padding_mode"));
        cases.push_back(c);
    }
    return cases;
}

}  // namespace

std::string GoldenCase::path(const std::string &operand) const {
    return FOURFOLD_GOLDEN_DATA "/" + name + "." + operand + ".npy";
}

const std::vector<GoldenCase> &golden_cases() {
    static const std::vector<GoldenCase> cases = read_cases();
    return cases;
}

const GoldenCase &golden_case(const std::string &name) {
    for (const GoldenCase &c : golden_cases()) {
        if (c.name == name) {
            return c;
        }
    }
    throw std::runtime_error("no golden case " + name);
}

Operands golden_operands(const GoldenCase &c, const Conv2dProblem &problem) {
    Operands operands(problem, 0, Values::kUniform, Placement::kPageAfter);
    const auto read = [&](const char *operand) { return read_npy(c.path(operand)).values; };
    if (problem.operation != Operation::kBackwardData) {
        operands.input.assign(read("input"));
    }
    if (problem.operation != Operation::kBackwardFilters) {
        operands.filters.assign(read("filters"));
    }
    if (problem.operation != Operation::kForward) {
        operands.grad_output.assign(read("grad_output"));
    }
    if (problem.operation == Operation::kForward) {
        const std::vector<float> bias = read("bias");
        std::memcpy(operands.bias.data(), bias.data(), operands.bias.bytes());
    } else if (problem.operation == Operation::kBackwardData) {
        std::memset(operands.bias.data(), 0, operands.bias.bytes());
    }
    return operands;
}

reference::Forward golden_result(const GoldenCase &c, const reference::Forward &reference, Operation operation) {
    reference::Forward expected = reference;
    const std::vector<float> y = read_npy(c.path(operation == Operation::kForward ? "output" : operation == Operation::kBackwardData ? "grad_input" : "grad_filters")).values;
    expected.y.assign(y.begin(), y.end());
    return expected;
}

Operands golden_flipped(const GoldenCase &c) {
    Conv2dProblem problem = c.problem;
    problem.filter_mode = FilterMode::kConvolution;
    Operands operands = golden_operands(c, problem);
    const Array straight = golden_operands(c, problem).filters;
    for (int64_t k = 0; k < straight.sizes()[0]; k++) {
        for (int64_t i = 0; i < straight.sizes()[1]; i++) {
            for (int64_t r = 0; r < problem.filter_height; r++) {
                for (int64_t s = 0; s < problem.filter_width; s++) {
                    operands.filters(k, i, r, s) = straight(k, i, problem.filter_height - 1 - r, problem.filter_width - 1 - s);
                }
            }
        }
    }
    return operands;
}

}  // namespace fourfold::test
