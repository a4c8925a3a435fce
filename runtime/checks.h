// What every kind of plan checks at its door: packed blocks, workspaces, overlaps, the process.
#pragma once

#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include "bad.h"
#include "content_hash.h"
#include "fourfold/status.h"
#include "fourfold/tensor.h"
#include "halide_hooks.h"
#include "machine.h"

namespace fourfold {

/// In front of every packed block: what it was packed for.
struct PackedHeader {
    char magic[8];
    uint64_t layout;   ///< hash of everything that the block's form depends on
    uint64_t payload;  ///< bytes after the header
    uint64_t check;    ///< of the three fields above
    char reserved[kAlignment - 32];
};
static_assert(sizeof(PackedHeader) == kAlignment);
inline constexpr char kMagic[8] = {'4', 'f', 'o', 'l', 'd', 'p', 'k', '1'};

inline PackedHeader make_header(const std::string &layout, size_t payload) {
    PackedHeader h{};
    std::memcpy(h.magic, kMagic, sizeof kMagic);
    h.layout = hash_bytes(layout.data(), layout.size());
    h.payload = payload;
    h.check = hash_bytes(&h, 24);
    return h;
}

inline std::string bytes_text(size_t bytes) {
    return std::to_string(bytes) + " bytes";
}

inline Status check_block(const char *name, const void *data, size_t bytes, size_t needed) {
    if (needed == 0) {
        return Status();
    }
    if (data == nullptr) {
        return bad(std::string(name) + " is null; it needs " + bytes_text(needed));
    }
    if (reinterpret_cast<uintptr_t>(data) % kAlignment != 0) {
        return bad(std::string(name) + " is not aligned to " + std::to_string(kAlignment) + " bytes");
    }
    if (bytes < needed) {
        return bad(std::string(name) + " has " + bytes_text(bytes) + "; it needs " + bytes_text(needed));
    }
    return Status();
}

inline std::pair<uintptr_t, uintptr_t> block_range(const void *data, size_t bytes) {
    const auto begin = reinterpret_cast<uintptr_t>(data);
    return {begin, begin + bytes};
}

/// True for one block of memory within another; interleaved views (regions of one image) are the caller's business.
inline bool same_memory(std::pair<uintptr_t, uintptr_t> a, std::pair<uintptr_t, uintptr_t> b) {
    return a.first < b.second && b.first < a.second;
}

/// Before the first generated function: the environment's ISA cap, the hooks, and threads 0 as all.
inline Status prepare_process(int &threads) {
    static const Status isa = isa_cap_status();
    if (!isa.ok()) {
        return isa;
    }
    if (threads < 0 || threads > 4096) {
        return bad("threads is " + std::to_string(threads) + "; it must be 0 (all) to 4096");
    }
    if (threads == 0) {
        threads = machine().hardware_threads;
    }
    static std::once_flag hooks;
    std::call_once(hooks, fourfold_install_halide_hooks);
    return Status();
}

}  // namespace fourfold
