// The named stages of the lane transforms (lane_rows_forward, lane_columns, lane_rows_inverse), as their schedules see them,
// and what they share.
//
// A transform of n = a*b points, a odd and b a power of two, is done in two loops: b transforms of a points and a of b, each
// of which fits the registers. Since a and b share no factor no twiddle stands between them (Good, Thomas): point
// (b*i + a*j) mod n of the sequence is (i, j), and frequency k is (k mod a, k mod b). Frequencies stay in that order,
// (k mod a) first: multiplying spectra needs no other.
#pragma once

#include "Halide.h"

namespace fourfold {

struct LaneFactors {
    int n, odd, even;
    explicit LaneFactors(int n)
        : n(n), odd(n), even(1) {
        while (odd % 2 == 0) {
            odd /= 2;
            even *= 2;
        }
    }
    /// Place in the sequence of point (i, j).
    Halide::Expr place(const Halide::Expr &i, const Halide::Expr &j) const {
        const Halide::Expr sum = i * even + j * odd;
        return Halide::unsafe_promise_clamped(Halide::select(sum >= n, sum - n, sum), 0, n - 1);
    }
};

struct LaneRowsForwardStages {
    Halide::Func out;      ///< (l, part, kx, y)
    Halide::Func plane;    ///< (x, l, y): the input, read along rows
    Halide::Func turned;   ///< (l, x, y): the same, read along lanes
    Halide::Func line;     ///< (l, x, y): one row of 16 lanes, zero beyond the width
    Halide::Func first;    ///< (l, j, y), a Tuple: the real transforms of `odd` points
    Halide::Func between;  ///< (l, s, j, y): their outputs
    Halide::Func real;     ///< (l, y), a Tuple: the transform of `even` points of k mod odd = 0
    Halide::Func second;   ///< (l, k, y), a Tuple: the others
    Halide::Var l{"l"}, part{"part"}, kx{"kx"}, x{"x"}, y{"y"}, j{"j"}, s{"s"}, k{"k"};
    Halide::RVar r_s, r_k;       ///< of out's update
    Halide::RVar r_xi, r_xo, r_z;  ///< of line's updates: columns of a block of 8, block, column beyond the width
    int odd, even;
};

struct LaneColumnsStages {
    Halide::Func out;      ///< (l, part, y, kx)
    Halide::Func first;    ///< (l, j, kx), a Tuple: the transforms of `odd` points
    Halide::Func between;  ///< (l, s, j, kx)
    Halide::Func second;   ///< (l, k, kx), a Tuple: the transforms of `even` points, multiplied and inverted
    Halide::Func back;     ///< (l, s, k, kx)
    Halide::Func third;    ///< (l, j, kx), a Tuple: the inverses of `odd` points
    Halide::Var l{"l"}, part{"part"}, y{"y"}, kx{"kx"}, j{"j"}, s{"s"}, k{"k"};
    Halide::RVar r_s, r_j;  ///< of out's update
    bool product;           ///< false: only first, between and second
    int odd, even;
};

struct LaneRowsInverseStages {
    Halide::Func out;      ///< (l, x, y)
    Halide::Func real;     ///< (l, y), a Tuple: the inverse of `even` points of k mod odd = 0
    Halide::Func first;    ///< (l, k, y), a Tuple: the others
    Halide::Func between;  ///< (l, s, k, y)
    Halide::Func second;   ///< (l, j, y), a Tuple: the real inverses of `odd` points
    Halide::Var l{"l"}, x{"x"}, y{"y"}, j{"j"}, s{"s"}, k{"k"};
    Halide::RVar r_i, r_j;  ///< of out's update
    int odd, even;
};

}  // namespace fourfold
