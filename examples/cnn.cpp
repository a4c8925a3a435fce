// The convolutions of a network: all layers of a file of problems planned beforehand, their filters packed once, and run in turn in one
// workspace as large as the largest of them needs. Some outputs of every layer are compared with sums in double precision.
//
//     example_cnn shapes/networks.csv [threads]
#include <algorithm>
#include <chrono>
#include <cmath>
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
    std::vector<float> filters;
    fourfold::AlignedBuffer packed;
};

/// Uniform on [-1, 1), the same in every run.
std::vector<float> random_values(int64_t count, uint32_t seed) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float &v : values) {
        seed = seed * 1664525u + 1013904223u;
        v = static_cast<float>(seed >> 8) * 0x1p-23f - 1.0f;
    }
    return values;
}

/// The largest |y - exact| / sum |x w| of about 50 outputs, spread over images, channels and borders.
double largest_error(const fourfold::Conv2dProblem &p, const std::vector<float> &x, const std::vector<float> &w, const std::vector<float> &y) {
    const int64_t o0 = p.out_height(), o1 = p.out_width(), group_inputs = p.in_channels / p.groups;
    const int64_t count = p.output_elements(), step = std::max<int64_t>(1, count / 50);
    double worst = 0.0;
    for (int64_t at = 0; at < count; at = at < count - 1 ? std::min(at + step, count - 1) : count) {
        const int64_t q = at % o1, row = at / o1 % o0, k = at / (o1 * o0) % p.out_channels, n = at / (o1 * o0 * p.out_channels);
        const int64_t first_channel = k / (p.out_channels / p.groups) * group_inputs;
        double sum = 0.0, magnitude = 0.0;
        for (int64_t c = 0; c < group_inputs; ++c) {
            for (int64_t r = 0; r < p.filter_height; ++r) {
                for (int64_t s = 0; s < p.filter_width; ++s) {
                    const int64_t i = row * p.stride_h + r * p.dilation_h - p.pad_top, j = q * p.stride_w + s * p.dilation_w - p.pad_left;
                    if (i >= 0 && i < p.in_height && j >= 0 && j < p.in_width) {
                        const double term = static_cast<double>(x[static_cast<size_t>(((n * p.in_channels + first_channel + c) * p.in_height + i) * p.in_width + j)]) *
                                            static_cast<double>(w[static_cast<size_t>(((k * group_inputs + c) * p.filter_height + r) * p.filter_width + s)]);
                        sum += term;
                        magnitude += std::abs(term);
                    }
                }
            }
        }
        const double error = std::abs(static_cast<double>(y[static_cast<size_t>(at)]) - sum) / std::max(magnitude, 1e-30);
        worst = error <= worst ? worst : error;  // a NaN stays
    }
    return worst;
}

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
        std::vector<float> w = random_values(problem.filter_elements(), static_cast<uint32_t>(layers.size()));
        if (fourfold::Status status = plan->pack_filters(w.data(), packed, scratch); !status) {
            return fail(name + ": " + status.message());
        }
        workspace_bytes = std::max(workspace_bytes, plan->workspace_bytes());
        most_input = std::max(most_input, problem.input_elements());
        most_output = std::max(most_output, problem.output_elements());
        layers.push_back({name, *plan, std::move(w), std::move(packed)});
    }
    if (layers.empty()) {
        return fail(std::string("'") + argv[1] + "' has no problems");
    }

    const fourfold::AlignedBuffer workspace(workspace_bytes);
    const std::vector<float> x = random_values(most_input, 1000);
    std::vector<float> y(static_cast<size_t>(most_output));
    double total = 0.0, worst = 0.0;
    for (const Layer &layer : layers) {
        fourfold::Tensors tensors;
        tensors.input = x.data();
        tensors.filters = layer.packed;
        tensors.output = y.data();
        const auto start = std::chrono::steady_clock::now();
        if (fourfold::Status status = layer.plan.execute(tensors, workspace); !status) {
            return fail(layer.name + ": " + status.message());
        }
        const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
        const double error = largest_error(layer.plan.problem(), x, layer.filters, y);
        std::printf("%-24s %-10s %9.3f ms, error %.1e\n", layer.name.c_str(), fourfold::to_string(layer.plan.algorithm()), ms, error);
        if (!(error < 2e-5)) {  // Accuracy::kDefault's limit
            return fail(layer.name + ": the result is wrong");
        }
        total += ms;
        worst = std::max(worst, error);
    }
    std::printf("%zu layers in %.1f ms, one workspace of %.1f MB; errors of at most %.1e\n", layers.size(), total, static_cast<double>(workspace_bytes) / 1e6, worst);
}
