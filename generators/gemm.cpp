// Matrix product with packed left operand, bias and post-op. Algorithm only; speed lives in schedules/*/gemm.cpp.
//
//     out[i,j] = post(bias[i] + sum_k packed[i/m, k, i%m] * columns[k,j])
//
// For convolution i is the output channel, k = (channel, row tap, column tap) and j the output pixel.
#include "generators/gemm.h"

#include "generators/post_op.h"
#include "schedules/cpu/gemm.h"

using namespace Halide;

namespace {

class Gemm : public Generator<Gemm> {
public:
    GeneratorParam<int> m{"m", 8};  ///< rows of a register tile
    GeneratorParam<int> n{"n", 3};  ///< vectors of columns of a register tile

    /// Left matrix (i % m, k, i / m), zero beyond the last row. See pack_filters.
    Input<Buffer<float, 3>> packed{"packed"};
    /// Right matrix (j, k), readable up to the last j rounded up to a register tile.
    Input<Buffer<float, 2>> columns{"columns"};
    /// (i), readable up to the last i rounded up to m.
    Input<Buffer<float, 1>> bias{"bias"};
    /// Terms summed before the partial sum joins the total.
    Input<int32_t> depth_block{"depth_block"};
    /// Of depth_block terms.
    Input<int32_t> blocks{"blocks"};
    Input<int32_t> post{"post"};
    Input<float> lo{"lo"}, hi{"hi"};
    /// (j, i).
    Output<Buffer<float, 2>> out{"out"};

    void generate() {
        Var j("j"), i("i"), b("b");
        const Expr depth = packed.dim(1).extent();
        RDom k(0, depth_block, "k");
        RDom kb(0, blocks, "kb");
        const Expr term = b * depth_block + k;
        k.where(term < depth);
        const Expr kk = unsafe_promise_clamped(term, 0, depth - 1);

        Func block("block"), total("total");
        block(j, i, b) = 0.0f;
        block(j, i, b) += packed(i % m, kk, i / m) * columns(j, kk);
        total(j, i) = bias(i);
        total(j, i) += block(j, i, kb);
        out(j, i) = fourfold::post_op(total(j, i), post, lo, hi);

        stages = {out, total, block, j, i, b, k.x, kb.x};
    }

    void schedule() {
        fourfold::require_origin(packed);
        fourfold::require_origin(columns);
        fourfold::require_origin(bias);
        fourfold::require_origin(out);
        packed.dim(0).set_extent(m);
        packed.dim(1).set_stride(m);
        fourfold::cpu::schedule(stages, blocks == 1, {m, n}, get_target());
    }

private:
    fourfold::GemmStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(Gemm, gemm)
