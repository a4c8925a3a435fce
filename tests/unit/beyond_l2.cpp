// What the cost model takes for granted of caches.
#include <gtest/gtest.h>

#include "beyond_l2.h"

namespace fourfold::test {
namespace {

TEST(BeyondL2Test, ACoreComplexHasItsL3ToItselfADieHasNot) {
    for (size_t megabytes : {8, 16, 32, 96}) {
        const BeyondL2 own = beyond_l2(megabytes << 20);
        EXPECT_EQ(own.l3_bytes, static_cast<double>(megabytes << 20));
        EXPECT_GT(own.l3_bytes_per_second, own.memory_bytes_per_second);
    }
    const BeyondL2 own = beyond_l2(size_t{32} << 20), die = beyond_l2(size_t{260} << 20);
    EXPECT_LT(die.l3_bytes, 100e6) << "what others leave of it";
    EXPECT_LT(die.l3_bytes_per_second, own.l3_bytes_per_second);
    EXPECT_LT(die.memory_bytes_per_second, own.memory_bytes_per_second);
    EXPECT_GT(die.l3_bytes_per_second, die.memory_bytes_per_second);
    EXPECT_LT(die.sums_bytes_per_second, own.sums_bytes_per_second);
}

TEST(BeyondL2Test, TransformsTravelFasterTheNearerTheyStay) {
    const double l2 = 2e6;
    EXPECT_GT(transforms_bytes_per_second(l2, l2, 4 * l2), transforms_bytes_per_second(l2 + 1, l2, 4 * l2));
    EXPECT_GT(transforms_bytes_per_second(4 * l2, l2, 4 * l2), transforms_bytes_per_second(4 * l2 + 1, l2, 4 * l2));
}

}  // namespace
}  // namespace fourfold::test
