// fourfold tables: merge, diff, show, predict, reduce.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "commands.h"
#include "files.h"
#include "fourfold/tuning.h"
#include "records.h"
#include "search.h"
#include "table.h"
#include "tables_predict.h"
#include "tables_reduce.h"
#include "text.h"

namespace fourfold::cli {
namespace {

/// The winners of a table by their keys.
std::map<std::string, Record> winners(const std::vector<Record> &records) {
    std::map<std::string, Record> list;
    for (const Record &r : records) {
        if (r.winner) {
            list[record_key(r)] = r;
        }
    }
    return list;
}

/// What its two halves of samples differ by; 0 where they are not recorded.
double noise(const Record &r) {
    return r.halves[0] > 0.0 ? split_half_noise(r.halves) : 0.0;
}

std::string key_columns(const Record &r) {
    const std::string limit = r.workspace_limit < kNoWorkspaceLimit ? ", workspace within " + bytes_text(r.workspace_limit) : "";
    return fmt::format("{}, {}, {} thread{}, {}, {}{}", r.microarchitecture, r.isa, r.threads, r.threads == 1 ? "" : "s", to_string(r.cache), to_string(r.accuracy), limit);
}

Status merge(const std::vector<std::string> &inputs, const std::string &out) {
    const Result<std::string> merged = merge_tables(inputs);
    if (!merged) {
        return merged.status();
    }
    if (Status status = write_file(out, *merged); !status) {
        return status;
    }
    fmt::print("{}: {} lines from {} tables\n", out, std::count(merged->begin(), merged->end(), '\n') - 1, inputs.size());
    return {};
}

/// Problem by problem, where two tables choose differently. The tie band is the search's: 2 %, or the noise of the two choices
/// where that is more, at most 5 %.
Status diff(const std::string &first, const std::string &second) {
    const Result<std::vector<Record>> a = read_records(first), b = read_records(second);
    if (!a || !b) {
        return (a ? b : a).status();
    }
    const std::map<std::string, Record> before = winners(*a), after = winners(*b);
    int same = 0, tie = 0, changed = 0, added = 0, removed = 0;
    const Table table({{"", 7, true}, {"ms before", 9}, {"ms after", 9}, {"problem; before -> after", 0, true}});
    fmt::print("{}", table.header());
    for (const auto &[key, x] : before) {
        const auto at = after.find(key);
        if (at == after.end()) {
            ++removed;
            fmt::print("{}", table.row({"removed", milliseconds_text(x.seconds_min), "-", x.problem_text()}));
            continue;
        }
        const Record &y = at->second;
        if (x.choice == y.choice) {
            ++same;
            continue;
        }
        // Another choice, but as fast as the first one was in the second table: noise decided.
        const auto twin = std::find_if(b->begin(), b->end(), [&](const Record &r) { return r.failure.empty() && r.choice == x.choice && record_key(r) == key; });
        const bool is_tie = twin != b->end() && twin->seconds_min <= (1.0 + std::max({SearchOptions().tie, noise(*twin), noise(y)})) * y.seconds_min;
        tie += is_tie;
        changed += !is_tie;
        fmt::print("{}", table.row({is_tie ? "tie" : "changed", milliseconds_text(x.seconds_min), milliseconds_text(y.seconds_min), fmt::format("{}; {} -> {}", x.problem_text(), x.choice, y.choice)}));
    }
    for (const auto &[key, y] : after) {
        if (before.count(key) == 0) {
            ++added;
            fmt::print("{}", table.row({"added", "-", milliseconds_text(y.seconds_min), fmt::format("{}; {}", y.problem_text(), y.choice)}));
        }
    }
    const int common = same + tie + changed;
    fmt::print("{} problems in both: {} same, {} within the tie band, {} changed ({:.1f} % agree); {} added, {} removed\n", common, same, tie, changed, common > 0 ? 100.0 * (same + tie) / common : 100.0, added, removed);
    return {};
}

Status show(const std::string &path, bool all) {
    const Result<std::vector<Record>> records = read_records(path);
    if (!records) {
        return records.status();
    }
    std::map<std::string, std::vector<const Record *>> by_key;
    std::vector<std::string> order;
    for (const Record &r : *records) {
        std::vector<const Record *> &list = by_key[record_key(r)];
        if (list.empty()) {
            order.push_back(record_key(r));
        }
        list.push_back(&r);
    }
    const Table table({{"", 1}, {"ms min", 9}, {"ms median", 9}, {"n", 3}, {"predicted", 9}, {"choice", 0, true}});
    for (const std::string &key : order) {
        std::vector<const Record *> list = by_key[key];
        std::stable_sort(list.begin(), list.end(), [](const Record *a, const Record *b) { return a->failure.empty() != b->failure.empty() ? a->failure.empty() : a->seconds_min < b->seconds_min; });
        fmt::print("{}  ({})\n", list.front()->problem_text(), key_columns(*list.front()));
        for (const Record *r : list) {
            if (!all && !r->winner) {
                continue;
            }
            fmt::print("    {}", r->failure.empty() ? table.row({r->winner ? "*" : "", milliseconds_text(r->seconds_min), milliseconds_text(r->seconds_median), std::to_string(r->samples), milliseconds_text(r->seconds_predicted), r->choice})
                                                    : table.row({"", r->failure, "", "", "", r->choice}));
        }
    }
    unload_tables(false);
    const Result<TableInfo> info = load_table(path);
    fmt::print("{} problems; on this machine and in this build: {}\n", order.size(), info ? info->summary() : info.status().message());
    return {};
}

}  // namespace

Action add_tables(CLI::App &verb) {
    struct Flags {
        std::vector<std::string> inputs;
        std::string first, second, out, path;
        bool all = false;
    };
    auto flags = std::make_shared<Flags>();
    auto chosen = std::make_shared<Action>();
    verb.require_subcommand(1);
    CLI::App *merging = verb.add_subcommand("merge", "one table of several: of two records of one choice that stays which this build still has as it was measured, then the one of the later date, then the one of more samples, then the later table's; winners by the same order, samples apart");
    merging->add_option("tables", flags->inputs, "tables")->required();
    merging->add_option("--out", flags->out, "the merged table")->required();
    merging->callback([flags, chosen] { *chosen = [flags] { return merge(flags->inputs, flags->out); }; });
    CLI::App *differing = verb.add_subcommand("diff", "the problems for which two tables choose differently, and the share on which they agree: the same choice, or one that the second table measured within the tie band (2 %, or the noise of the two if that is more)");
    differing->add_option("first", flags->first)->required();
    differing->add_option("second", flags->second)->required();
    differing->callback([flags, chosen] { *chosen = [flags] { return diff(flags->first, flags->second); }; });
    CLI::App *showing = verb.add_subcommand("show", "a table's winners, for people");
    showing->add_option("table", flags->path)->required();
    showing->add_flag("--all", flags->all, "every candidate that was measured");
    showing->callback([flags, chosen] { *chosen = [flags] { return show(flags->path, flags->all); }; });
    CLI::App *predicting = verb.add_subcommand("predict", "a table's predictions made again by this build's cost model, for the caches of the machine that measured: after the model has changed, or they would correct it by what it no longer says. FOURFOLD_ISA=avx2 for tables of that level");
    predicting->add_option("table", flags->path)->required();
    predicting->add_option("--out", flags->out, "the table with this build's predictions; may be the same file")->required();
    predicting->callback([flags, chosen] { *chosen = [flags] { return predict_table(flags->path, flags->out); }; });
    auto reduce = std::make_shared<ReduceFlags>();
    CLI::App *reducing = verb.add_subcommand("reduce", "how many variants buy how much, and a shorter list of them for the build");
    reducing->add_option("tables", reduce->tables, "tables that the variants must serve")->required();
    reducing->add_option("--within", reduce->within, "per cent that a problem may lose")->check(CLI::Range(0.0, 50.0))->capture_default_str();
    reducing->add_option("--curve", reduce->curve, "writes how many variants buy how much as CSV: variants, loss in the geometric mean and at worst");
    CLI::Option *list = reducing->add_option("--list", reduce->list, "the list that this build was made from: schedules/cpu/variants.json");
    reducing->add_option("--out", reduce->out, "writes the list without what neither the tables nor untuned problems need, for -DFOURFOLD_VARIANTS=")->needs(list);
    reducing->callback([reduce, chosen] { *chosen = [reduce] { return reduce_tables(*reduce); }; });
    return [chosen] { return (*chosen)(); };
}

}  // namespace fourfold::cli
