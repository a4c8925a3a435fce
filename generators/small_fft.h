// Discrete Fourier transforms of a few points as expressions: the generators unroll them into straight-line code.
//
// Recursive decimation in time by 2, with the half-length transforms of a real sequence known by their symmetry, down to odd
// lengths, which are summed directly in pairs. Unscaled, forward is exp(-2 pi i jk/n), inverse exp(+2 pi i jk/n).
// Source: Sorensen, Jones, Heideman, Burrus, "Real-valued fast Fourier transform algorithms", 1987.
#pragma once

#include <cmath>
#include <vector>

#include "Halide.h"

namespace fourfold {

/// A complex expression; an undefined part is zero and costs nothing.
struct Complex {
    Halide::Expr re, im;
};

namespace small_fft {

using Halide::Expr;

inline Expr add(const Expr &a, const Expr &b) {
    return !a.defined() ? b : !b.defined() ? a : a + b;
}
inline Expr sub(const Expr &a, const Expr &b) {
    return !b.defined() ? a : !a.defined() ? -b : a - b;
}
inline Expr scale(const Expr &a, double factor) {
    if (!a.defined() || std::abs(factor) < 1e-12) {
        return Expr();
    }
    if (std::abs(factor - 1.0) < 1e-12) {
        return a;
    }
    if (std::abs(factor + 1.0) < 1e-12) {
        return -a;
    }
    return a * static_cast<float>(factor);
}
inline Complex add(const Complex &a, const Complex &b) {
    return {add(a.re, b.re), add(a.im, b.im)};
}
inline Complex sub(const Complex &a, const Complex &b) {
    return {sub(a.re, b.re), sub(a.im, b.im)};
}
inline Complex conjugate(const Complex &a) {
    return {a.re, a.im.defined() ? -a.im : Expr()};
}
/// a * exp(i*angle).
inline Complex rotate(const Complex &a, double angle) {
    const double c = std::cos(angle), s = std::sin(angle);
    return {sub(scale(a.re, c), scale(a.im, s)), add(scale(a.re, s), scale(a.im, c))};
}
inline Expr defined_or_zero(const Expr &e) {
    return e.defined() ? e : Halide::cast<float>(0);
}

constexpr double kPi = 3.14159265358979323846;

/// The complex transform; direction -1 forward, +1 inverse.
inline std::vector<Complex> transform(const std::vector<Complex> &x, int direction) {
    const int n = static_cast<int>(x.size());
    if (n == 1) {
        return x;
    }
    std::vector<Complex> result(n);
    if (n % 2 == 0) {
        std::vector<Complex> even, odd;
        for (int i = 0; i < n; i += 2) {
            even.push_back(x[i]);
            odd.push_back(x[i + 1]);
        }
        const std::vector<Complex> e = transform(even, direction), o = transform(odd, direction);
        for (int k = 0; k < n / 2; k++) {
            const Complex turned = rotate(o[k], direction * 2 * kPi * k / n);
            result[k] = add(e[k], turned);
            result[k + n / 2] = sub(e[k], turned);
        }
        return result;
    }
    // Odd lengths: pair x[j] with x[n-j], whose twiddles are conjugate.
    for (int k = 0; k <= n / 2; k++) {
        Complex even = x[0], odd;
        for (int j = 1; j <= n / 2; j++) {
            const Complex plus = add(x[j], x[n - j]), minus = sub(x[j], x[n - j]);
            const double angle = 2 * kPi * ((j * k) % n) / n;
            even = add(even, {scale(plus.re, std::cos(angle)), scale(plus.im, std::cos(angle))});
            // i * minus * sin(angle)
            odd = add(odd, {scale(minus.im, -std::sin(angle)), scale(minus.re, std::sin(angle))});
        }
        if (direction < 0) {
            odd = sub(Complex(), odd);
        }
        result[k] = add(even, odd);
        if (k > 0) {
            result[n - k] = sub(even, odd);
        }
    }
    return result;
}

/// The first n/2 + 1 outputs of the forward transform of a real sequence of even or odd length.
inline std::vector<Complex> real_forward(const std::vector<Expr> &x) {
    const int n = static_cast<int>(x.size());
    if (n == 1 || n % 2 != 0) {
        std::vector<Complex> z;
        for (const Expr &v : x) {
            z.push_back({v, Expr()});
        }
        z = transform(z, -1);
        z.resize(n / 2 + 1);
        return z;
    }
    std::vector<Expr> even, odd;
    for (int i = 0; i < n; i += 2) {
        even.push_back(x[i]);
        odd.push_back(x[i + 1]);
    }
    const std::vector<Complex> e = real_forward(even), o = real_forward(odd);
    const int h = n / 2;
    std::vector<Complex> result(h + 1);
    for (int k = 0; k <= h / 2; k++) {
        const Complex turned = rotate(o[k], -2 * kPi * k / n);
        result[k] = add(e[k], turned);
        // X[h-k] = conj(E[k] - w^k O[k])
        result[h - k] = conjugate(sub(e[k], turned));
    }
    return result;
}

/// The inverse of real_forward, unscaled: n real outputs from the n/2 + 1 first ones of a Hermitian sequence.
inline std::vector<Expr> real_inverse(const std::vector<Complex> &x, int n) {
    if (n == 1) {
        return {x[0].re};
    }
    if (n % 2 != 0) {
        std::vector<Complex> z(x);
        z[0].im = Expr();
        for (int k = n / 2 + 1; k < n; k++) {
            z.push_back(conjugate(x[n - k]));
        }
        z = transform(z, +1);
        std::vector<Expr> result;
        for (const Complex &c : z) {
            result.push_back(c.re);
        }
        return result;
    }
    const int h = n / 2;
    std::vector<Complex> e(h / 2 + 1), o(h / 2 + 1);
    for (int k = 0; k <= h / 2; k++) {
        const Complex mirrored = conjugate(x[h - k]);
        e[k] = add(x[k], mirrored);
        o[k] = rotate(sub(x[k], mirrored), 2 * kPi * k / n);
    }
    const std::vector<Expr> even = real_inverse(e, h), odd = real_inverse(o, h);
    std::vector<Expr> result;
    for (int i = 0; i < h; i++) {
        result.push_back(even[i]);
        result.push_back(odd[i]);
    }
    return result;
}

}  // namespace small_fft
}  // namespace fourfold
