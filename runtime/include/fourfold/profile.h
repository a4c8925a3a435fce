/// @file
/// Where the time of an execution goes, stage by stage.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace fourfold {

/// Give one in ExecutionContext and it adds up, over any number of executions and threads, the time spent in each stage.
/// Costs two clock readings a kernel call; without one nothing is measured.
class Profile {
public:
    /// The sum of one stage's calls.
    struct Stage {
        const char *name;  ///< "pad", "gemm", "fft_forward", ...
        int64_t calls;  ///< of its kernels
        double seconds;  ///< summed over threads
    };

    /// In the order of first use.
    std::vector<Stage> stages() const;
    /// Back to no stages. Not while an execution uses it.
    void reset();
    /// Names are compared by address first and must outlive the profile. What exceeds kMaxStages names is dropped.
    void add(const char *stage, int64_t nanoseconds);

private:
    static constexpr int kMaxStages = 16;
    struct Entry {
        std::atomic<const char *> name{nullptr};
        std::atomic<int64_t> nanoseconds{0};
        std::atomic<int64_t> calls{0};
    };
    Entry entries_[kMaxStages];
};

}  // namespace fourfold
