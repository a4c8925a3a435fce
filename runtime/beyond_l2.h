// How fast one thread reads what L2 holds, or what lies beyond it, and how much of L3 it may count on.
#pragma once

#include <cstddef>

namespace fourfold {

struct BeyondL2 {
    double l3_bytes;                 ///< of L3, what a thread may count on
    double l3_bytes_per_second;      ///< filters in order, from there
    double memory_bytes_per_second;  ///< and from farther away
    double sums_bytes_per_second;    ///< what is read, added to and written there, both ways counted
};

/// An L3 over 100 MB is no core complex's: it lies along a whole die, farther away, and the die's other cores, in a guest not seen, fill it too.
/// Emerald Rapids (260 MB; guest of 2 cores, the other one compiling), one thread, 2026-11-30: a loop that reads gets 28 to 38 GB/s from 3 to 38 MB,
/// 24 at 51, 16 at 84, 13 at 107, 11 at 256. Sums: 12, as a triad; of 338 records of filter gradients by tiles the rest of the prediction leaves 7 in the median,
/// and families held out did as well with 12 as with 9 (0.964 and 0.961 of the best time; 0.954 with 30). Zen 4 did worse with 12 than with 30 (0.954, 0.961).
inline BeyondL2 beyond_l2(size_t l3_bytes) {
    return l3_bytes > (size_t{100} << 20) ? BeyondL2{64e6, 30e9, 13e9, 12e9} : BeyondL2{static_cast<double>(l3_bytes), 45e9, 28e9, 30e9};
}

/// A block of transforms that is written once and read once: in L2, near it (up to `near` bytes) or beyond.
inline double transforms_bytes_per_second(double block_bytes, double l2_bytes, double near) {
    return block_bytes <= l2_bytes ? 80e9 : block_bytes <= near ? 40e9 : 15e9;
}

}  // namespace fourfold
