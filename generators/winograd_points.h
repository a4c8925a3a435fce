// Winograd's minimal filtering F(m, 3) in one dimension, by Cook and Toom's construction: both polynomials are evaluated at
// t = m + 2 points, multiplied, and the product interpolated. Points come as 0 and pairs; an even t has infinity as its last:
//
//     y = A^T [(G g) . (B^T d)]        d: t samples, g: 3 taps, y: m outputs
//
// The matrices come from the points in exact rational arithmetic and are turned into straight-line expressions.
// Source: Lavin, Gray, "Fast algorithms for convolutional neural networks", 2016; Barabasz et al., "Error analysis and
// improving the accuracy of Winograd convolution", 2020, on the choice of points.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "Halide.h"

namespace fourfold::winograd {

using Halide::Expr;

struct Rational {
    int64_t n = 0, d = 1;

    Rational() = default;
    Rational(int64_t numerator, int64_t denominator = 1)  // NOLINT: implicit by design
        : n(numerator), d(denominator) {
        const int64_t common = std::gcd(n, d) * (d < 0 ? -1 : 1);
        n /= common;
        d /= common;
    }
    double value() const {
        return static_cast<double>(n) / static_cast<double>(d);
    }
    bool is(int64_t v) const {
        return n == v && d == 1;
    }
};
inline Rational operator*(Rational a, Rational b) {
    return {a.n * b.n, a.d * b.d};
}
inline Rational operator/(Rational a, Rational b) {
    return {a.n * b.d, a.d * b.n};
}
inline Rational operator-(Rational a, Rational b) {
    return {a.n * b.d - b.n * a.d, a.d * b.d};
}
inline bool operator==(Rational a, Rational b) {
    return a.n == b.n && a.d == b.d;
}

/// The finite points of F(m, 3): 0 and pairs (p, -p), which share most of their operations.
///
/// Largest error over the scale max(|x| conv |w|), 1 to 512 channels, random data: m = 4 5e-7 to 1e-6 (2.5e-6 with the
/// usual 1 and 2), m = 6 6e-6 (3/4, 5/4, 3/2: 2e-5). m = 3 2e-7 (1 and 2: 1.5 times that), m = 5
/// 6e-7 to 1.3e-6.
inline std::vector<Rational> points(int m) {
    switch (m) {
    case 2:
        return {0, 1, -1};
    case 3:
        return {0, {3, 4}, {-3, 4}, 2, -2};
    case 4:
        return {0, {3, 4}, {-3, 4}, {3, 2}, {-3, 2}};
    case 5:
        return {0, {1, 2}, {-1, 2}, {5, 4}, {-5, 4}, 2, -2};
    case 6:
        return {0, 1, -1, 2, -2, {1, 2}, {-1, 2}};
    default:
        std::abort();
    }
}

/// Whether infinity is the last point.
inline bool has_infinity(int m) {
    return m % 2 == 0;
}

using Matrix = std::vector<std::vector<Rational>>;

/// Coefficients, lowest first, of the product of (x - p) over all points but number `except`.
inline std::vector<Rational> monic(const std::vector<Rational> &p, int except) {
    std::vector<Rational> c = {1};
    for (int i = 0; i < static_cast<int>(p.size()); i++) {
        if (i == except) {
            continue;
        }
        c.insert(c.begin(), 0);
        for (size_t j = 0; j + 1 < c.size(); j++) {
            c[j] = c[j] - p[i] * c[j + 1];
        }
    }
    return c;
}

inline Rational power(Rational p, int e) {
    Rational r = 1;
    for (int i = 0; i < e; i++) {
        r = r * p;
    }
    return r;
}

/// B^T, t x t: row i has the coefficients of the product over the other finite points; at infinity, over all.
inline Matrix input_matrix(int m) {
    const std::vector<Rational> p = points(m);
    Matrix rows;
    for (int i = 0; i <= m + 1; i++) {
        rows.push_back(monic(p, i));
        rows.back().resize(m + 2);
    }
    return rows;
}

/// G, t x 3: row i is (1, p, p^2) / product of (p - q) over the other finite points q; at infinity (0, 0, 1).
inline Matrix filter_matrix(int m) {
    const std::vector<Rational> p = points(m);
    Matrix rows;
    for (size_t i = 0; i < p.size(); i++) {
        Rational norm = 1;
        for (size_t j = 0; j < p.size(); j++) {
            norm = i == j ? norm : norm * (p[i] - p[j]);
        }
        rows.push_back({Rational(1) / norm, p[i] / norm, p[i] * p[i] / norm});
    }
    if (has_infinity(m)) {
        rows.push_back({0, 0, 1});
    }
    return rows;
}

/// A^T, outputs x t: column i is (1, p, p^2, ...); at infinity (0, ..., 0, 1). Where all points are finite, two taps (the third of
/// G's being zero) leave m + 1 outputs.
inline Matrix output_matrix(int m, int outputs) {
    const std::vector<Rational> p = points(m);
    Matrix rows;
    for (int j = 0; j < outputs; j++) {
        rows.emplace_back();
        for (Rational q : p) {
            rows.back().push_back(power(q, j));
        }
        if (has_infinity(m)) {
            rows.back().push_back(j == m - 1 ? 1 : 0);
        }
    }
    return rows;
}

/// A^T of F(m, 3), m x t.
inline Matrix output_matrix(int m) {
    return output_matrix(m, m);
}

inline Matrix transposed(const Matrix &a) {
    Matrix rows(a.front().size());
    for (const std::vector<Rational> &row : a) {
        for (size_t j = 0; j < row.size(); j++) {
            rows[j].push_back(row[j]);
        }
    }
    return rows;
}

/// sum + c*x; an undefined sum is zero.
inline Expr add_scaled(const Expr &sum, Rational c, const Expr &x) {
    if (c.n == 0) {
        return sum;
    }
    const Expr magnitude = c.is(1) || c.is(-1) ? x : x * Halide::cast(x.type(), Expr(std::abs(c.value())));
    return !sum.defined() ? (c.n < 0 ? -magnitude : magnitude) : c.n < 0 ? sum - magnitude
                                                                         : sum + magnitude;
}

/// The samples with an index of this parity, weighted by a row over its coefficient `lead`, the highest first.
inline Expr half_sum(const std::vector<Rational> &row, const std::vector<Expr> &x, int parity, Rational lead) {
    Expr sum;
    for (int j = static_cast<int>(x.size()) - 1; j >= 0; j--) {
        if (j % 2 == parity) {
            sum = add_scaled(sum, row[j] / lead, x[j]);
        }
    }
    return sum;
}

inline Rational leading(const std::vector<Rational> &row, int parity) {
    for (int j = static_cast<int>(row.size()) - 1; j >= 0; j--) {
        if (j % 2 == parity && row[j].n != 0) {
            return row[j];
        }
    }
    return 1;
}

/// matrix * x for a matrix with a row per point (B^T, G, A). Rows of p and -p differ in the sign of their odd columns only.
inline std::vector<Expr> evaluate(const Matrix &matrix, const std::vector<Expr> &x) {
    std::vector<Expr> y;
    const int rows = static_cast<int>(matrix.size());
    const auto whole = [&](const std::vector<Rational> &row) {
        Expr sum;
        for (int j = static_cast<int>(x.size()) - 1; j >= 0; j--) {
            sum = add_scaled(sum, row[j], x[j]);
        }
        return sum;
    };
    y.push_back(whole(matrix[0]));
    for (int i = 1; i + 1 < rows; i += 2) {
        // even * e +- odd * o
        const Rational even = leading(matrix[i], 0), odd = leading(matrix[i], 1);
        const Expr e = half_sum(matrix[i], x, 0, even), o = half_sum(matrix[i], x, 1, odd);
        const Expr scaled = add_scaled(Expr(), even, e);
        // The row of -p may be that of p times -1.
        const int sign = matrix[i + 1][0] == matrix[i][0] && leading(matrix[i + 1], 0) == even ? 1 : -1;
        y.push_back(add_scaled(scaled, odd, o));
        const Expr mirrored = add_scaled(scaled, Rational(-1) * odd, o);
        y.push_back(sign > 0 ? mirrored : -mirrored);
    }
    if (rows % 2 == 0) {
        y.push_back(whole(matrix[rows - 1]));
    }
    return y;
}

/// matrix * x for a matrix with a column per point (A^T, G^T): columns of p and -p differ in the sign of their odd rows only.
inline std::vector<Expr> interpolate(const Matrix &matrix, const std::vector<Expr> &x) {
    const int t = static_cast<int>(x.size());
    std::vector<Expr> plus, minus, y;
    for (int i = 1; i + 1 < t; i += 2) {
        plus.push_back(x[i] + x[i + 1]);
        minus.push_back(x[i] - x[i + 1]);
    }
    for (size_t j = 0; j < matrix.size(); j++) {
        Expr sum = add_scaled(Expr(), matrix[j][0], x[0]);
        for (int i = 1; i + 1 < t; i += 2) {
            sum = add_scaled(sum, matrix[j][i], j % 2 == 0 ? plus[i / 2] : minus[i / 2]);
        }
        y.push_back(t % 2 == 0 ? add_scaled(sum, matrix[j][t - 1], x[t - 1]) : sum);
    }
    return y;
}

}  // namespace fourfold::winograd
