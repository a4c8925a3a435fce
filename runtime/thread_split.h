// How a plane's strips and output channels are divided among threads; it changes no sum.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "arena.h"

namespace fourfold {

/// The share of all work that the thread does which ends last: of `full` tasks of cost `task` and `partial` ones of cost `last`.
/// And of one more task a little: threads are never alike.
inline double share_of_slowest(int threads, int64_t full, double task, int64_t partial, double last) {
    const auto rounds = [threads](int64_t tasks) { return static_cast<double>(ceil_div(tasks, threads)); };
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

/// b, whose outputs are in one part, with the strips and parts of best_split, given seconds(blocking) of one thread for all work and
/// tiles(blocking, rows), a block of outputs' register tiles in a strip of so many rows. There are `planes` planes of `height` rows
/// and `blocks` blocks of outputs.
template<typename Blocking, typename Seconds, typename Tiles>
Blocking divided(const Blocking &b, int threads, int64_t planes, int64_t height, int64_t most, int64_t blocks, const Seconds &seconds, const Tiles &tiles) {
    const int64_t fewest = ceil_div(height, b.strip);
    const auto blocking = [&](const ThreadSplit &s) {
        Blocking c = b;
        c.strip = s.strips == fewest ? b.strip : ceil_div(height, s.strips);
        c.oc_parts = s.parts;
        return c;
    };
    return blocking(best_split(threads, planes, fewest, most, blocks, [&](const ThreadSplit &s) {
        const Blocking c = blocking(s);
        const int64_t rest = height % c.strip, each = planes * c.oc_parts;
        const double part = static_cast<double>(ceil_div(blocks, c.oc_parts));
        // Parts are not all as large as the largest.
        return seconds(c) * part * static_cast<double>(c.oc_parts) / static_cast<double>(blocks) *
               share_of_slowest(threads, each * (height / c.strip), part * static_cast<double>(tiles(c, c.strip)), rest > 0 ? each : 0, part * static_cast<double>(tiles(c, rest)));
    }));
}

}  // namespace fourfold
