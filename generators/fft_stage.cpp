// One stage of radix R of a complex transform of any length, for GPUs: a transform is a launch for each of its length's factors.
// Algorithm only; speed lives in schedules/cuda/fft_stage.cpp.
//
//     v[r]                      = in[jlo + jhi*S + r*N/R] * exp(-2 pi i jlo*r / (S*R))        N the length, S the product of the radices done
//     out[jlo + r*S + jhi*S*R] = sum_q v[q] * exp(-2 pi i q*r / R)                           (Stockham: in order without a permutation)
//
// How rows, columns and planes lie is in the strides. An inverse transform is the same with real and imaginary parts exchanged,
// which is a view too: the last index runs backwards.
#include "generators/fft_stage.h"

#include "generators/post_op.h"
#include "generators/small_fft.h"
#include "schedules/cuda/fft_stage.h"

using namespace Halide;

namespace {

class FftStage : public Generator<FftStage> {
public:
    GeneratorParam<int> radix{"radix", 4};

    /// (part, e, jlo, jhi, r, row, plane); e and row number independent transforms.
    Input<Buffer<float, 7>> in{"in"};
    /// exp(-2 pi i k / length) (part, k), for a length that is twiddle_step times S*R.
    Input<Buffer<float, 2>> twiddles{"twiddles"};
    Input<int32_t> twiddle_step{"twiddle_step"};
    /// (part, r, e, jlo, jhi, row, plane).
    Output<Buffer<float, 7>> out{"out"};

    void generate() {
        using fourfold::Complex;
        Var &t = stages.t, &plane = stages.plane;
        // Butterfly t of a plane: they are numbered through, whatever their places.
        const Expr beside = out.dim(2).extent(), before = out.dim(3).extent(), after = out.dim(4).extent(), rows = out.dim(5).extent();
        const auto digit = [](const Expr &value, const Expr &extent) { return unsafe_promise_clamped(value % extent, 0, extent - 1); };
        const auto e = [&](const Expr &i) { return digit(i, beside); };
        const auto jlo = [&](const Expr &i) { return digit(i / beside, before); };
        const auto jhi = [&](const Expr &i) { return digit(i / (beside * before), after); };
        const auto row = [&](const Expr &i) { return unsafe_promise_clamped(i / (beside * before * after), 0, rows - 1); };
        std::vector<Complex> v;
        for (int q = 0; q < radix; q++) {
            const Complex x = {in(0, e(t), jlo(t), jhi(t), q, row(t), plane), in(1, e(t), jlo(t), jhi(t), q, row(t), plane)};
            if (q == 0) {
                v.push_back(x);
                continue;
            }
            const Expr k = unsafe_promise_clamped(jlo(t) * q * twiddle_step, 0, twiddles.dim(1).extent() - 1), c = twiddles(0, k), s = twiddles(1, k);
            v.push_back({x.re * c - x.im * s, x.re * s + x.im * c});
        }
        std::vector<Expr> parts;
        for (const Complex &y : fourfold::small_fft::transform(v, -1)) {
            parts.push_back(y.re);
            parts.push_back(y.im);
        }
        stages.dft(t, plane) = Tuple(parts);
        RDom to(0, 2, 0, radix, 0, beside * before * after * rows, "to");
        const FuncRef dft = stages.dft(to.z, plane);
        std::vector<Expr> list;
        for (int i = 0; i < 2 * radix; i++) {
            list.push_back(dft[i]);
        }
        Var part("part"), r("r"), be("be"), lo("lo"), hi("hi"), y("y");
        out(part, r, be, lo, hi, y, plane) = undef<float>();
        out(to.x, to.y, e(to.z), jlo(to.z), jhi(to.z), row(to.z), plane) = mux(2 * to.y + to.x, list);
        stages.out = out;
        stages.r_part = to.x;
        stages.r_r = to.y;
        stages.r_t = to.z;
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(twiddles);
        fourfold::require_origin(out);
        in.dim(0).set_extent(2).set_stride(Expr());
        in.dim(4).set_extent(radix);
        twiddles.dim(0).set_extent(2).set_stride(1);
        twiddles.dim(1).set_stride(2);
        out.dim(0).set_extent(2).set_stride(Expr());
        out.dim(1).set_extent(radix);
        fourfold::cuda::schedule(stages);
    }

private:
    fourfold::FftStageStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(FftStage, fft_stage)
