// Times the problems of standard input, one a line in the one-line form, with whatever library is linked: prints the least
// milliseconds of `execute` with packed filters on one thread, one a line. See sized.py.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "fourfold/fourfold.h"

int main(int argc, char **argv) {
    using Clock = std::chrono::steady_clock;
    const double min_time = argc > 1 ? std::stod(argv[1]) : 0.1;
    for (std::string line; std::getline(std::cin, line);) {
        const fourfold::Result<fourfold::Conv2dProblem> problem = fourfold::Conv2dProblem::parse(line);
        fourfold::PlanOptions options;
        options.threads = 1;
        const fourfold::Result<fourfold::Plan> plan = problem ? fourfold::Plan::create(*problem, options) : problem.status();
        if (!plan) {
            std::fprintf(stderr, "%s: %s\n", line.c_str(), plan.status().message().c_str());
            return 1;
        }
        std::vector<float> x(problem->input_elements(), 0.5f), w(problem->filter_elements(), 0.25f), y(problem->output_elements());
        fourfold::AlignedBuffer packed(plan->packed_filter_bytes()), workspace(plan->workspace_bytes_unpacked());
        fourfold::Status status = plan->pack_filters(w.data(), packed, workspace);
        double best = 1e9;
        const Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(min_time));
        for (int run = 0; status.ok() && (run < 3 || Clock::now() < end); ++run) {
            const Clock::time_point begin = Clock::now();
            status = plan->execute({.input = x.data(), .filters = packed, .output = y.data()}, workspace);
            best = std::min(best, std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
        }
        if (!status) {
            std::fprintf(stderr, "%s: %s\n", line.c_str(), status.message().c_str());
            return 1;
        }
        std::printf("%.6f\n", best);
        std::fflush(stdout);
    }
}
