// The answers of a candidate's process (candidate_process.h), whatever its device.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "fourfold/status.h"

namespace fourfold::cli {

/// The problem's arrays and the candidates that were added.
class CandidateBench {
public:
    /// Results go where `result_file` is: shared memory that the judge sees. `clock`: seconds.
    CandidateBench(int result_file, double (*clock)())
        : result_file_(result_file), clock_(clock) {
    }
    virtual ~CandidateBench() = default;

    /// Plans, packs and runs once; "ready", or why not.
    virtual std::string add(const std::string &choice) = 0;
    /// "time <seconds>" of the repeats, or what went wrong.
    std::string sample(size_t which, int warm, int repeats);

protected:
    static constexpr size_t kGuard = 4096;  ///< bytes on either side of what a candidate may write
    static constexpr unsigned char kGuardByte = 0xa5;
    static constexpr const char *kOutside = "wrong it wrote outside of its output or workspace";

    virtual size_t added() const = 0;
    /// Runs a candidate, or puts it into the device's queue.
    virtual Status run(size_t which) = 0;
    /// After the untimed runs, before the clock starts.
    virtual Status settle() = 0;
    /// Until the runs are done; timed.
    virtual Status wait() = 0;
    virtual bool intact() const = 0;

    /// "ready" once copy(memory) has brought the result of so many bytes there, or why not.
    std::string ready(size_t bytes, const std::function<Status(void *memory)> &copy) const;

private:
    const int result_file_;
    double (*const clock_)();
};

}  // namespace fourfold::cli
