#include "candidate_bench.h"

#include <sys/mman.h>

#include <fmt/format.h>

namespace fourfold::cli {

std::string CandidateBench::sample(size_t which, int warm, int repeats) {
    if (which >= added()) {
        return fmt::format("wrong there is no candidate {}", which);
    }
    Status status;
    for (int i = 0; i < warm && status; ++i) {
        status = run(which);
    }
    status = status ? settle() : status;
    const double begin = clock_();
    for (int i = 0; i < repeats && status; ++i) {
        status = run(which);
    }
    status = status ? wait() : status;
    const double elapsed = clock_() - begin;
    if (!status) {
        return "wrong " + status.message();
    }
    return intact() ? fmt::format("time {:.9g}", elapsed) : kOutside;
}

std::string CandidateBench::ready(size_t bytes, const std::function<Status(void *memory)> &copy) const {
    void *const shared = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, result_file_, 0);
    if (shared == MAP_FAILED) {
        return "refused no shared memory for the result";
    }
    const Status status = copy(shared);
    ::munmap(shared, bytes);
    return status ? "ready" : "refused " + status.message();
}

}  // namespace fourfold::cli
