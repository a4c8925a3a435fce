// Between the transform of a real row and the complex one of half its length, whose points are pairs of neighbours. Algorithm only;
// speed lives in schedules/cuda/map.h.
//
// With N = 2M points, Z the complex transform of z[j] = x[2j] + i*x[2j+1], and w = exp(-2 pi i / N):
//
//     forward (sign -1)   X[k] = scale * ((Z[k] + conj Z[M-k]) -  i w^k  (Z[k] - conj Z[M-k]))    k = 0..M, Z of period M
//     inverse (sign +1)   Z[k] = scale * ((X[k] + conj X[M-k]) + i w^-k (X[k] - conj X[M-k]))    k = 0..M-1
#include "generators/post_op.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class FftReal : public Generator<FftReal> {
public:
    /// (part, k, row, plane); k counts M or M + 1.
    Input<Buffer<float, 4>> in{"in"};
    /// w^k (part, k).
    Input<Buffer<float, 2>> twiddles{"twiddles"};
    Input<int32_t> half{"half"};  ///< M
    Input<float> sign{"sign"};
    Input<float> scale{"scale"};
    /// (part, k, row, plane).
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        const Expr points = in.dim(1).extent();
        const Expr at = unsafe_promise_clamped(select(k < points, k, k - points), 0, points - 1);
        const Expr mirror = unsafe_promise_clamped(select(half - k < points, half - k, half - k - points), 0, points - 1);
        const Expr ar = in(0, at, row, plane), ai = in(1, at, row, plane), br = in(0, mirror, row, plane), bi = in(1, mirror, row, plane);
        const Expr dr = ar - br, di = ai + bi, c = sign * twiddles(0, k), s = twiddles(1, k);
        out(part, k, row, plane) = scale * select(part == 0, ar + br + s * dr - c * di, ai - bi + s * di + c * dr);
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(twiddles);
        fourfold::require_origin(out);
        in.dim(0).set_extent(2).set_stride(1);
        in.dim(1).set_stride(2);
        twiddles.dim(0).set_extent(2).set_stride(1);
        twiddles.dim(1).set_stride(2);
        out.dim(0).set_extent(2).set_stride(1);
        out.dim(1).set_stride(2);
        fourfold::cuda::schedule_map_of_pairs(out, part, {k, row, plane});
    }

private:
    Var part{"part"}, k{"k"}, row{"row"}, plane{"plane"};
};

}  // namespace

HALIDE_REGISTER_GENERATOR(FftReal, fft_real)
