// How a plane's strips and output channels are divided among threads; it changes no sum.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace fourfold {

/// The share of all work that the thread does which ends last: of `full` tasks of cost `task` and `partial` ones of cost `last`.
/// And of one more task a little: threads are never alike.
inline double share_of_slowest(int threads, int64_t full, double task, int64_t partial, double last) {
    const auto rounds = [threads](int64_t tasks) { return static_cast<double>((tasks + threads - 1) / threads); };
    const double all = static_cast<double>(full) * task + static_cast<double>(partial) * last;
    const double slowest = full % threads == 0 ? rounds(full) * task + rounds(partial) * last : std::max(rounds(full) * task, all / threads);
    return (slowest + 0.05 * task) / all;
}

struct ThreadSplit {
    int64_t strips = 1;  ///< of a plane
    int64_t parts = 1;   ///< of a strip's output channels
};

/// The division with the least expected(split), in seconds, among those of `planes` planes into [fewest, most] strips and up to
/// `most_parts` parts; about 8 tasks a thread are enough.
template<typename Expected>
ThreadSplit best_split(int threads, int64_t planes, int64_t fewest, int64_t most, int64_t most_parts, const Expected &expected) {
    const int64_t enough = 8 * int64_t{threads};
    ThreadSplit best{fewest, 1};
    double least = std::numeric_limits<double>::infinity();
    for (int64_t strips = fewest; strips <= most && (strips == fewest || planes * strips <= enough); strips++) {
        for (int64_t parts = 1; parts <= most_parts && (parts == 1 || planes * strips * parts <= enough); parts++) {
            if (const double seconds = expected(ThreadSplit{strips, parts}); seconds < least) {
                least = seconds;
                best = {strips, parts};
            }
        }
    }
    return best;
}

}  // namespace fourfold
