// Variants that `fourfold search` has compiled, as the processes that run them get to know them.
#pragma once

#include <string>
#include <vector>

#include "fourfold/status.h"

namespace fourfold::cli {

struct CompiledVariant {
    std::string stage, parameters, name, hash;
    std::string library;  ///< a shared object with "fourfold_<name>_argv" and a Halide runtime of its own
};

/// Errors: kInternal (cannot write).
Status write_compiled_variants(const std::string &path, const std::vector<CompiledVariant> &list);

/// Adds what write_compiled_variants wrote to this process's registry, before its first plan. What cannot be loaded is left out:
/// plans with it are refused. Errors: kInvalidArgument (unreadable).
Status add_compiled_variants(const std::string &path);

}  // namespace fourfold::cli
