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

/// Holds a lock file while it lives, so that two processes do not write the same results. A process that dies lets go of it.
class FileLock {
public:
    /// Errors: kInvalidArgument (`what` is being written by another process), kInternal (the lock file cannot be made).
    static Result<FileLock> take(const std::string &path, const std::string &what);
    FileLock(FileLock &&other) noexcept;
    FileLock &operator=(FileLock &&) = delete;
    ~FileLock();

private:
    FileLock(std::string path, int file);
    std::string path_;
    int file_;  ///< -1: given away
};

/// "png" for "a/b.PNG"; empty when there is none.
std::string lower_extension(const std::string &path);

}  // namespace fourfold::cli
