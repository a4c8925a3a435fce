// CPU schedule of pack_spectra: deinterleaves a vector of frequencies at a time. l is a multiple of the vector length.
#include "schedules/cpu/pack_spectra.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule_pack_spectra(MemoryStages &s, const Target &target) {
    s.out.vectorize(s.x, target.natural_vector_size<float>(), TailStrategy::RoundUp);
}

}  // namespace fourfold::cpu
