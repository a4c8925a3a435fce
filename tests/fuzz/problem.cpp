// The one-line form of problems: whatever parses prints and reads back as itself, is valid or refused with a sentence, and, valid,
// is planned or refused with a sentence, however large its sizes.
#include <cstring>
#include <string>
#include <string_view>

#include "fourfold/fourfold.h"
#include "fuzz.h"

using namespace fourfold;

namespace {

/// NaN in a padding value or a clamp equals nothing, itself included.
bool same(const Conv2dProblem &a, const Conv2dProblem &b) {
    return a == b || a.to_string() == b.to_string();
}

void expect_sentence(const Status &status, const std::string &text) {
    fuzz::expect(status.ok() || status.message().size() > 10, "refused without a reason: " + text);
}

void plan(const Conv2dProblem &problem) {
    const std::string text = problem.to_string();
    for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFftTiled, Algorithm::kWinograd}) {
        PlanOptions options;
        options.algorithm = algorithm;
        const Result<Plan> made = Plan::create(problem, options);
        if (!made) {
            expect_sentence(made.status(), text);
            fuzz::expect(made.status().code() != StatusCode::kInternal, text + ": " + made.status().message());
        } else {
            fuzz::expect(made->problem() == problem || made->problem().to_string() == text, "a plan for another problem: " + text);
            fuzz::expect(made->workspace_bytes() <= made->workspace_bytes_unpacked(), "less workspace for unpacked filters: " + text);
            fuzz::expect(!made->describe().empty(), text);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const std::string_view text(reinterpret_cast<const char *>(data), bytes);
    if (const Result<Conv2dProblem> problem = Conv2dProblem::parse(text)) {
        const std::string printed = problem->to_string();
        const Result<Conv2dProblem> again = Conv2dProblem::parse(printed);
        fuzz::expect(again.ok() && same(*again, *problem), "'" + printed + "' does not read back: " + again.status().message());
        const Status valid = problem->validate();
        expect_sentence(valid, printed);
        fuzz::expect(valid.ok() == (problem->error() == nullptr), "error() and validate() differ: " + printed);
        if (valid.ok()) {
            plan(*problem);
        }
    } else {
        expect_sentence(problem.status(), std::string(text));
    }
    if (const Result<SpectralProblem> problem = SpectralProblem::parse(text)) {
        const std::string printed = problem->to_string();
        const Result<SpectralProblem> again = SpectralProblem::parse(printed);
        fuzz::expect(again.ok() && again->to_string() == printed, "'" + printed + "' does not read back");
        const Result<SpectralPlan> made = SpectralPlan::create(*problem);
        expect_sentence(made.status(), printed);
    }
    return 0;
}
