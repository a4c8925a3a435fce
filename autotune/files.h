// Whole files in and out of memory, with failures as a Status that names the file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "fourfold/status.h"

namespace fourfold::cli {

/// The file's bytes. Errors: kInvalidArgument (missing, a directory, unreadable): a file that is read is the user's input.
Result<std::string> read_file(const std::string &path);

/// A sink for the bytes of a file being written; false after a failed write.
using WriteBytes = std::function<bool(const void *data, size_t bytes)>;

/// Writes `path` through a temporary file beside it that is renamed at the end, so that no reader and no interruption ever
/// sees half a file. Devices and pipes are written directly. Errors: kInternal (cannot write there), or what `fill` returns.
Status write_file(const std::string &path, const std::function<Status(const WriteBytes &)> &fill);
Status write_file(const std::string &path, const std::string &bytes);

/// Whether write_file could succeed, found out before a long computation.
Status check_writable(const std::string &path);

/// "png" for "a/b.PNG"; empty when there is none.
std::string lower_extension(const std::string &path);

}  // namespace fourfold::cli
