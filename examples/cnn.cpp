// The convolutions of a network: all layers of a file of problems planned beforehand, their filters packed once, and run in turn in one
// workspace as large as the largest of them needs.
//
//     example_cnn shapes/networks.csv [threads]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "fourfold/fourfold.h"

namespace {

struct Layer {
    std::string name;
    fourfold::Plan plan;
    fourfold::AlignedBuffer filters;  ///< packed
};

/// name,b,ic,i0,i1,oc,f0,f1,stride,pad,dilation,groups
bool parse_line(const std::string &line, std::string &name, fourfold::Conv2dProblem &p) {
    long long b, ic, i0, i1, oc, f0, f1, stride, pad, dilation, groups;
    char text[200];
    if (std::sscanf(line.c_str(), "%199[^,],%lld,%lld,%lld,%lld,%lld,%lld,%lld,%lld,%lld,%lld,%lld", text, &b, &ic, &i0, &i1, &oc, &f0, &f1, &stride, &pad, &dilation, &groups) != 12) {
        return false;
    }
    name = text;
    p.batch = b;
    p.in_channels = ic;
    p.in_height = i0;
    p.in_width = i1;
    p.out_channels = oc;
    p.filter_height = f0;
    p.filter_width = f1;
    p.stride_h = p.stride_w = stride;
    p.pad_top = p.pad_bottom = p.pad_left = p.pad_right = pad;
    p.dilation_h = p.dilation_w = dilation;
    p.groups = groups;
    return true;
}

int fail(const std::string &why) {
    std::fprintf(stderr, "%s\n", why.c_str());
    return 1;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 2) {
        return fail("usage: example_cnn shapes/networks.csv [threads]");
    }
    fourfold::PlanOptions options;
    options.threads = argc > 2 ? std::atoi(argv[2]) : 0;

    std::vector<Layer> layers;
    int64_t most_input = 0, most_output = 0;
    size_t workspace_bytes = 0;
    std::ifstream file(argv[1]);
    for (std::string line, name; std::getline(file, line);) {
        fourfold::Conv2dProblem problem;
        if (line.empty() || line[0] == '#' || !parse_line(line, name, problem)) {
            continue;
        }
        fourfold::Result<fourfold::Plan> plan = fourfold::Plan::create(problem, options);
        if (!plan) {
            return fail(name + ": " + plan.status().message());
        }
        fourfold::AlignedBuffer packed(plan->packed_filter_bytes()), scratch(plan->workspace_bytes_unpacked());
        const std::vector<float> w(static_cast<size_t>(problem.filter_elements()), 0.01f);
        if (fourfold::Status status = plan->pack_filters(w.data(), packed, scratch); !status) {
            return fail(name + ": " + status.message());
        }
        workspace_bytes = std::max(workspace_bytes, plan->workspace_bytes());
        most_input = std::max(most_input, problem.input_elements());
        most_output = std::max(most_output, problem.output_elements());
        layers.push_back({name, *plan, std::move(packed)});
    }
    if (layers.empty()) {
        return fail(std::string("'") + argv[1] + "' has no problems");
    }

    const fourfold::AlignedBuffer workspace(workspace_bytes);
    const std::vector<float> x(static_cast<size_t>(most_input), 1.0f);
    std::vector<float> y(static_cast<size_t>(most_output));
    double total = 0.0;
    for (const Layer &layer : layers) {
        fourfold::Tensors tensors;
        tensors.input = x.data();
        tensors.filters = layer.filters;
        tensors.output = y.data();
        const auto start = std::chrono::steady_clock::now();
        if (fourfold::Status status = layer.plan.execute(tensors, workspace); !status) {
            return fail(layer.name + ": " + status.message());
        }
        const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
        std::printf("%-24s %-10s %9.3f ms\n", layer.name.c_str(), fourfold::to_string(layer.plan.algorithm()), ms);
        total += ms;
    }
    std::printf("%zu layers in %.1f ms, one workspace of %.1f MB\n", layers.size(), total, static_cast<double>(workspace_bytes) / 1e6);
}
