// Discrete Fourier transforms of a few points as expressions: the generators unroll them into straight-line code.
//
// Recursive decimation in time by 2 and 3, with the shorter transforms of a real sequence known by their symmetry, down to
// other odd lengths, which are summed directly in pairs. Unscaled, forward is exp(-2 pi i jk/n), inverse exp(+2 pi i jk/n).
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

/// e + u*o and e - u*o with u = exp(i*angle), in six multiply-adds: o is multiplied by u/c (or u/s), whose one part is 1, and
/// the factor left goes into the sum. Source: Linzer, Feig, "Implementation of efficient FFT algorithms on fused
/// multiply-add architectures", 1993.
inline void butterfly(const Complex &e, const Complex &o, double angle, Complex &plus, Complex &minus) {
    const double c = std::cos(angle), s = std::sin(angle);
    if (std::abs(c) < 1e-12 || std::abs(s) < 1e-12 || !o.re.defined() || !o.im.defined()) {
        const Complex turned = rotate(o, angle);
        plus = add(e, turned);
        minus = sub(e, turned);
        return;
    }
    const bool by_cosine = std::abs(c) >= std::abs(s);
    const double factor = by_cosine ? c : s;
    const Complex turned = by_cosine ? Complex{sub(o.re, scale(o.im, s / c)), add(o.im, scale(o.re, s / c))} : Complex{sub(scale(o.re, c / s), o.im), add(scale(o.im, c / s), o.re)};
    plus = {add(e.re, scale(turned.re, factor)), add(e.im, scale(turned.im, factor))};
    minus = {sub(e.re, scale(turned.re, factor)), sub(e.im, scale(turned.im, factor))};
}

/// The transform of three points; direction -1 forward, +1 inverse.
inline void transform3(const Complex &a, const Complex &b, const Complex &c, int direction, Complex *result) {
    const Complex plus = add(b, c), minus = sub(b, c);
    const Complex middle = {add(a.re, scale(plus.re, -0.5)), add(a.im, scale(plus.im, -0.5))};
    const double s = direction * std::sqrt(0.75);
    result[0] = add(a, plus);
    // middle +- i*s*minus
    result[1] = {sub(middle.re, scale(minus.im, s)), add(middle.im, scale(minus.re, s))};
    result[2] = {add(middle.re, scale(minus.im, s)), sub(middle.im, scale(minus.re, s))};
}

/// Every step-th element from first on.
template<typename T>
std::vector<T> every(const std::vector<T> &x, int first, int step) {
    std::vector<T> result;
    for (size_t i = first; i < x.size(); i += step) {
        result.push_back(x[i]);
    }
    return result;
}

/// The complex transform; direction -1 forward, +1 inverse.
inline std::vector<Complex> transform(const std::vector<Complex> &x, int direction) {
    const int n = static_cast<int>(x.size());
    if (n == 1) {
        return x;
    }
    std::vector<Complex> result(n);
    if (n % 2 == 0) {
        const std::vector<Complex> e = transform(every(x, 0, 2), direction), o = transform(every(x, 1, 2), direction);
        for (int k = 0; k < n / 2; k++) {
            butterfly(e[k], o[k], direction * 2 * kPi * k / n, result[k], result[k + n / 2]);
        }
        return result;
    }
    if (n % 3 == 0) {
        const int m = n / 3;
        const std::vector<Complex> a = transform(every(x, 0, 3), direction), b = transform(every(x, 1, 3), direction), c = transform(every(x, 2, 3), direction);
        for (int k = 0; k < m; k++) {
            const double angle = direction * 2 * kPi * k / n;
            Complex three[3];
            transform3(a[k], rotate(b[k], angle), rotate(c[k], 2 * angle), direction, three);
            for (int q = 0; q < 3; q++) {
                result[k + q * m] = three[q];
            }
        }
        return result;
    }
    // Other lengths: pair x[j] with x[n-j], whose twiddles are conjugate.
    Complex total = x[0];
    std::vector<Complex> plus, minus;
    for (int j = 1; j <= n / 2; j++) {
        plus.push_back(add(x[j], x[n - j]));
        minus.push_back(sub(x[j], x[n - j]));
        total = add(total, plus.back());
    }
    result[0] = total;
    for (int k = 1; k <= n / 2; k++) {
        Complex even = x[0], odd;
        for (int j = 1; j <= n / 2; j++) {
            const double angle = direction * 2 * kPi * ((j * k) % n) / n;
            const Complex &p = plus[j - 1], &m = minus[j - 1];
            even = add(even, {scale(p.re, std::cos(angle)), scale(p.im, std::cos(angle))});
            // i * minus * sin(angle)
            odd = {sub(odd.re, scale(m.im, std::sin(angle))), add(odd.im, scale(m.re, std::sin(angle)))};
        }
        result[k] = add(even, odd);
        result[n - k] = sub(even, odd);
    }
    return result;
}

/// The first n/2 + 1 outputs of the forward transform of a real sequence of even or odd length.
inline std::vector<Complex> real_forward(const std::vector<Expr> &x) {
    const int n = static_cast<int>(x.size());
    std::vector<Complex> result(n / 2 + 1);
    if (n == 1) {
        return {{x[0], Expr()}};
    }
    if (n % 2 == 0) {
        const std::vector<Complex> e = real_forward(every(x, 0, 2)), o = real_forward(every(x, 1, 2));
        const int h = n / 2;
        for (int k = 0; k <= h / 2; k++) {
            // X[h-k] = conj(E[k] - w^k O[k])
            Complex minus;
            butterfly(e[k], o[k], -2 * kPi * k / n, result[k], minus);
            if (k != h - k) {
                result[h - k] = conjugate(minus);
            }
        }
        return result;
    }
    if (n % 3 == 0) {
        const int m = n / 3;
        const std::vector<Complex> a = real_forward(every(x, 0, 3)), b = real_forward(every(x, 1, 3)), c = real_forward(every(x, 2, 3));
        for (int k = 0; k <= m / 2; k++) {
            const double angle = -2 * kPi * k / n;
            Complex three[3];
            transform3(a[k], rotate(b[k], angle), rotate(c[k], 2 * angle), -1, three);
            for (int q = 0; q < 3; q++) {
                const int at = k + q * m;
                if (at <= n / 2) {
                    result[at] = three[q];
                } else if (k > 0) {
                    result[n - at] = conjugate(three[q]);
                }
            }
        }
        return result;
    }
    std::vector<Complex> z;
    for (const Expr &v : x) {
        z.push_back({v, Expr()});
    }
    z = transform(z, -1);
    z.resize(n / 2 + 1);
    return z;
}

/// The inverse of real_forward, unscaled: n real outputs from the n/2 + 1 first ones of a Hermitian sequence.
inline std::vector<Expr> real_inverse(const std::vector<Complex> &x, int n) {
    if (n == 1) {
        return {x[0].re};
    }
    std::vector<Expr> result;
    if (n % 2 == 0) {
        const int h = n / 2;
        std::vector<Complex> e(h / 2 + 1), o(h / 2 + 1);
        for (int k = 0; k <= h / 2; k++) {
            if (k == h - k) {
                e[k] = {scale(x[k].re, 2.0), Expr()};
                o[k] = {scale(x[k].im, -2.0), Expr()};
                continue;
            }
            const Complex mirrored = conjugate(x[h - k]);
            e[k] = add(x[k], mirrored);
            o[k] = rotate(sub(x[k], mirrored), 2 * kPi * k / n);
        }
        const std::vector<Expr> even = real_inverse(e, h), odd = real_inverse(o, h);
        for (int i = 0; i < h; i++) {
            result.push_back(even[i]);
            result.push_back(odd[i]);
        }
        return result;
    }
    if (n % 3 == 0) {
        // The mirror of real_forward: threes of frequencies first, then three inverses of a third of the length.
        const int m = n / 3;
        std::vector<Complex> spectra[3];
        for (int k = 0; k <= m / 2; k++) {
            Complex from[3], three[3];
            for (int q = 0; q < 3; q++) {
                const int at = k + q * m;
                from[q] = at <= n / 2 ? x[at] : conjugate(x[n - at]);
            }
            if (k == 0) {
                from[0].im = Expr();
            }
            transform3(from[0], from[1], from[2], +1, three);
            for (int j = 0; j < 3; j++) {
                spectra[j].push_back(rotate(three[j], 2 * kPi * j * k / n));
            }
        }
        std::vector<Expr> thirds[3];
        for (int j = 0; j < 3; j++) {
            spectra[j][0].im = Expr();
            thirds[j] = real_inverse(spectra[j], m);
        }
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < 3; j++) {
                result.push_back(thirds[j][i]);
            }
        }
        return result;
    }
    // x[j] and x[n-j] add up to twice the real parts: even part +- odd part.
    Expr total = x[0].re;
    for (int k = 1; k <= n / 2; k++) {
        total = add(total, scale(x[k].re, 2.0));
    }
    result.assign(n, total);
    for (int j = 1; j <= n / 2; j++) {
        Expr even = x[0].re, odd;
        for (int k = 1; k <= n / 2; k++) {
            const double angle = 2 * kPi * ((j * k) % n) / n;
            even = add(even, scale(x[k].re, 2 * std::cos(angle)));
            odd = add(odd, scale(x[k].im, -2 * std::sin(angle)));
        }
        result[j] = add(even, odd);
        result[n - j] = sub(even, odd);
    }
    return result;
}

}  // namespace small_fft
}  // namespace fourfold
