// Runs the problems of shapes.csv and prints their results' hashes, which do not depend on the library that was linked.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "fourfold/fourfold.h"
#include "registry.h"

using namespace fourfold;

namespace {

class SizedCalls : public RegistryTracer {
public:
    int calls = 0, sized = 0;
    void looked_up(const Variant &) override {
    }
    void called(const Variant &variant, const int32_t *sizes, int count, double) override {
        calls++;
        sized += kernel_for(variant, sizes, count) != variant.call;
    }
};

[[noreturn]] void fail(const std::string &message) {
    std::fprintf(stderr, "%s\n", message.c_str());
    std::exit(1);
}

std::vector<float> run(const std::string &text, Algorithm algorithm, int threads, RegistryTracer *tracer = nullptr) {
    const Conv2dProblem problem = *Conv2dProblem::parse(text);
    PlanOptions options;
    options.threads = threads;
    options.algorithm = algorithm;
    const Result<Plan> plan = Plan::create(problem, options);
    if (!plan) {
        fail(plan.status().message());
    }
    std::vector<float> x(problem.input_elements()), w(problem.filter_elements()), y(problem.output_elements());
    uint32_t state = 1;
    for (std::vector<float> *data : {&x, &w, &y}) {
        for (float &v : *data) {
            state = state * 1664525u + 1013904223u;
            v = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
        }
    }
    const bool forward = problem.operation == Operation::kForward;
    std::vector<float> &result = forward ? y : x;
    std::fill(result.begin(), result.end(), std::nanf(""));
    AlignedBuffer workspace(plan->workspace_bytes_unpacked());
    Tensors t;
    t.input = x.data();
    t.filters = w.data();
    t.output = y.data();
    t.grad_output = y.data();
    t.grad_input = x.data();
    registry_tracer = tracer;
    if (Status status = plan->execute(t, workspace); !status) {
        fail(status.message());
    }
    registry_tracer = nullptr;
    return result;
}

}  // namespace

int main() {
    const bool general = dispatch_list().empty();
    for (const char *text : {"b1 ic64 i14 oc48 f1 relu", "b2 ic16 i17x23 oc24 f3 s2 p1", "bwd-data b1 ic48 i9 oc32 f1"}) {
        // 3 threads are none of those that sizes were fixed for.
        for (int threads : {1, 2, 3}) {
            const std::vector<float> y = run(text, Algorithm::kAuto, threads), expected = run(text, Algorithm::kNaive, 1);
            for (size_t i = 0; i < y.size(); i++) {
                if (!(std::abs(y[i] - expected[i]) < 1e-4f)) {
                    fail(std::string(text) + ": element " + std::to_string(i) + " is " + std::to_string(y[i]) + " instead of " + std::to_string(expected[i]));
                }
            }
            uint64_t hash = 0xcbf29ce484222325u;
            for (float v : y) {
                uint32_t bits;
                std::memcpy(&bits, &v, sizeof bits);
                hash = (hash ^ bits) * 0x100000001b3u;
            }
            std::printf("%s, %d threads: %016llx\n", text, threads, static_cast<unsigned long long>(hash));
        }
        SizedCalls calls;
        run(text, Algorithm::kAuto, 1, &calls);
        if ((calls.sized > 0) == general || calls.calls == 0) {
            fail(std::string(text) + ": " + std::to_string(calls.sized) + " of " + std::to_string(calls.calls) + " calls have a kernel of their size");
        }
    }
    // A kernel of fixed size is for exactly that.
    for (const Variant &variant : registry()) {
        for (int k = 0; k < variant.sized_count; k++) {
            if (variant.sized[k].call == variant.call) {
                fail(std::string(variant.name) + ": the kernel of fixed size is the general one");
            }
        }
    }
    // What is not in the list is refused in words.
    const Result<Plan> other = Plan::create(*Conv2dProblem::parse("b1 ic7 i14 oc48 f1"));
    if (other.ok() != general || (!general && other.status().message().find("not among them") == std::string::npos)) {
        fail("a problem outside the list: " + other.status().message());
    }
    return 0;
}
