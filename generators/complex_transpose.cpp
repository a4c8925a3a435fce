// Complex numbers from the order in which one dimension is contiguous to that in which another is. Algorithm only; speed lives
// in schedules/*/complex_transpose.cpp.
//
//     out[o,p,q] = in[o,q,p]        zero for q beyond the last
//
// A number is 64 bits that only move; flip = 2^63 changes the sign bit of the imaginary part, the upper half.
#include "generators/complex_transpose.h"

#include "generators/post_op.h"
#include "schedules/cpu/complex_transpose.h"

using namespace Halide;

namespace {

class ComplexTranspose : public Generator<ComplexTranspose> {
public:
    /// (p, q, o).
    Input<Buffer<uint64_t, 3>> in{"in"};
    Input<uint64_t> flip{"flip"};
    /// (q, p, o).
    Output<Buffer<uint64_t, 3>> out{"out"};

    void generate() {
        Var p("p"), q("q"), o("o");
        Func block("block"), turned("turned");
        // Blocks of 8 x 8 read the last row again for those beyond it, and under a mask the elements of a row that lie in the input.
        block(p, q, o) = fourfold::load_if(p < in.dim(0).extent(), in(unsafe_promise_clamped(p, 0, in.dim(0).max()), min(q, in.dim(1).max()), o));
        turned(q, p, o) = block(p, q, o);
        out(q, p, o) = select(q < in.dim(1).extent(), turned(q, p, o) ^ flip, cast<uint64_t>(0));
        stages = {out, turned, block, p, q, o};
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::ComplexTransposeStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ComplexTranspose, complex_transpose)
