// What this machine can do at best, measured: the yardstick beside every result.
#pragma once

#include <cstddef>
#include <string>

namespace fourfold::cli {

struct MachineLimits {
    int threads = 1;
    std::string fma_isa;           ///< the instructions of the multiply-add loop: "avx512", "avx2", "generic"
    double peak_flops = 0.0;       ///< float32 multiply-adds times two, a second, all threads
    double read_bytes = 0.0;       ///< bytes a second of summing a buffer larger than the last cache
    double triad_bytes = 0.0;      ///< bytes a second of a[i] = b[i] + s*c[i], counting each array once

    double bandwidth() const {
        return read_bytes > triad_bytes ? read_bytes : triad_bytes;
    }
};

/// Measures each limit for about `seconds` with this many threads and keeps the best repetition. 0: one per hardware thread.
MachineLimits measure_machine_limits(int threads, double seconds = 0.2);

/// The clock of the core that this runs on, in hertz: the median of some short chains of dependent additions, one a cycle. In a virtual
/// machine too, where the system does not say. Scalar code: wide vectors may run slower. 0 on processors other than x86-64 and ARM64.
double measure_clock();

/// "AMD EPYC ... (zen5, avx512), 2 threads: FMA peak 250 GFLOP/s, memory 30 GB/s read, 25 GB/s triad"
std::string machine_text(const MachineLimits &limits);

/// The memory that this process may use: the machine's, or its control group's limit where that is less.
size_t usable_memory();

/// Writes a buffer larger than the last cache, so that nothing of what was used before remains in any.
class CacheEvictor {
public:
    CacheEvictor();
    ~CacheEvictor();
    CacheEvictor(const CacheEvictor &) = delete;
    CacheEvictor &operator=(const CacheEvictor &) = delete;
    void operator()();

private:
    char *data_ = nullptr;
    size_t bytes_ = 0;
    char value_ = 0;
};

}  // namespace fourfold::cli
