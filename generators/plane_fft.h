// The named stages of the plane transforms (plane_columns_forward, plane_rows, plane_columns_inverse), as their schedules see them,
// and what they share: the 2-D transform of one tile, whose vectors run along its own pixels and frequencies. Lengths are
// odd*even, in two loops and in the order of generators/lane_fft.h.
//
// Columns are transformed first, a vector of 8 (AVX-512: 16) columns of pixels at a time. Their half spectra are stored in blocks of as
// many frequencies, which are the lanes of the rows' transforms:
//
//     spectrum (lane, x, part, block)      the frequency k with k mod odd = q / even and k mod even = q % even, q = block*lanes + lane
//
// where q / even <= odd/2: the others are conjugate to these. Of k mod odd = 0 only k mod even <= even/2 are kept, and zeros beyond.
#pragma once

#include <algorithm>

#include "generators/lane_fft.h"
#include "generators/small_fft.h"

namespace fourfold {

/// How spectra lie in blocks of one frequency to a lane: what a stage of `even` points has next to each other is a whole block, or a half.
struct PlaneBlocks {
    int lanes;  ///< columns of pixels, and frequencies, to a vector
    int group;  ///< frequencies of a block that one transform has
    int count;

    PlaneBlocks(const LaneFactors &f, const Halide::Target &target)
        : lanes(target.has_feature(Halide::Target::AVX512) ? 16 : 8), group(std::min(f.even, lanes)), count(((f.odd / 2 + 1) * f.even + lanes - 1) / lanes) {
    }
    /// Lane and block of a member of a group.
    Halide::Expr lane(const Halide::Expr &g, const Halide::Expr &l) const {
        return group == lanes ? l : g % (lanes / group) * group + l;
    }
    Halide::Expr block(const Halide::Expr &g) const {
        return group == lanes ? g : g / (lanes / group);
    }
};

struct PlaneColumnsForwardStages {
    Halide::Func out;      ///< (l, x, part, b)
    Halide::Func first;    ///< (x, j), a Tuple: the real transforms of `odd` points
    Halide::Func between;  ///< (x, s, j): their outputs
    Halide::Func real;     ///< (x), a Tuple: the transform of `even` points of k mod odd = 0
    Halide::Func second;   ///< (x, k), a Tuple: the others
    Halide::Var x{"x"}, l{"l"}, part{"part"}, b{"b"}, j{"j"}, s{"s"}, k{"k"};
    Halide::RVar r_q, r_part, r_k;  ///< of out's update: frequency k mod even, part, k mod odd
    int odd, even, lanes;
};

struct PlaneRowsStages {
    Halide::Func out;      ///< (l, x or frequency, part, b)
    Halide::Func first;    ///< (l, j, b), a Tuple: the transforms of `odd` points
    Halide::Func between;  ///< (l, s, j, b)
    Halide::Func second;   ///< (l, k, b), a Tuple: the transforms of `even` points, multiplied and inverted
    Halide::Func back;     ///< (l, s, k, b)
    Halide::Func third;    ///< (l, j, b), a Tuple: the inverses of `odd` points
    Halide::Var l{"l"}, x{"x"}, part{"part"}, b{"b"}, j{"j"}, s{"s"}, k{"k"};
    Halide::RVar r_s, r_j;  ///< of out's update
    bool product;           ///< false: only first, between and second
    int odd, even, lanes;
};

struct PlaneColumnsInverseStages {
    Halide::Func out;      ///< (x, y)
    Halide::Func turned_reals, turned;  ///< (x, l, part, b): spectra in groups, columns next to each other: k mod odd = 0, and the others
    Halide::Func real;     ///< (x), a Tuple: the inverse of `even` points of k mod odd = 0
    Halide::Func first;    ///< (x, k), a Tuple: the others
    Halide::Func between;  ///< (x, s, k)
    Halide::Func second;   ///< (x, j), a Tuple: the real inverses of `odd` points
    Halide::Var x{"x"}, y{"y"}, l{"l"}, part{"part"}, b{"b"}, j{"j"}, s{"s"}, k{"k"};
    Halide::RVar r_i, r_j;  ///< of out's update
    int odd, even, lanes;
    int group;  ///< lanes of a block of turned
};

namespace small_fft {

/// As transform(), but a length of 3*m, m not divisible by 3, without twiddles (Good, Thomas): 15 points take 166 operations, not 265.
inline std::vector<Complex> transform_by_primes(const std::vector<Complex> &x, int direction) {
    const int n = static_cast<int>(x.size()), m = n / 3;
    if (n % 3 != 0 || m % 3 == 0 || m == 1) {
        return transform(x, direction);
    }
    std::vector<Complex> result(n);
    std::vector<std::vector<Complex>> thirds;
    for (int a = 0; a < 3; a++) {
        std::vector<Complex> points;
        for (int b = 0; b < m; b++) {
            points.push_back(x[(a * m + b * 3) % n]);
        }
        thirds.push_back(transform(points, direction));
    }
    for (int q = 0; q < m; q++) {
        Complex three[3];
        transform3(thirds[0][q], thirds[1][q], thirds[2][q], direction, three);
        for (int k = 0; k < n; k++) {
            if (k % m == q) {
                result[k] = three[k % 3];
            }
        }
    }
    return result;
}

/// Re and im alternating, undefined ones 0.
inline Halide::Tuple parts(const std::vector<Complex> &values) {
    std::vector<Expr> flat;
    for (const Complex &c : values) {
        flat.push_back(defined_or_zero(c.re));
        flat.push_back(defined_or_zero(c.im));
    }
    return Halide::Tuple(flat);
}

}  // namespace small_fft
}  // namespace fourfold
