// The candidates of one problem in other processes (candidate_field.h), with the arrays and the reference that judge them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "candidate_field.h"
#include "fourfold/plan.h"
#include "fourfold/spectral.h"
#include "problem_data.h"
#include "reference.h"

namespace fourfold::cli {

constexpr double kStageSeconds = 1.5;  ///< rounds of long problems end earlier

class JudgedField {
public:
    struct Member {
        Algorithm algorithm = Algorithm::kAuto;
        std::string choice;
        double predicted = 0.0;  ///< seconds
        double bytes = 0.0;      ///< of its own: packed filters and workspace
        bool incumbent = false;  ///< CandidateField's
    };
    struct Options {
        Device device = {};
        int threads = 1;
        uint64_t seed = 1;
        double ready_seconds = 60.0;        ///< until a candidate must have run once
        bool cold = false;
        size_t workspace_limit = std::numeric_limits<size_t>::max();  ///< bytes; plans are made within it
        double fastest = 0.0;               ///< seconds; CandidateField's
        std::string variants;               ///< file of compiled_variants.h; empty: none
        double check_all_below_flops = 1e9;  ///< over this the reference is a sample
    };

    JudgedField(const Conv2dProblem &problem, const std::vector<Member> &members, const Options &options);
    JudgedField(const SpectralProblem &problem, const std::vector<Member> &members, const Options &options);
    JudgedField(const JudgedField &) = delete;
    JudgedField &operator=(const JudgedField &) = delete;

    /// False when memory ran out.
    bool ok() const {
        return judge_ != nullptr && results_.front()->data() != nullptr;
    }
    /// As CandidateField's; "stopped" once is_stopped().
    Failure sample(size_t i, double &seconds);
    void expect(std::vector<size_t> next) {
        field_->expect(std::move(next));
    }
    void refresh() {
        field_->refresh();
    }

private:
    /// The result that others are compared with.
    struct First {
        std::vector<float> result;
        double limit = 0.0;

        Failure compare(const Reference &reference, const Conv2dProblem &problem, uint64_t seed, const float *other, double other_limit);
    };

    /// `bytes`: of operands and result; `elements`: of the result.
    void start(const std::string &problem, const std::vector<Member> &members, const Options &options, int64_t elements, double bytes);

    std::vector<std::unique_ptr<SharedFloats>> results_;  ///< of each stand
    std::function<Failure(size_t i, const float *result)> judge_;
    std::optional<CandidateField> field_;
};

}  // namespace fourfold::cli
