// Candidates in another process: what they break is its own, and what they hang is ended.
//
//     parent                              child (fourfold candidate ...)
//                                         fills the problem's arrays
//                                      <- ready | refused <why>
//     add <choice>                     -> plans, packs, runs once between guard bytes into the shared result
//                                      <- ready | refused <why> | wrong <why>
//     sample <which> <warm> <repeats>  -> runs the candidate that was added as the <which>th `warm` times, then `repeats` times
//                                      <- time <seconds of the repeats> | wrong <why>
//
// one line each; the child ends with its standard input, or with its parent. Those of one process share its arrays and its
// workspace, as the layers of a program do.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "fourfold/status.h"

namespace fourfold::cli {

/// How a candidate failed; empty text: it did not.
struct Failure {
    std::string kind;  ///< "refused", "wrong", "crash", "timeout"
    std::string text;

    explicit operator bool() const {
        return !kind.empty();
    }
};

/// Memory that parent and children see: where a child leaves its result for the parent to judge.
class SharedFloats {
public:
    explicit SharedFloats(int64_t elements);
    ~SharedFloats();
    SharedFloats(const SharedFloats &) = delete;
    SharedFloats &operator=(const SharedFloats &) = delete;

    float *data() const {
        return data_;  ///< null when it could not be had
    }
    int file() const {
        return file_;
    }
    void fill_nan();

private:
    int file_ = -1;
    float *data_ = nullptr;
    int64_t elements_;
};

class CandidateProcess {
public:
    CandidateProcess() = default;
    ~CandidateProcess();
    CandidateProcess(const CandidateProcess &) = delete;
    CandidateProcess &operator=(const CandidateProcess &) = delete;

    /// Starts the program and waits until it is ready. `stopped` ends any waiting: the failure then is "stopped".
    Failure start(const std::vector<std::string> &command, double seconds, std::function<bool()> stopped = {});
    /// Adds a candidate; the first is number 0. A failure ends the process.
    Failure add(const std::string &choice, double seconds);
    /// The same in two halves: what several processes are told at once they do beside each other.
    Failure launch(const std::vector<std::string> &command, std::function<bool()> stopped = {});
    Failure ask_to_add(const std::string &choice);
    Failure await_ready(double seconds);
    /// Seconds of so many runs in a row, after some that are not timed.
    Failure sample(int which, int warm, int repeats, double seconds, double &elapsed);
    bool alive() const {
        return pid_ > 0;
    }
    void end();

private:
    Failure send(const std::string &line);
    Failure read_line(double seconds, std::string &line);
    Failure ended();

    pid_t pid_ = -1;
    int in_ = -1, out_ = -1;
    std::string buffer_;
    std::function<bool()> stopped_;
};

}  // namespace fourfold::cli
