// What the stand-ins for libraries beside the driver share: its state, and its record of calls.
#pragma once

#include <dlfcn.h>

#include "device/standin_driver.h"

namespace fourfold::test {

/// Of the stand-in for the driver, which the program has loaded.
inline StandIn &state() {
    static StandIn *const found = [] {
        void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        return reinterpret_cast<StandIn *(*)()>(dlsym(driver, "fourfold_standin"))();
    }();
    return *found;
}

/// With the mutex held. The result of a call that is recorded: 0 for success, the failure that was asked for, or `astray` where the stream
/// is not there.
inline int record(const char *name, int astray, const void *stream = nullptr) {
    DriverCall call;
    call.name = name;
    call.stream = stream;
    call.thread = std::this_thread::get_id();
    state().calls.push_back(call);
    if (!state().has_stream(stream, name)) {
        return astray;
    }
    const auto failure = state().failures.find(name), next = state().next_failures.find(name);
    if (next != state().next_failures.end()) {
        const int error = next->second;
        state().next_failures.erase(next);
        return error;
    }
    return failure != state().failures.end() ? failure->second : 0;
}

}  // namespace fourfold::test
