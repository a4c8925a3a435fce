// fourfold tables reduce: how many variants buy how much, and a list for the build with the few that are worth it.
#pragma once

#include <string>
#include <vector>

#include "cover.h"
#include "fourfold/status.h"

namespace fourfold::cli {

struct ReduceFlags {
    std::vector<std::string> tables;
    std::string list, out;  ///< the full list, in the form of schedules/cpu/variants.json, and where the reduced one goes
    std::string curve;      ///< CSV file of how many variants buy how much; empty: none
    double within = 3.0;    ///< per cent
};

/// How many variants buy how much, for people; `within` in per cent.
void print_curve(const std::vector<CoverStep> &steps, size_t problems, double within);

Status reduce_tables(const ReduceFlags &flags);

}  // namespace fourfold::cli
