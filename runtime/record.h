// One line of a table of measurements, and how it is read. Shared by the library, the build's embedding of the shipped tables,
// and the tuner; nothing here knows what is built in.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fourfold/plan.h"
#include "fourfold/spectral.h"

namespace fourfold {

/// The first line of every table: {"format":"fourfold-records","version":1}.
constexpr const char *kRecordFormat = "fourfold-records";
constexpr int kRecordVersion = 1;
/// "kind" of the records of spectral products; those of convolutions have none. Such a choice is this word and a variant.
constexpr const char *kSpectralKind = "spectral";

/// Of records of plans without a limit of their workspace; and what a limit must be below.
constexpr uint64_t kNoWorkspaceLimit = uint64_t{1} << 60;
/// A plan's limit as records have it.
inline uint64_t recorded_limit(size_t workspace_limit) {
    return workspace_limit < kNoWorkspaceLimit ? workspace_limit : kNoWorkspaceLimit;
}

/// One plan, measured on one problem and machine.
struct Record {
    // The key.
    Conv2dProblem problem;        ///< as tuning_problem() has it
    std::optional<SpectralProblem> spectral;  ///< instead of it, where a spectral product was measured
    Accuracy accuracy = Accuracy::kDefault;
    std::string microarchitecture, isa;
    int threads = 1;              ///< a distance, not a condition
    CacheState cache = CacheState::kWarm;
    uint64_t workspace_limit = kNoWorkspaceLimit;  ///< bytes; the plans that were compared are those within it
    // The value.
    std::string choice;           ///< "winograd winograd_forward_avx512_m4 winograd_product_avx512_r8_v2"
    std::vector<std::pair<std::string, std::string>> variants;  ///< what the choice runs, by content hash: choice_contents() of the build that measured
    bool winner = false;          ///< confirmed as the problem's choice; otherwise one of the others that were tried
    std::string failure;          ///< empty, or its class: "compile", "crash", "timeout", "wrong", "refused"
    double seconds_min = 0.0, seconds_median = 0.0;
    std::array<double, 2> halves = {0.0, 0.0};  ///< least seconds of every other sample and of the rest; 0 where not recorded
    int samples = 0;
    double seconds_predicted = 0.0;  ///< by the cost model alone, for these threads; of a spectral product for one
    uint64_t workspace_bytes = 0;    ///< for people; plans say what they need

    /// The problem's or the spectral product's one line.
    std::string problem_text() const {
        return spectral ? spectral->to_string() : problem.to_string();
    }
};

/// What decides a plan's speed: without what every plan does alike at the end (bias, residual, post-op), the flip of the
/// filters and the value of constant padding.
Conv2dProblem tuning_problem(const Conv2dProblem &problem);

/// The first word of a choice, its algorithm, and the rest.
std::pair<std::string_view, std::string_view> split_choice(std::string_view choice);

const char *to_string(CacheState cache);
Result<CacheState> parse_cache_state(std::string_view name);

enum class LineKind { kHeader, kRecord, kOther, kUnknown, kBad };

/// Reads one line. kHeader: of this format and a version that this build can read. kOther: a blank line or a JSON object that
/// is no record (later versions may have such). kUnknown: a record of a kind that this version does not know, with that as the
/// reason. kBad: anything else, with the reason.
LineKind parse_record_line(std::string_view line, Record &record, std::string &reason);

/// A table's lines, one by one. A last line without its newline is a torn tail and is left out.
struct ReadTable {
    std::vector<Record> records;
    bool header = false;   ///< without one the file is not a table at all
    int unreadable = 0;    ///< lines, those of unknown kinds included
    bool torn = false;
    std::string first_reason;
};
ReadTable read_table(std::string_view text);

}  // namespace fourfold
