// A GPU is tuned where it is, without Halide or this build: a bundle goes there, measures, and its results come back.
//
//     folder/fourfold         the program, with every variant of that kind of GPU inside
//     folder/lib/             the libraries that it was linked with, C's own apart
//     folder/problems.csv     name,problem
//     folder/manifest.json    what they are measured for, the version, and each variant's content hash
//     folder/measure          runs `fourfold measure` on the folder
//     folder/results.json     a table (runtime/record.h), once it has measured
#pragma once

#include <map>
#include <string>
#include <vector>

#include "fourfold/status.h"
#include "shapes.h"
#include "tune.h"

namespace fourfold::cli {

/// Makes the folder, which must not exist or be empty, and nothing where it fails. `search` are options of add_search_flags(), by name, that
/// measure is to use unless it is given others. No device is asked for. Errors: kInvalidArgument (a folder with something in it, the number
/// of a GPU), kUnsupported (no variants for such a device), kInternal (cannot write).
Status export_bundle(const std::string &folder, const std::vector<Shape> &shapes, const TuneFlags &flags, const std::map<std::string, std::string> &search);

/// The usable records of GPUs in the results (files, or bundles) into the table `out`, or, where that is a folder, one table of each
/// GPU there, merged with what it has. Lines that cannot be used are skipped and counted. Errors: kInvalidArgument (no table,
/// nothing usable), kInternal (cannot write).
Status import_results(const std::vector<std::string> &results, const std::string &out);

}  // namespace fourfold::cli
