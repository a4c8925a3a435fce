#include "fourfold/profile.h"

#include <cstring>

namespace fourfold {

std::vector<Profile::Stage> Profile::stages() const {
    std::vector<Stage> list;
    for (const Entry &e : entries_) {
        if (const char *name = e.name.load()) {
            list.push_back({name, e.calls.load(), static_cast<double>(e.nanoseconds.load()) * 1e-9});
        }
    }
    return list;
}

void Profile::reset() {
    for (Entry &e : entries_) {
        e.name = nullptr;
        e.nanoseconds = 0;
        e.calls = 0;
    }
}

void Profile::add(const char *stage, int64_t nanoseconds) {
    for (Entry &e : entries_) {
        const char *name = e.name.load(std::memory_order_acquire);
        if (name == nullptr && e.name.compare_exchange_strong(name, stage)) {
            name = stage;
        }
        if (name == stage || std::strcmp(name, stage) == 0) {
            e.nanoseconds.fetch_add(nanoseconds, std::memory_order_relaxed);
            e.calls.fetch_add(1, std::memory_order_relaxed);
            return;
        }
    }
}

}  // namespace fourfold
