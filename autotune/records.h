// Tables of measurements as files: writing, appending, merging, comparing. Reading is the library's (runtime/record.h).
#pragma once

#include <string>
#include <vector>

#include "fourfold/plan.h"
#include "fourfold/status.h"
#include "record.h"

namespace fourfold::cli {

/// The header line, newline included.
std::string header_line();
/// A record as its line, newline included, with this machine, version and date beside what is matched.
std::string record_line(const Record &record);
/// Measured with the variants as they are built in now.
bool is_current(const Record &record);
/// What a record's times are looked up by: problem, accuracy, microarchitecture, ISA level, threads, cache.
std::string record_key(const Record &record);

/// A record of this machine, with the hashes of the variants that the choice names.
Record make_record(const Conv2dProblem &problem, const PlanOptions &options, const std::string &choice);

/// Appends whole lines in one write, after a header where the file is new and after a newline where a torn line ends it.
/// Errors: kInternal.
Status append_lines(const std::string &path, const std::string &lines, bool sync);

/// The records of a file. Errors: kInvalidArgument (unreadable, no table).
Result<std::vector<Record>> read_records(const std::string &path);

/// One table of several: of records with the same key and choice the one with more samples stays, of equals the later; of
/// winners of one key the last file's. Lines keep the fields that this version does not know; sorted, so that tables diff well.
Result<std::string> merge_tables(const std::vector<std::string> &paths);

}  // namespace fourfold::cli
