// GPU schedule of fft_stage: a thread computes one butterfly of R points in registers. Threads are numbered through a plane, along the
// innermost of independent transforms and butterflies first, so that neighbours read neighbours, in columns (e is the column) as in
// rows, and that no thread of a block waits where rows are short.
#include "schedules/cuda/fft_stage.h"

using namespace Halide;

namespace fourfold::cuda {

void schedule(FftStageStages &s) {
    RVar block("block"), thread("thread");
    Var all("all");
    // Nothing is left of the undefined part, but on the host it would ask for a host pointer.
    s.out.gpu_single_thread();
    s.out.update()
        .allow_race_conditions()
        .split(s.r_t, block, thread, 128, TailStrategy::GuardWithIf)
        .reorder(s.r_part, s.r_r, thread, block, s.plane)
        .gpu_blocks(block, s.plane)
        .gpu_threads(thread)
        .unroll(s.r_part)
        .unroll(s.r_r)
        .never_partition_all();
    s.dft.compute_at(s.out, thread).store_in(MemoryType::Register);
}

}  // namespace fourfold::cuda
