#include <algorithm>
#include <limits>

#include "algorithm.h"
#include "registry.h"

namespace fourfold {

const std::vector<AlgorithmEntry> &algorithms() {
    static const std::vector<AlgorithmEntry> list = {
        {Algorithm::kNaive, "naive", nullptr, plan_naive, false, plan_filter_gradient_naive, plan_columns_naive},
        {Algorithm::kDirect, "direct", "conv_direct", plan_direct, true, plan_filter_gradient_direct},
        {Algorithm::kIm2col, "im2col", "gemm", plan_im2col, true, plan_filter_gradient_im2col, plan_columns},
        {Algorithm::kFft, "fft", "spectral_product", plan_fft, true, plan_filter_gradient_fft},
        {Algorithm::kFftTiled, "fft_tiled", "tile_product", plan_fft_tiled, true, plan_filter_gradient_fft_tiled},
        {Algorithm::kWinograd, "winograd", "winograd_product", plan_winograd, true, plan_filter_gradient_winograd},
    };
    return list;
}

KernelPostOp kernel_post_op(const Conv2dProblem &problem) {
    switch (problem.post_op) {
    case PostOp::kRelu:
        return {1, 0.0f, std::numeric_limits<float>::infinity()};
    case PostOp::kClamp:
        return {1, problem.clamp_lo, problem.clamp_hi};
    default:
        return {0, 0.0f, 0.0f};
    }
}

KernelPostOp kernel_clamp(const Conv2dProblem &problem) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    return problem.post_op == PostOp::kNone ? KernelPostOp{1, -infinity, infinity} : kernel_post_op(problem);
}

Status planes_within_reach(const Conv2dProblem &p) {
    constexpr int64_t limit = int64_t{1} << 29;  // floats
    if (p.in_height * p.in_width >= limit || p.out_height() * p.out_width() >= limit) {
        return Status(StatusCode::kUnsupported, "an image plane of 2^31 bytes or more is beyond a kernel call's reach");
    }
    return Status();
}

Status workspace_exhausted(size_t needed, size_t limit) {
    return Status(StatusCode::kResourceExhausted, "needs " + std::to_string(needed) + " bytes of workspace even with the smallest blocks; the limit is " + std::to_string(limit));
}

namespace {

/// Whether `words`, separated by blanks, has the word.
bool has_word(const std::string &words, const std::string &word) {
    for (size_t at = words.find(word); at != std::string::npos; at = words.find(word, at + 1)) {
        const size_t end = at + word.size();
        if ((at == 0 || words[at - 1] == ' ') && (end == words.size() || words[end] == ' ')) {
            return true;
        }
    }
    return false;
}

}  // namespace

bool PlanRequest::admits(AlgorithmPlan &plan) const {
    if (plan.choice.empty()) {
        plan.choice = plan.variant;
    }
    return admits(plan.choice);
}

bool PlanRequest::admits(const std::string &words) const {
    return std::all_of(choice.begin(), choice.end(), [&](const std::string &token) { return has_word(words, token); }) &&
           std::none_of(options.blocked.begin(), options.blocked.end(), [&](const std::string &token) { return has_word(words, token); });
}

bool PlanRequest::admits(const Variant &variant) const {
    const std::string stem = std::string(variant.stage) + "_" + to_string(variant.isa);
    bool other = false;
    for (const std::string &token : choice) {
        if (token == variant.name) {
            return true;
        }
        other = other || (token.compare(0, stem.size(), stem) == 0 && (token.size() == stem.size() || token[stem.size()] == '_'));
    }
    return !other;
}

const Status *PlanRequest::failure(const std::string &choice_of_plan) const {
    const auto found = std::find_if(failed.begin(), failed.end(), [&](const Failed &f) { return f.choice == choice_of_plan; });
    return found != failed.end() ? &found->status : nullptr;
}

void PlanRequest::considered(AlgorithmPlan &plan) const {
    plan.ranked_seconds = ranked(plan);
    if (collect != nullptr) {
        collect->push_back(plan.choice);
    }
}

Status PlanRequest::not_admitted(const char *stage) const {
    std::string text = std::string("no plan with ") + stage + " is ";
    for (const std::string &token : choice) {
        text += "'" + token + "' ";
    }
    return Status(StatusCode::kUnsupported, text + (options.blocked.empty() ? "" : choice.empty() ? "left by the block-list" : "and left by the block-list"));
}

Result<const Variant *> forced_variant(const PlanOptions &options, const char *stage) {
    if (options.variant.empty()) {
        return static_cast<const Variant *>(nullptr);
    }
    for (const Variant &v : registry()) {
        if (options.variant != v.name) {
            continue;
        }
        if (stage == nullptr || std::string(v.stage) != stage) {
            return Status(StatusCode::kUnsupported, "variant '" + options.variant + "' belongs to stage " + v.stage);
        }
        if (v.isa < best_isa()) {
            return Status(StatusCode::kUnsupported, "variant '" + options.variant + "' needs " + to_string(v.isa) + "; this machine offers " + to_string(best_isa()));
        }
        return &v;
    }
    return Status(StatusCode::kInvalidArgument, "variant '" + options.variant + "' is not in this build");
}

}  // namespace fourfold
