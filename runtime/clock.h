// The time, for measuring: seconds on a clock that only goes forward.
#pragma once

#include <chrono>

namespace fourfold {

inline double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace fourfold
