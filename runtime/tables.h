// The loaded tables, ready to be asked: exact records, neighbours, and how far the cost model was off.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "algorithm.h"
#include "fourfold/tuning.h"
#include "record.h"

namespace fourfold {

/// What records know a machine by.
struct MachineName {
    std::string microarchitecture;  ///< "znver5"; of a GPU its generation and name, "sm_90 NVIDIA H200", "opencl Intel Arc A770"
    std::string isa;                ///< "avx512"; of a GPU the target whose variants it runs, "cuda86"

    friend bool operator==(const MachineName &a, const MachineName &b) {
        return a.microarchitecture == b.microarchitecture && a.isa == b.isa;
    }
};
/// Of this CPU or a GPU; empty where there is no such device.
MachineName machine_name(Device device);
/// Of a GPU that is found, by the target that it runs; without a context on it.
MachineName machine_name(const DeviceInfo &info, const std::string &target);
/// Whether an `isa` is a target of GPUs that this build has variants for.
bool is_device_target(std::string_view isa);

/// One shipped record as the build embeds it (tuned_tables.cpp is generated from schedules/tuned/). Texts are offsets in its table's:
/// pointers, each with its relocation, made three quarters of the tables.
struct EmbeddedRecord {
    uint32_t problem, microarchitecture, isa, choice;
    uint32_t variants;  ///< "name hash name hash"
    int16_t threads;
    int8_t accuracy, cache;
    bool winner, failed;
    uint64_t workspace_limit;
    double seconds_min, seconds_predicted;
};
struct EmbeddedTable {
    const char *name;
    const EmbeddedRecord *records;
    size_t count;
    const char *text;
};
const std::vector<EmbeddedTable> &embedded_tables();
/// As read_table() had them, without what is not embedded; on demand those alone that this process may choose by, of its ISA level or of
/// a GPU's target.
std::vector<Record> records_of(const EmbeddedTable &table, bool only_ours = false);

/// What was measured on one problem, by one table.
struct MeasuredProblem {
    struct Entry {
        std::string choice;
        uint64_t hash = 0;    ///< of the choice
        double seconds = 0.0;  ///< infinite where it failed
        double residual = 0.0;  ///< log(measured / predicted), less what the problem's candidates have in common (finish())
        bool winner = false;
    };
    Conv2dProblem problem;
    Accuracy accuracy = Accuracy::kDefault;
    int threads = 1;
    CacheState cache = CacheState::kWarm;
    uint64_t workspace_limit = kNoWorkspaceLimit;  ///< bytes
    int machine = 0, table = 0;
    std::string changed_winner;  ///< its choice, where a kernel of it is another in this build, and no other has won: nobody knows how fast it is
    std::vector<Entry> entries;  ///< the winner first, then by time
};

/// What one table found fastest of a spectral product.
struct MeasuredSpectral {
    SpectralProblem problem;
    std::string variant, microarchitecture;
    int threads = 1, table = 0;
};

/// Immutable once built; the process's current one is shared by whoever plans.
class Tables {
public:
    /// What is asked.
    struct Query {
        Conv2dProblem problem;  ///< as tuning_problem() has it; where NHWC is NCHW (single_channel.h), records of both count
        Accuracy accuracy;
        int threads;            ///< 1 unless the caller wants choices for his threads
        CacheState cache;
        uint64_t workspace_limit;  ///< as recorded_limit() has it; records within a narrower one do not decide, for faster plans may have been beyond it
        std::optional<MachineName> gpu = std::nullopt;  ///< the machine, where it is not this CPU
    };
    /// Corrections of the predictions for one query.
    class Ranking {
    public:
        /// log(expected / predicted) of a plan, by its algorithm and the rest of its choice.
        double residual(std::string_view algorithm, const std::string &words) const;

        Tier tier = Tier::kCostModel;
        std::string text;

    private:
        friend class Tables;
        struct Neighbour {
            const MeasuredProblem *problem;
            double weight;
        };
        const Tables *tables_ = nullptr;
        int machine_ = -1;
        Operation operation_ = Operation::kForward;
        std::vector<Neighbour> neighbours_;
    };

    /// Later tables come before earlier ones. Call finish() after the last. `info` says what of the table is not among its records.
    void add(TableInfo info, const std::vector<Record> &records);
    void finish();

    /// This problem's measurements on this machine, or on its next of kin, those that decide first in front: of the nearest threads and
    /// accuracy, then of the later table, then within the narrower limit.
    std::vector<const MeasuredProblem *> exact(const Query &query) const {
        return exact(query, family_of(query).own);
    }
    std::vector<const MeasuredProblem *> exact_of_kin(const Query &query) const {
        return exact(query, family_of(query).kin);
    }
    /// What decides a spectral product: its record on this machine, else that of the nearest with the same channels, else those two on
    /// the nearest generation; of several the one for the fewest threads, then the later. Records of barred variants are passed over.
    /// `measured` is null where there is none.
    struct SpectralAnswer {
        const MeasuredSpectral *measured = nullptr;
        Tier tier = Tier::kCostModel;
        std::string text;
    };
    SpectralAnswer spectral(const SpectralProblem &problem, const std::vector<std::string> &barred) const;
    /// How to correct predictions: by neighbours here, else by neighbours on the next of kin, else by all records of one of the two.
    Ranking ranking(const Query &query) const;
    const std::string &name_of(const MeasuredProblem &measured) const {
        return infos_[static_cast<size_t>(measured.table)].name;
    }
    const std::string &machine_of(const MeasuredProblem &measured) const {
        return machines_[static_cast<size_t>(measured.machine)].microarchitecture;
    }
    const std::vector<TableInfo> &infos() const {
        return infos_;
    }
    bool empty() const {
        return problems_.empty();
    }

private:
    /// Of one machine, log(measured / predicted) = its problem's + its stage's + its choice's share, fitted by least squares in
    /// turns. Only the last two tell plans apart.
    struct Fit {
        double scale = 0.0;  ///< the problems' mean share
        std::unordered_map<uint64_t, double> by_stage, by_choice;
        int records = 0;
    };
    /// A machine and its nearest relative, where they have records; otherwise -1.
    struct Family {
        int own = -1, kin = -1;
    };
    void fit(int machine);
    Family family_of(const Query &query) const;
    Family family_of_gpu(const MachineName &gpu) const;
    std::vector<const MeasuredProblem *> exact(const Query &query, int machine) const;
    std::vector<Ranking::Neighbour> neighbours(const Query &query, int machine) const;

    Family cpu_;
    std::vector<MeasuredProblem> problems_;
    std::vector<MeasuredSpectral> spectral_;
    std::unordered_multimap<std::string, size_t> by_problem_;
    std::vector<MachineName> machines_;
    std::vector<Fit> fits_;              ///< of each
    std::vector<TableInfo> infos_;
};

/// The variants that a choice names, each with its content hash, and, of the target of a GPU, as "<algorithm>_<target>" the contents of
/// all other stages that the algorithm's plans run.
std::vector<std::pair<std::string, std::string>> choice_contents(const std::string &choice, const std::string &isa);
/// All of them are built in, with the contents that were measured.
bool is_current(const Record &record);

/// How many generations lie between two microarchitectures of one vendor; nothing between strangers. Tables of other ISA levels
/// are no question of kinship: they name variants that this machine does not choose from.
std::optional<int> generations_between(const std::string &a, const std::string &b);

/// The current tables; the first call loads the shipped ones and FOURFOLD_TABLE's, unless unload_tables() came before.
std::shared_ptr<const Tables> current_tables();
/// Puts one measurement of this process on top.
void remember(const Record &record);
/// Names that the process bars, the environment's included. Errors: those of check_blocked(), of FOURFOLD_BLOCK.
Result<std::vector<std::string>> process_blocked();
/// Whether all are names of algorithms or of this build's variants, for the CPU (any rung) or for GPUs; `list` is what the message calls them.
/// Errors: kInvalidArgument, with what there is instead.
Status check_blocked(const char *list, const std::vector<std::string> &names);

}  // namespace fourfold
