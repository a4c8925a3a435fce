// A transform of n = a*b points in two loops, each step of which fits the registers: a transforms of b points, then, for each of
// their b frequencies k, one of a points. Inverse transforms go the other way.
//
// Where a and b share no factor, no twiddle stands between the loops (Good, Thomas): point (b*i + a*j) mod n of the sequence is
// (i, j), and frequency f is (f mod a, f mod b). Otherwise (Cooley, Tukey) point i + a*j is (i, j) and frequency c*b + k is (c, k).
// The loop over k is unrolled, so that twiddles and places are constants and frequencies keep their natural order; the one over i
// is not: what lies between the two would else be taken for values in registers, and spill.
#pragma once

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "generators/small_fft.h"

namespace fourfold {

class SplitTransform {
public:
    using Expr = Halide::Expr;
    const int n, a, b;

    SplitTransform(int n, int a)
        : n(n), a(a), b(n / a) {
        if (a < 2 || n % a != 0 || b < 2) {
            throw Halide::CompileError("by=" + std::to_string(a) + " does not divide t=" + std::to_string(n));
        }
    }
    /// Place in the sequence of point (i, j).
    Expr place(const Expr &i, const Expr &j) const {
        const Expr sum = has_twiddles() ? i + j * a : i * b + j * a;
        return Halide::unsafe_promise_clamped(has_twiddles() ? sum : Halide::select(sum >= n, sum - n, sum), 0, n - 1);
    }
    /// The point (i, j) at a place.
    Expr i_of(const Expr &place) const {
        return Halide::unsafe_promise_clamped(has_twiddles() ? place % a : place * inverse(b, a) % a, 0, a - 1);
    }
    Expr j_of(const Expr &place) const {
        return Halide::unsafe_promise_clamped(has_twiddles() ? place / a : place * inverse(a, b) % b, 0, b - 1);
    }
    /// The frequency (c, k).
    int frequency(int c, int k) const {
        int f = has_twiddles() ? c * b + k : k;
        while (!has_twiddles() && f % a != c) {
            f += b;
        }
        return f;
    }
    /// Forward: frequencies (c, k), c < a, from frequency k of the a transforms of b points.
    std::vector<Complex> join(const std::vector<Complex> &x, int k) const {
        return has_twiddles() ? shifted(x, static_cast<double>(k) / b) : small_fft::transform(x, -1);
    }
    /// Inverse: frequency k of the a transforms of b points from frequencies (c, k).
    std::vector<Complex> part(const std::vector<Complex> &x, int k) const {
        std::vector<Complex> result = small_fft::transform(x, +1);
        for (int i = 0; has_twiddles() && i < a; i++) {
            result[i] = small_fft::rotate(result[i], 2 * small_fft::kPi * i * k / n);
        }
        return result;
    }

    // Of a real sequence only k <= b/2 is computed. Those of k = 0 and b/2 are of real numbers again.
    int half() const {
        return b / 2 + 1;
    }
    bool is_real(int k) const {
        return k == 0 || 2 * k == b;
    }
    /// As join, of a real sequence; `used` tells which c are not the mirror image of another.
    std::vector<Complex> join_real(const std::vector<Complex> &x, int k, std::vector<bool> &used) const {
        used.assign(a, true);
        if (!is_symmetric(k)) {
            for (int c = 0; is_real(k) && c < a; c++) {
                used[c] = frequency(c, k) <= n / 2;
            }
            return join(x, k);
        }
        std::vector<Expr> reals;
        for (const Complex &v : x) {
            reals.push_back(v.re);
        }
        std::vector<Complex> result = small_fft::real_forward(reals);
        result.resize(a);
        std::fill(used.begin() + a / 2 + 1, used.end(), false);
        return result;
    }
    /// As part, to a real sequence.
    std::vector<Complex> part_real(const std::vector<Complex> &x, int k) const {
        if (!is_symmetric(k)) {
            return part(x, k);
        }
        std::vector<Complex> result;
        for (const Expr &v : small_fft::real_inverse({x.begin(), x.begin() + a / 2 + 1}, a)) {
            result.push_back({v, Expr()});
        }
        return result;
    }

private:
    bool has_twiddles() const {
        return std::gcd(a, b) > 1;
    }
    /// Whether frequencies (c, k) and (a - c, k) of a real sequence are conjugate.
    bool is_symmetric(int k) const {
        return k == 0 || (is_real(k) && !has_twiddles());
    }
    /// The forward transform at the frequencies c + shift, decimated in time; the butterflies take the twiddles in.
    static std::vector<Complex> shifted(const std::vector<Complex> &x, double shift) {
        const int n = static_cast<int>(x.size());
        std::vector<Complex> result(n);
        if (n % 2 == 0) {
            const std::vector<Complex> e = shifted(small_fft::every(x, 0, 2), shift), o = shifted(small_fft::every(x, 1, 2), shift);
            for (int c = 0; c < n / 2; c++) {
                small_fft::butterfly(e[c], o[c], -2 * small_fft::kPi * (c + shift) / n, result[c], result[c + n / 2]);
            }
            return result;
        }
        for (int j = 0; j < n; j++) {
            result[j] = small_fft::rotate(x[j], -2 * small_fft::kPi * j * shift / n);
        }
        return small_fft::transform(result, -1);
    }
    /// x with x*v = 1 modulo m.
    static int inverse(int v, int m) {
        int x = 1;
        while (x * v % m != 1) {
            x++;
        }
        return x;
    }
};

/// The numbers of one or more steps, re and im alternating, undefined ones 0. steps[k] is what step k computes; where k is
/// unrolled only that is left.
inline Halide::Tuple steps_tuple(const Halide::Expr &k, const std::vector<std::vector<Complex>> &steps) {
    std::vector<Halide::Expr> values;
    for (size_t i = 0; i < steps[0].size(); i++) {
        std::vector<Halide::Expr> re, im;
        for (const std::vector<Complex> &step : steps) {
            re.push_back(small_fft::defined_or_zero(step[i].re));
            im.push_back(small_fft::defined_or_zero(step[i].im));
        }
        values.push_back(steps.size() > 1 ? Halide::mux(k, re) : re[0]);
        values.push_back(steps.size() > 1 ? Halide::mux(k, im) : im[0]);
    }
    return Halide::Tuple(values);
}

}  // namespace fourfold
