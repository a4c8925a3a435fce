#include "golden/golden_cases.h"

#include <fstream>
#include <stdexcept>

#include <nlohmann/json.hpp>

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

}  // namespace fourfold::test
