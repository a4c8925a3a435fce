// Runs another program and collects what it says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fourfold::test {

struct Outcome {
    int exit_code = -1;  ///< 128 + signal when it was ended by one, as a shell has it
    std::string out, err;
};

struct SpawnOptions {
    int64_t largest_file = -1;  ///< bytes that a file may grow to: a disk that fills up
    std::string folder;         ///< to run in; empty: this one
};

Outcome spawn(const std::vector<std::string> &command, const SpawnOptions &options = {});

/// A folder of its own, removed with all it holds at the end.
class TemporaryFolder {
public:
    TemporaryFolder();
    ~TemporaryFolder();
    TemporaryFolder(const TemporaryFolder &) = delete;
    TemporaryFolder &operator=(const TemporaryFolder &) = delete;

    const std::string &path() const {
        return path_;
    }
    std::string operator/(const std::string &name) const {
        return path_ + "/" + name;
    }
    /// Names of the files in it, sorted.
    std::vector<std::string> files() const;

private:
    std::string path_;
};

std::string read_bytes(const std::string &path);
void write_bytes(const std::string &path, const std::string &bytes);

}  // namespace fourfold::test
