#include "cover.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

namespace fourfold::cli {
namespace {

constexpr double kUnserved = 0.05;

/// The best efficiency that a set of variants gives a problem.
double served(const CoverProblem &problem, const std::set<std::string> &variants) {
    double best = kUnserved;
    for (const CoverProblem::Choice &c : problem.choices) {
        if (c.efficiency > best && std::all_of(c.variants.begin(), c.variants.end(), [&](const std::string &v) { return variants.count(v) != 0; })) {
            best = c.efficiency;
        }
    }
    return best;
}

}  // namespace

std::vector<CoverStep> cover(const std::vector<CoverProblem> &problems, double goal) {
    std::vector<CoverStep> steps;
    std::set<std::string> variants;
    std::vector<double> now(problems.size(), kUnserved);
    const auto below = [&](double efficiency) { return efficiency < goal; };
    while (std::any_of(now.begin(), now.end(), below)) {
        CoverStep step;
        double most = -1.0;
        for (size_t p = 0; p < problems.size(); ++p) {
            if (!below(now[p])) {
                continue;
            }
            for (size_t c = 0; c < problems[p].choices.size(); ++c) {
                const CoverProblem::Choice &choice = problems[p].choices[c];
                std::set<std::string> with = variants;
                with.insert(choice.variants.begin(), choice.variants.end());
                double gain = 0.0;
                for (size_t q = 0; q < problems.size() && choice.efficiency > now[p]; ++q) {
                    gain += below(now[q]) ? std::log(std::min(goal, std::max(now[q], served(problems[q], with))) / now[q]) : 0.0;
                }
                gain /= static_cast<double>(std::max<size_t>(1, with.size() - variants.size()));
                if (gain > most) {
                    most = gain;
                    step.problem = p;
                    step.choice = c;
                }
            }
        }
        for (const std::string &v : problems[step.problem].choices[step.choice].variants) {
            if (variants.insert(v).second) {
                step.added.push_back(v);
            }
        }
        double logs = 0.0;
        step.worst = 1.0;
        for (size_t p = 0; p < problems.size(); ++p) {
            now[p] = served(problems[p], variants);
            logs += std::log(now[p]);
            step.worst = std::min(step.worst, now[p]);
            step.within += !below(now[p]);
        }
        step.variants = variants.size();
        step.geomean = std::exp(logs / static_cast<double>(problems.size()));
        steps.push_back(step);
    }
    return steps;
}

std::string curve_lines(const std::string &stage, const std::string &target, const std::vector<CoverStep> &steps, size_t problems, double goal) {
    std::string text;
    for (const CoverStep &s : steps) {
        text += fmt::format("{},{},{},{:.4f},{:.4f},{},{},{:.4f},{}\n", stage, target, s.variants, 1.0 - s.geomean, 1.0 - s.worst, s.within, problems, 1.0 - goal, fmt::join(s.added, " "));
    }
    return text;
}

}  // namespace fourfold::cli
