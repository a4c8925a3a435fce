// Filters in the order in which direct's and im2col's products read them. Algorithm only; speed lives in schedules/*/pack_filters.cpp.
//
//     packed[g, i/m, c, t, i%m] = w[g, i/S, c, row[i%S, t], column[t]]      zero for i beyond S times the output channels
//
// The caller's tap list carries the order of the taps and, for FilterMode::kConvolution, the flip. S is the number of
// output rows that conv_direct computes together as if they were channels (1 elsewhere): row i%S of such a block reads the
// filter shifted down, and zero (a negative row) where that leaves the filter.
#include "generators/memory_stage.h"
#include "generators/post_op.h"
#include "schedules/cpu/pack_filters.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class PackFilters : public Generator<PackFilters> {
public:
    /// Filters (column, row, channel, output channel of the group, group).
    Input<Buffer<float, 5>> w{"w"};
    /// Row in the filter of each tap (tap, row of the block), or negative for zero; column of each tap.
    Input<Buffer<int32_t, 2>> row{"row"};
    Input<Buffer<int32_t, 1>> column{"column"};
    /// (i % m, tap, channel, i / m, group); m is its first extent.
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        Var ii("ii"), t("t"), c("c"), io("io"), g("g");
        const Expr i = io * out.dim(0).extent() + ii;
        const Expr block_rows = row.dim(1).extent();
        const Expr k = i / block_rows, last = w.dim(3).extent() - 1;
        const Expr r = row(t, i % block_rows);
        const Expr s = unsafe_promise_clamped(column(t), 0, w.dim(0).extent() - 1);
        const Expr height = w.dim(1).extent();
        const Expr any = select(k <= last && r >= 0, w(s, clamp(r, 0, height - 1), c, clamp(k, 0, last), g), 0.0f);
        if (get_target().has_gpu_feature()) {
            // No second case: a select reads both sides, and the plain one would read beyond the last output channel.
            out(ii, t, c, io, g) = any;
        } else {
            // One row to a block and no output channel missing: all lanes ask the same.
            plain = block_rows == 1 && w.dim(3).extent() == out.dim(0).extent() * out.dim(3).extent();
            const Expr direct = w(s, clamp(row(t, 0), 0, height - 1), c, unsafe_promise_clamped(i, 0, last), g);
            out(ii, t, c, io, g) = select(plain, select(row(t, 0) >= 0, direct, 0.0f), any);
        }
        stages = {out, ii};
    }

    void schedule() {
        fourfold::require_origin(w);
        fourfold::require_origin(row);
        fourfold::require_origin(column);
        fourfold::require_origin(out);
        // The filters' width is their fastest stride only when dense; regions of larger tensors come as views.
        w.dim(0).set_stride(Expr());
        if (get_target().has_gpu_feature()) {
            fourfold::cuda::schedule_map(stages.out);
        } else {
            fourfold::cpu::schedule_pack_filters(stages, plain, w.dim(3).stride());
        }
    }

private:
    fourfold::MemoryStages stages;
    Expr plain;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(PackFilters, pack_filters)
