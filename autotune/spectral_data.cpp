#include "spectral_data.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <limits>
#include <random>

namespace fourfold::cli {
namespace {

Spectrum random_spectrum(int64_t elements, uint64_t seed) {
    std::mt19937_64 engine(seed);
    Spectrum data(static_cast<size_t>(elements));
    const auto uniform = [&] { return static_cast<float>(static_cast<double>(engine() >> 11) * 0x1p-52 - 1.0); };
    for (Complex &v : data) {
        const float re = uniform();
        v = {re, uniform()};
    }
    return data;
}

/// Element (n or oc, channel or ic, frequency) of a dense tensor with `channels` and `frequencies`.
struct Indexer {
    int64_t n, c, f;
    int64_t operator()(int64_t i, int64_t channel, int64_t frequency) const {
        return i * n + channel * c + frequency * f;
    }
};

/// Elements of x, w and y.
std::array<int64_t, 3> elements(const SpectralProblem &p) {
    const int64_t f = p.frequencies();
    return {p.batch * p.in_channels * f, p.in_channels * p.out_channels * f, p.batch * p.out_channels * f};
}

}  // namespace

SpectralData::SpectralData(const SpectralProblem &problem, uint64_t seed)
    : problem_(problem), first_(random_spectrum(elements(problem)[problem.operation == Operation::kBackwardData ? 2 : 0], seed)),
      second_(random_spectrum(elements(problem)[problem.operation == Operation::kBackwardFilters ? 2 : 1], seed + 1)) {
}

int64_t SpectralData::result_elements(const SpectralProblem &p) {
    return elements(p)[p.operation == Operation::kForward ? 2 : p.operation == Operation::kBackwardData ? 0 : 1];
}

double SpectralData::bytes(const SpectralProblem &p) {
    const std::array<int64_t, 3> n = elements(p);
    return (static_cast<double>(n[0]) + static_cast<double>(n[1]) + static_cast<double>(n[2])) * sizeof(Complex);
}

SpectralTensors SpectralData::tensors(const AlignedBuffer &packed, Complex *result) const {
    const bool data = problem_.operation == Operation::kBackwardData, gradient = problem_.operation == Operation::kBackwardFilters;
    SpectralTensors t;
    (data ? t.grad_output : t.input) = first_.data();
    (gradient ? t.grad_filters : data ? t.grad_input : t.output) = result;
    if (gradient) {
        t.grad_output = second_.data();
    } else {
        t.filters = packed.bytes() > 0 ? SpectralFilters(packed) : SpectralFilters(second_.data());
    }
    return t;
}

double SpectralData::max_error(const Complex *y) const {
    const SpectralProblem &p = problem_;
    const Spectrum &a = first_, &b = second_;
    const int64_t f = p.frequencies(), ic = p.in_channels, oc = p.out_channels;
    const bool last = p.order == SpectralOrder::kBijc;
    const Indexer x = last ? Indexer{f * ic, 1, ic} : Indexer{f * ic, f, 1}, g = last ? Indexer{f * oc, 1, oc} : Indexer{f * oc, f, 1};
    const Indexer w = last ? Indexer{1, oc, ic * oc} : Indexer{ic * f, f, 1};
    for (int64_t i = 0; i < result_elements(p); i++) {
        if (!std::isfinite(y[i].real()) || !std::isfinite(y[i].imag())) {
            return std::numeric_limits<double>::infinity();
        }
    }
    const bool gradient = p.operation == Operation::kBackwardFilters, data = p.operation == Operation::kBackwardData;
    const int64_t n0 = gradient ? oc : p.batch, n1 = gradient || data ? ic : oc, depth = gradient ? p.batch : data ? oc : ic;
    double worst = 0.0, scale = 0.0;
    const int64_t total = n0 * n1 * f, step = std::max<int64_t>(1, total / 4001);
    for (int64_t at = 0; at < total; at += step) {
        const int64_t i = at / (n1 * f), j = at / f % n1, q = at % f;
        std::complex<double> sum = 0.0;
        double size = 0.0;
        for (int64_t d = 0; d < depth; d++) {
            using C = std::complex<double>;
            const C u = gradient ? std::conj(C(a[x(d, j, q)])) : data ? C(a[g(i, d, q)]) : C(a[x(i, d, q)]);
            const C v = gradient ? C(b[g(d, i, q)]) : data ? std::conj(C(b[w(d, j, q)])) : C(b[w(j, d, q)]);
            sum += u * v;
            size += std::abs(u) * std::abs(v);
        }
        const Complex got = gradient ? y[w(i, j, q)] : data ? y[x(i, j, q)] : y[g(i, j, q)];
        worst = std::max(worst, std::abs(std::complex<double>(got) - sum));
        scale = std::max(scale, size);
    }
    return scale > 0 ? worst / scale : 0.0;
}

}  // namespace fourfold::cli
