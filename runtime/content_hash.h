// FNV-1a, 64 bits: tells contents apart; no protection against who means harm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

namespace fourfold {

inline uint64_t hash_bytes(const void *data, size_t bytes) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ static_cast<const unsigned char *>(data)[i]) * 0x100000001b3u;
    }
    return hash;
}

/// A hash as records have it: 16 hexadecimal digits.
inline std::string hash_text(const std::string &contents) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash_bytes(contents.data(), contents.size())));
    return text;
}

}  // namespace fourfold
