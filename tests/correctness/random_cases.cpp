// Forward problems drawn at random.
#include "correctness/check.h"

namespace fourfold::test {
namespace {

TEST(RandomCases, EveryAlgorithm) {
    check_random_problems({Operation::kForward}, 2e6);
}

TEST(RandomCases, TightWorkspace) {
    check_tight_workspace({Operation::kForward});
}

}  // namespace
}  // namespace fourfold::test
