// How an axis of an image lies in transforms without a sum over channels (algorithm_fft_tiled_planes.cpp, algorithm_fft_tiled_pixels.cpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "arena.h"

namespace fourfold {

/// One axis in transforms of n points: cut into overlapping tiles, of which n - f + 1 points are valid, or in one transform whole, whose
/// wrap-around supplies the zeros of the padding.
struct TileAxis {
    int64_t n = 0;
    int64_t in = 0, out = 0;  ///< pixels of the image and of the output
    int64_t before = 0, padded = 0;  ///< padding before, and pixels of the padded image
    bool whole = false;       ///< one transform of the image alone, zeros by wrap-around; no tiles
    int64_t tiles = 1, step = 0, read = 0;  ///< tiles, outputs of each, and pixels that each reads
    bool possible = false;

    TileAxis(int64_t length, bool whole_image, int64_t image, int64_t pad_before, int64_t pad_after, int64_t shift_max)
        : n(length), in(image), before(pad_before), padded(image + pad_before + pad_after), whole(whole_image) {
        out = padded - shift_max;
        if (whole) {
            possible = n >= in + std::max(pad_before, pad_after) && n >= out;
            step = out;
            read = in;
        } else if (n > shift_max) {
            possible = true;
            step = std::min(n - shift_max, out);
            tiles = ceil_div(out, step);
            read = std::min(n, padded);
        }
    }
    /// Where tile i begins in the image. The last one moves back, lest it read beyond the padding.
    int64_t origin(int64_t i) const {
        return whole ? 0 : std::min(i * step, std::max<int64_t>(0, padded - n)) - before;
    }
    /// Valid points of tile i that tile i - 1 has done already, because it moved back.
    int64_t skipped(int64_t i) const {
        return whole ? 0 : i * step - (origin(i) + before);
    }
    int64_t count(int64_t i) const {
        return std::min(step, out - i * step);
    }
    /// The tiles [first, last) that read the image only.
    void inside(int64_t &first, int64_t &last) const {
        first = 0;
        last = tiles;
        while (first < tiles && origin(first) < 0) {
            first++;
        }
        while (last > first && origin(last - 1) + read > in) {
            last--;
        }
    }
    /// As a plan's choice: w where the whole axis lies in one transform.
    std::string name() const {
        return std::to_string(n) + (whole ? "w" : "");
    }
    /// Where the tap with this shift lies in the filter's plane, mirrored: products of spectra are convolutions.
    int64_t place(int64_t shift) const {
        return ((((whole ? before : 0) - shift) % n) + n) % n;
    }
};

}  // namespace fourfold
