// Random numbers that repeat on every machine, and the seed that a failing run prints.
#pragma once

#include <cstdint>
#include <string>

namespace fourfold::test {

/// SplitMix64: small, fast, the same everywhere (the standard's distributions are not).
class Random {
public:
    explicit Random(uint64_t seed)
        : state_(seed) {
    }
    uint64_t next();
    /// In [lo, hi], both included.
    int64_t between(int64_t lo, int64_t hi);
    float uniform(float lo, float hi);
    bool chance(double probability) {
        return static_cast<double>(next() >> 11) * 0x1p-53 < probability;
    }

private:
    uint64_t state_;
};

/// The run's seed: 1, or the environment's FOURFOLD_TEST_SEED (a number, or "random").
uint64_t test_seed();
/// How many random cases a test tries: `otherwise`, or the environment's FOURFOLD_TEST_CASES.
int64_t test_cases(int64_t otherwise);
/// "seed 17 (repeat with FOURFOLD_TEST_SEED=17)".
std::string seed_note(uint64_t seed);

}  // namespace fourfold::test
