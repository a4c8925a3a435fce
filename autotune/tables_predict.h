// fourfold tables predict: the cost model's times in a table, made again after the model has changed.
#pragma once

#include <string>

#include "fourfold/status.h"

namespace fourfold::cli {

/// Writes the table to `out` with "ms_predicted" as this build predicts it for the caches of the machine that measured, whichever machine this is.
/// Left as they are: records of other ISA levels than FOURFOLD_ISA allows here, of GPUs, of variants that this build does not have, and
/// failures. Errors: kInvalidArgument for what is no table; kInternal for what cannot be written.
Status predict_table(const std::string &table, const std::string &out);

}  // namespace fourfold::cli
