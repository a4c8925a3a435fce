// CPU schedule of place_filters: the plane is cleared in vectors, the taps are few and scattered one by one. Plane by
// plane, so that the taps meet a plane still in cache.
#include "schedules/cpu/place_filters.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(PlaceFiltersStages &s, const Target &target) {
    s.out.vectorize(s.x, target.natural_vector_size<float>(), TailStrategy::GuardWithIf);
    s.out.update().reorder(s.s, s.r, s.k);
}

}  // namespace fourfold::cpu
