// Calls what headers_cxx17.cpp compiled: both ages must agree on the types.
#include <vector>

#include <gtest/gtest.h>

bool run_as_cxx17(const std::vector<float> &x, const std::vector<float> &w, std::vector<float> *y);

namespace fourfold::test {
namespace {

TEST(Cxx17, HeadersWork) {
    // An identity filter: the middle tap of each channel's own filter.
    std::vector<float> x(4 * 8 * 8), w(4 * 4 * 9, 0.0f), y;
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = static_cast<float>(i);
    }
    for (size_t k = 0; k < 4; k++) {
        w[(k * 4 + k) * 9 + 4] = 1.0f;
    }
    ASSERT_TRUE(run_as_cxx17(x, w, &y));
    ASSERT_EQ(y.size(), x.size());
    for (size_t i = 0; i < x.size(); i++) {
        EXPECT_NEAR(y[i], x[i], 1e-3f);
    }
}

}  // namespace
}  // namespace fourfold::test
