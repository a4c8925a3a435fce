// Tables of measurements as files: writing, appending, merging, comparing. Reading is the library's (runtime/record.h).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "candidate_process.h"
#include "clock.h"
#include "fourfold/plan.h"
#include "fourfold/status.h"
#include "gain.h"
#include "record.h"
#include "tables.h"

namespace fourfold::cli {

/// The header line, newline included.
std::string header_line();
/// A record as its line, newline included, with the machine that measured, version and date beside what is matched; and the clock that the
/// machine ran at, in hertz, where it is known.
std::string record_line(const Record &record, Device measured_on = {}, double clock_hertz = 0.0);
/// What a record's times are looked up by: problem, accuracy, microarchitecture or GPU, ISA level or GPU target, threads, cache,
/// and the limit of the workspace where there was one.
std::string record_key(const Record &record);

/// A record of this machine or its GPU, with the hashes of the variants that the choice names.
Record make_record(const Conv2dProblem &problem, const PlanOptions &options, const std::string &choice);
/// The same of a spectral product; of the options the threads count.
Record make_record(const SpectralProblem &problem, const PlanOptions &options, const std::string &choice);

/// The machine that a record's "machine" describes, with the record's names; nothing where that is not a CPU with its caches.
std::optional<MachineInfo> machine_of(const std::string &words, const Record &record);
/// That of a table's first record that says. Errors: kInvalidArgument (unreadable, no table, nothing that says).
Result<MachineInfo> machine_of_table(const std::string &path);
/// Seconds as tables have them: milliseconds with five digits, since more would be noise in a diff.
double recorded_milliseconds(double seconds);

/// Where a machine's table is: `out`, or, where that is a folder, "sm_90-nvidia-h200.json" in it.
std::string table_path(const std::string &out, const std::string &microarchitecture);

/// Appends whole lines in one write, after a header where the file is new. What an interrupted writer left of a line at its end is
/// dropped, and closed where only the newline was missing: a killed tune leaves nothing that later readers stumble over.
/// Errors: kInternal.
Status append_lines(const std::string &path, const std::string &lines, bool sync);

/// The records of a file. Errors: kInvalidArgument (unreadable, no table).
Result<std::vector<Record>> read_records(const std::string &path);

/// One table of several. Of records with the same key and choice that stays which is current in this build; of equals the one with the later
/// date, then with more samples, then the later file's. The winner of a key is that of its winners which is preferred in the
/// same order, samples apart, unless the record that stays says that it fails. Lines keep the fields that this version does not
/// know, and so do records of kinds that it does not know; sorted, so that tables diff well.
Result<std::string> merge_tables(const std::vector<std::string> &paths);

/// A table as it is merged: its name, for messages, and its text.
struct NamedTable {
    std::string name, text;
};
Result<std::string> merge_tables(const std::vector<NamedTable> &tables);

/// Every sample of a tune as it is taken, so that nothing but the one under way is ever lost. Beside the table, and gone with the
/// last problem.
class Journal {
public:
    /// What an earlier run left of one plan: samples, or the class of a failure.
    struct Left {
        std::vector<double> samples;
        std::string failure;
    };
    /// `clock`: seconds, monotonic.
    explicit Journal(std::string path, std::function<double()> clock = now)
        : path_(std::move(path)), clock_(std::move(clock)), start_(clock_()) {
    }
    const std::string &path() const {
        return path_;
    }
    /// Reads what an earlier run left. Lines of variants whose contents are others in this build are dropped, from the file too: how many.
    Result<int> load();
    /// Within another limit of the workspace the same choice may be another plan, which `workspace`, its bytes, tells apart: here and below.
    Left left(const std::string &key, const std::string &choice, uint64_t workspace) const;
    /// What would have been chosen before the tune began, within so many bytes of workspace; once a key and limit. A run that goes on has
    /// the same to beat.
    Status begun(const std::string &key, const std::string &incumbent, uint64_t workspace_limit);
    /// As begun() had them in earlier runs, by their limits; those whose variants' contents are others in this build are left out.
    std::map<uint64_t, std::string> incumbents(const std::string &key) const;
    Status sample(const std::string &key, const std::string &choice, uint64_t workspace, double seconds);
    Status failure(const std::string &key, const std::string &choice, uint64_t workspace, const Failure &failure);
    /// The search of a problem is over; the choices as tables have them.
    Status settled(const std::string &key, const std::string &winner, const std::string &incumbent);

    /// Seconds since this began, and what earlier runs took that load() found.
    double elapsed() const {
        return earlier_ + clock_() - start_;
    }
    /// What the file says of every problem that is settled, those of earlier runs included.
    Result<std::vector<GainTrace>> traces() const;

private:
    std::string path_;
    std::function<double()> clock_;
    double start_, earlier_ = 0.0;
    std::map<std::tuple<std::string, std::string, uint64_t>, Left> left_;  ///< by key, choice and workspace
    std::map<std::string, std::map<uint64_t, std::string>> incumbents_;    ///< by key, then limit
};

}  // namespace fourfold::cli
