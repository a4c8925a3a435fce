// The Status of what a caller got wrong.
#pragma once

#include <string>
#include <utility>

#include "fourfold/status.h"

namespace fourfold {

inline Status bad(std::string message) {
    return {StatusCode::kInvalidArgument, std::move(message)};
}

}  // namespace fourfold
