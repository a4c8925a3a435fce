#include "support/random.h"

#include <cstdlib>
#include <cstring>
#include <random>

namespace fourfold::test {

uint64_t Random::next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t Random::between(int64_t lo, int64_t hi) {
    return lo + static_cast<int64_t>(next() % static_cast<uint64_t>(hi - lo + 1));
}

float Random::uniform(float lo, float hi) {
    return lo + (hi - lo) * (static_cast<float>(next() >> 40) * 0x1p-24f);
}

uint64_t test_seed() {
    static const uint64_t seed = [] {
        const char *text = std::getenv("FOURFOLD_TEST_SEED");
        if (text == nullptr || *text == '\0') {
            return uint64_t{1};
        }
        if (std::strcmp(text, "random") == 0) {
            return static_cast<uint64_t>(std::random_device{}());
        }
        return static_cast<uint64_t>(std::strtoull(text, nullptr, 10));
    }();
    return seed;
}

int64_t test_cases(int64_t otherwise) {
    const char *text = std::getenv("FOURFOLD_TEST_CASES");
    return text == nullptr || *text == '\0' ? otherwise : std::strtoll(text, nullptr, 10);
}

std::string seed_note(uint64_t seed) {
    return "seed " + std::to_string(seed) + " (repeat with FOURFOLD_TEST_SEED=" + std::to_string(seed) + ")";
}

}  // namespace fourfold::test
