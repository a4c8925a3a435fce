/// @file
/// What decides between plans: measured tables, overrides, block-lists; and what a tuner needs to list and reproduce plans.
///
/// Where PlanOptions leaves the algorithm to the library, the first of these decides that can:
///
///     caller         PlanOptions::algorithm, ::variant or ::choice
///     environment    FOURFOLD_CHOICE, where that plan can do the problem
///     record         this problem was measured on this microarchitecture and ISA level, or on this model of GPU
///     neighbours     at least five problems like it were
///     family         the two above on the nearest generation of the same vendor's machines, at the same ISA level; or on another
///                    GPU of the same compute capability
///     cost model     predictions, corrected by how far they were off in the records of this machine or of its nearest relative
///     reference      the naive loop nest, where nothing else can do the problem
///
/// The environment, read once per process: FOURFOLD_TABLE=FILE[:FILE...] loads tables on top of the shipped ones,
/// FOURFOLD_BLOCK=NAME[,NAME...] bars algorithms and variants (a name that is neither fails every plan), FOURFOLD_VERBOSE=1 prints each plan and what decided on stderr,
/// FOURFOLD_CAPTURE=FILE appends every problem that is planned to a CSV that `fourfold tune` reads.
#pragma once

#include <string>
#include <vector>

#include "fourfold/plan.h"

namespace fourfold {

/// "caller", "environment", "record", ...
const char *to_string(Tier tier);

/// One loaded table.
struct TableInfo {
    std::string name;      ///< the file
    bool shipped = false;  ///< built in
    int records = 0;       ///< in use
    int stale = 0;         ///< skipped: they name a variant that this build has not, or has with other contents
    int foreign = 0;       ///< skipped: of another ISA level, or of a GPU target that this build has not
    int unreadable = 0;    ///< skipped: lines that are no records
    bool torn = false;     ///< the last line was cut off, and skipped

    /// "12 records; skipped: 3 stale, 1 unreadable".
    std::string summary() const;
};

/// Loads a table on top of those there are: where it has records of a problem, they come first. Plans made before keep their
/// choices. Errors: kInvalidArgument when the file cannot be read or is no table; single lines that cannot be used are skipped
/// and counted.
Result<TableInfo> load_table(const std::string &path);
/// The same from memory; `name` is what explanations will call it.
Result<TableInfo> load_table_text(const std::string &name, const std::string &text);
/// Back to no tables at all, or to the shipped ones (FOURFOLD_TABLE's are not loaded again).
void unload_tables(bool keep_shipped = true);
/// Those that decide now, in the order in which they were loaded; the last is asked first.
std::vector<TableInfo> tables();

/// Bars algorithms and variants by name for the whole process, besides FOURFOLD_BLOCK and PlanOptions::blocked; replaces what
/// was barred by an earlier call. Errors: kInvalidArgument for a name that is neither.
Status block_choices(const std::vector<std::string> &names);

/// Every plan that the options admit, each with the choice that PlanOptions::choice would make again; best prediction first.
/// The reference is not among them.
Result<std::vector<Candidate>> list_choices(const Conv2dProblem &problem, const PlanOptions &options = {});

/// A variant's content hash: of its compiled code, 16 hexadecimal digits; empty for a name that is not built in.
std::string variant_hash(const std::string &name);

}  // namespace fourfold
