// The stage complex_transpose on arrays of any size.
#pragma once

#include <algorithm>
#include <complex>
#include <cstdint>

#include "kernel.h"

namespace fourfold {

/// Complex numbers that one dimension of a kernel call may span: three such stay under 2^31 bytes.
inline constexpr int64_t kComplexReach = int64_t{1} << 26;

/// How much of `count` steps a call takes: whole blocks of 8 where reach allows any.
inline int64_t within_complex_reach(int64_t count, int64_t stride) {
    const int64_t most = std::max<int64_t>(1, kComplexReach / std::max<int64_t>(1, stride));
    return std::min(count, most >= 8 ? most / 8 * 8 : most);
}

inline const uint64_t *words(const std::complex<float> *data) {
    return reinterpret_cast<const uint64_t *>(data);
}

/// in (p, q, o) with strides (1, q, o) to out (q, p, o) with strides (1, p, o), `padded` of q written, those beyond `q` as zero.
struct Transposition {
    const std::complex<float> *in;
    int64_t in_q, in_o;
    std::complex<float> *out;
    int64_t out_p, out_o;
    int64_t p, q, o, padded;
    bool conjugate = false;

    bool run(const Variant &stage, KernelContext &context) const {
        const int64_t ps = within_complex_reach(p, out_p), qs = within_complex_reach(q, in_q), os = within_complex_reach(o, std::max(in_o, out_o));
        const uint64_t flip = conjugate ? uint64_t{1} << 63 : 0;
        for (int64_t oi = 0; oi < o; oi += os) {
            for (int64_t qi = 0; qi < q; qi += qs) {
                for (int64_t pi = 0; pi < p; pi += ps) {
                    const int64_t np = std::min(ps, p - pi), nq = std::min(qs, q - qi), no = std::min(os, o - oi);
                    const KernelBuffer<uint64_t, 3> from(words(in + oi * in_o + qi * in_q + pi), {{np, 1}, {nq, in_q}, {no, in_o}});
                    const KernelBuffer<uint64_t, 3> to(words(out + oi * out_o + pi * out_p + qi), {{qi + nq == q ? padded - qi : nq, 1}, {np, out_p}, {no, out_o}});
                    if (!call(stage, context, from, flip, to)) {
                        return false;
                    }
                }
            }
        }
        return true;
    }
};

}  // namespace fourfold
