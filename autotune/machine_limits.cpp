#include "machine_limits.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <fmt/format.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "clock.h"
#include "fourfold/plan.h"
#include "measure.h"

namespace fourfold::cli {
namespace {

// Each loop keeps enough independent sums to cover latency 5 on two units, and few enough to stay in registers. The sums
// tend to 1000, far from overflow and denormals. Returned, so that the compiler keeps the work.

struct FmaLoop {
    const char *isa;
    double flops_per_iteration;
    float (*run)(int64_t iterations);
};

constexpr int kGenericSums = 10, kGenericLanes = 4;

float fma_generic(int64_t iterations) {
    using Vector = float __attribute__((vector_size(kGenericLanes * sizeof(float))));
    Vector sums[kGenericSums] = {};
    const Vector a = Vector{} + 0.999f;
    for (int64_t i = 0; i < iterations; ++i) {
        for (Vector &sum : sums) {
            sum = sum * a + 1.0f;
        }
    }
    for (int i = 1; i < kGenericSums; ++i) {
        sums[0] += sums[i];
    }
    return sums[0][0];
}

#if defined(__x86_64__)
constexpr int kAvx2Sums = 12, kAvx512Sums = 16;

__attribute__((target("avx2,fma"))) float fma_avx2(int64_t iterations) {
    __m256 sums[kAvx2Sums];
    const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1.0f);
    for (__m256 &sum : sums) {
        sum = b;
    }
    for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
        for (int j = 0; j < kAvx2Sums; ++j) {
            sums[j] = _mm256_fmadd_ps(sums[j], a, b);
        }
    }
    for (int j = 1; j < kAvx2Sums; ++j) {
        sums[0] = _mm256_add_ps(sums[0], sums[j]);
    }
    return _mm256_cvtss_f32(sums[0]);
}

__attribute__((target("avx512f"))) float fma_avx512(int64_t iterations) {
    __m512 sums[kAvx512Sums];
    const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1.0f);
    for (__m512 &sum : sums) {
        sum = b;
    }
    for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 16
        for (int j = 0; j < kAvx512Sums; ++j) {
            sums[j] = _mm512_fmadd_ps(sums[j], a, b);
        }
    }
    for (int j = 1; j < kAvx512Sums; ++j) {
        sums[0] = _mm512_add_ps(sums[0], sums[j]);
    }
    return _mm512_cvtss_f32(sums[0]);
}
#endif

FmaLoop best_fma_loop() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        return {"avx512", 2.0 * 16 * kAvx512Sums, fma_avx512};
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return {"avx2", 2.0 * 8 * kAvx2Sums, fma_avx2};
    }
#endif
    return {"generic", 2.0 * kGenericLanes * kGenericSums, fma_generic};
}

/// Runs body(thread) on all threads at once, again and again for about `seconds`; returns the shortest round's time. Each
/// round starts at an instant set beforehand, which the threads await spinning: waking up takes a good part of a round.
double best_round(int threads, double seconds, const std::function<void(int)> &body) {
    constexpr double kLead = 1e-4;
    std::vector<double> ends(static_cast<size_t>(threads));
    std::barrier gate(threads);
    double start = 0.0;
    bool stop = false;
    const auto round = [&](int thread) {
        while (now() < start) {
        }
        body(thread);
        ends[static_cast<size_t>(thread)] = now();
        gate.arrive_and_wait();
    };
    std::vector<std::thread> helpers;
    for (int t = 1; t < threads; ++t) {
        helpers.emplace_back([&, t] {
            for (gate.arrive_and_wait(); !stop; gate.arrive_and_wait()) {
                round(t);
            }
        });
    }
    double best = 1e30;
    const double end = now() + seconds;
    do {
        start = now() + kLead;
        gate.arrive_and_wait();
        round(0);
        best = std::min(best, *std::max_element(ends.begin(), ends.end()) - start);
    } while (now() < end);
    stop = true;
    gate.arrive_and_wait();
    for (std::thread &helper : helpers) {
        helper.join();
    }
    return best;
}

struct Slices {
    size_t elements;
    int threads;
    size_t first(int thread) const {
        return elements * static_cast<size_t>(thread) / static_cast<size_t>(threads) / 64 * 64;
    }
    size_t last(int thread) const {
        return thread + 1 == threads ? elements : first(thread + 1);
    }
};

struct Free {
    void operator()(void *p) const {
        std::free(p);
    }
};

size_t number_in_file(const char *path) {
    std::ifstream file(path);
    size_t value = 0;
    return file >> value ? value : 0;
}

/// Half as large again as the last cache, as far as memory allows.
size_t beyond_caches() {
    const size_t wanted = std::max<size_t>(machine().l3_bytes / 2 * 3, size_t{128} << 20);
    return std::min(wanted, usable_memory() / 8) / 4096 * 4096;
}

std::atomic<float> sink;

}  // namespace

size_t usable_memory() {
    const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
    size_t bytes = pages > 0 && page > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page) : size_t{1} << 32;
    for (const char *path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
        const size_t limit = number_in_file(path);
        if (limit > 0) {
            bytes = std::min(bytes, limit);
        }
    }
    return bytes;
}

MachineLimits measure_machine_limits(int threads, double seconds) {
    MachineLimits limits;
    // More threads than the machine has reach no higher peak, and may not even start.
    limits.threads = threads > 0 ? std::min(threads, machine().hardware_threads) : machine().hardware_threads;

    const FmaLoop loop = best_fma_loop();
    limits.fma_isa = loop.isa;
    // Rounds of about a millisecond: long against the clock, short enough that some pass undisturbed on a busy machine.
    int64_t iterations = 1000;
    for (double elapsed = 0; elapsed < 0.6e-3; iterations *= 2) {
        const double start = now();
        sink = loop.run(iterations);
        elapsed = now() - start;
    }
    const double round = best_round(limits.threads, seconds, [&](int) { sink = loop.run(iterations); });
    limits.peak_flops = loop.flops_per_iteration * static_cast<double>(iterations) * limits.threads / round;

    // Any two of the three arrays together do not fit the caches.
    const Slices slices{beyond_caches() / 2 / sizeof(float), limits.threads};
    std::unique_ptr<float, Free> buffers[3];
    for (auto &buffer : buffers) {
        buffer.reset(static_cast<float *>(std::aligned_alloc(4096, slices.elements * sizeof(float))));
        if (!buffer) {
            return limits;
        }
        std::memset(static_cast<void *>(buffer.get()), 0, slices.elements * sizeof(float));
    }
    float *const a = buffers[0].get();
    const float *const b = buffers[1].get(), *const c = buffers[2].get();
    const double bytes = static_cast<double>(slices.elements * sizeof(float));
    const double read = best_round(limits.threads, seconds, [&](int thread) {
        // Two streams keep more lines in flight than one. Integers, as the order of their sum does not matter.
        using Words = uint64_t __attribute__((vector_size(16)));
        constexpr size_t kWords = 4;  // one cache line
        Words sums[2 * kWords] = {}, line[2 * kWords];
        const char *const streams[] = {reinterpret_cast<const char *>(b), reinterpret_cast<const char *>(c)};
        for (size_t i = slices.first(thread) * sizeof(float), end = slices.last(thread) * sizeof(float); i + 64 <= end; i += 64) {
            std::memcpy(line, streams[0] + i, 64);
            std::memcpy(line + kWords, streams[1] + i, 64);
            for (size_t j = 0; j < 2 * kWords; ++j) {
                sums[j] += line[j];
            }
        }
        uint64_t sum = 0;
        for (const Words &s : sums) {
            sum += s[0] + s[1];
        }
        sink = static_cast<float>(sum);
    });
    limits.read_bytes = 2 * bytes / read;
    const double triad = best_round(limits.threads, seconds, [&](int thread) {
        for (size_t i = slices.first(thread), end = slices.last(thread); i < end; ++i) {
            a[i] = b[i] + 3.0f * c[i];
        }
        sink = a[slices.first(thread)];
    });
    limits.triad_bytes = 3 * bytes / triad;
    return limits;
}

double measure_clock() {
    constexpr int kBlock = 16, kBlocks = 20000, kRounds = 11;
    std::vector<double> seconds;
    uint64_t sum = 1;
    const uint64_t one = 1;
    for (int round = 0; round < kRounds; ++round) {
        const double start = now();
        for (int i = 0; i < kBlocks; ++i) {
            // Of registers: additions of constants are folded by some processors before they execute.
#if defined(__x86_64__)
            asm volatile(".rept 16\n\tadd %1, %0\n\t.endr" : "+r"(sum) : "r"(one) : "cc");
#elif defined(__aarch64__)
            asm volatile(".rept 16\n\tadd %0, %0, %1\n\t.endr" : "+r"(sum) : "r"(one));
#else
            return 0.0;
#endif
        }
        seconds.push_back(now() - start);
    }
    return kBlock * kBlocks / median(std::move(seconds));
}

std::string machine_text(const MachineLimits &limits) {
    const MachineInfo &info = machine();
    return fmt::format("{} ({}, {}), {} thread{}: FMA peak {:.0f} GFLOP/s ({}), memory {:.1f} GB/s read, {:.1f} GB/s triad", info.cpu, info.microarchitecture, info.isa,
                       limits.threads, limits.threads == 1 ? "" : "s", limits.peak_flops / 1e9, limits.fma_isa, limits.read_bytes / 1e9, limits.triad_bytes / 1e9);
}

CacheEvictor::CacheEvictor()
    : data_(static_cast<char *>(std::malloc(beyond_caches()))), bytes_(data_ != nullptr ? beyond_caches() : 0) {
}

CacheEvictor::~CacheEvictor() {
    std::free(data_);
}

void CacheEvictor::operator()() {
    // The value changes, so that the writes are never redundant.
    std::memset(data_, ++value_, bytes_);
    sink = static_cast<float>(bytes_ > 0 ? data_[bytes_ / 2] : 0);
}

}  // namespace fourfold::cli
