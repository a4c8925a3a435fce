// A stand-in for the NVIDIA driver: libcuda.so.1 over host memory, for tests on machines without a GPU. Memory is tracked, and lies at addresses
// that the host may not touch: a program that reads or writes through a pointer of the device dies. Launches are checked and recorded but compute nothing of their own, and failures can be asked for. Copies of pinned memory are as late as
// CUDA allows: they are made when somebody waits for them.
//
// What it shows is read from the environment when it is loaded:
//   FOURFOLD_STANDIN_GPUS     compute capabilities, one for each GPU: "90" or "75,90"; empty: none (default 90)
//   FOURFOLD_STANDIN_SHARED   bytes of shared memory that a block has, one for each GPU; those that it does not name have 49152
//   FOURFOLD_STANDIN_MEMORY   bytes of each GPU (default 2^30)
//   FOURFOLD_STANDIN_REPORT   "1": when the process ends it prints what was taken and given back (report())
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace fourfold::test {

/// One call of the driver that does something on a device or changes its state.
struct DriverCall {
    std::string name;     ///< "cuLaunchKernel"
    std::string entry;    ///< the kernel's name, for launches
    const void *stream = nullptr;
    unsigned blocks[3] = {0, 0, 0}, threads[3] = {0, 0, 0};
    unsigned options = 0;  ///< of cuModuleLoadDataEx: how many
    std::string target;    ///< of cuModuleLoadDataEx: the PTX's, "sm_80"
    const void *image = nullptr;  ///< of cuModuleLoadDataEx: the PTX
    const void *host = nullptr;   ///< of copies: the host's memory
    size_t bytes = 0;             ///< of copies and allocations; of launches, shared memory
    std::thread::id thread;
};

struct StandIn {
    std::mutex mutex;
    std::vector<DriverCall> calls;
    std::vector<DriverCall> copied;  ///< the copies in the order in which they were made, which may be later
    /// Results that calls return from now on without doing anything, by name.
    std::map<std::string, int> failures;
    /// The same for the next call alone.
    std::map<std::string, int> next_failures;
    /// What a launch does when its turn in the stream comes, given the addresses among its arguments; nothing where this is empty.
    std::function<void(const std::vector<uintptr_t> &)> launched;
    /// Streams whose work is done as soon as it does not wait for an event; that of the others is done when somebody waits for it.
    std::function<bool(const void *stream)> eager;
    bool slow_loads = false;      ///< cuModuleLoadDataEx and cuDevicePrimaryCtxRetain do not return while this is set
    int loading = 0;              ///< calls of them that wait so
    std::condition_variable changed;
    long loaded = 0, unloaded = 0;  ///< modules
    long retained = 0;              ///< primary contexts
    size_t allocated = 0, most_allocated = 0;  ///< bytes now, and at most since clear()
    std::map<uintptr_t, size_t> allocations;
    std::map<uintptr_t, unsigned char *> contents;  ///< of each allocation, where the host finds what is in it
    std::map<uintptr_t, size_t> pinned;  ///< memory of the host that the device reads and writes itself
    size_t pinned_by_driver = 0;         ///< of these, bytes that cuMemAllocHost gave
    long pushed = 0, popped = 0;  ///< contexts, of all threads
    std::set<const void *> streams;     ///< those that there are, beside the default one
    std::vector<std::string> astray;    ///< calls with a stream that is not there, which a driver need not survive, by name

    /// With the mutex held. Whether [data, data + bytes) is memory of the device.
    bool on_device(uintptr_t data, size_t bytes) const {
        return within(allocations, data, bytes);
    }
    /// The same of pinned memory.
    bool is_pinned(uintptr_t data, size_t bytes) const {
        return within(pinned, data, bytes);
    }
    /// What a pointer of the device points to, as the driver reads and writes it; null where it points to none of its memory.
    template<typename T>
    T *content(T *data) const {
        const auto address = reinterpret_cast<uintptr_t>(data);
        const auto after = contents.upper_bound(address);
        if (!on_device(address, 1)) {
            return nullptr;
        }
        const auto &[begin, memory] = *std::prev(after);
        return reinterpret_cast<T *>(memory + (address - begin));
    }
    static bool within(const std::map<uintptr_t, size_t> &ranges, uintptr_t data, size_t bytes) {
        auto after = ranges.upper_bound(data);
        if (after == ranges.begin()) {
            return false;
        }
        --after;
        return data + bytes <= after->first + after->second;
    }
    /// Whether the stream is there; a call with one that is not goes astray.
    bool has_stream(const void *stream, const std::string &call) {
        const bool found = stream == nullptr || streams.count(stream) == 1;
        if (!found) {
            astray.push_back(call);
        }
        return found;
    }
    /// As cuMemHostRegister and cuMemHostUnregister.
    void pin(const void *data, size_t bytes) {
        std::lock_guard<std::mutex> lock(mutex);
        pinned[reinterpret_cast<uintptr_t>(data)] = bytes;
    }
    void unpin(const void *data) {
        std::lock_guard<std::mutex> lock(mutex);
        pinned.erase(reinterpret_cast<uintptr_t>(data));
    }
    /// Memory of the device of so many bytes; null where there is none, or more than one.
    void *allocation_of(size_t bytes) {
        std::lock_guard<std::mutex> lock(mutex);
        void *found = nullptr;
        for (const auto &[data, size] : allocations) {
            if (size == bytes) {
                if (found != nullptr) {
                    return nullptr;
                }
                found = reinterpret_cast<void *>(data);
            }
        }
        return found;
    }
    void clear() {
        std::lock_guard<std::mutex> lock(mutex);
        calls.clear();
        copied.clear();
        failures.clear();
        next_failures.clear();
        launched = nullptr;
        eager = nullptr;
        most_allocated = allocated;
    }
    void fail(const std::string &name, int error) {
        std::lock_guard<std::mutex> lock(mutex);
        failures[name] = error;
    }
    void fail_next(const std::string &name, int error) {
        std::lock_guard<std::mutex> lock(mutex);
        next_failures[name] = error;
    }
    void set_slow_loads(bool slow) {
        std::lock_guard<std::mutex> lock(mutex);
        slow_loads = slow;
        changed.notify_all();
    }
    void wait_while_slow(std::unique_lock<std::mutex> &lock) {
        loading++;
        changed.notify_all();
        changed.wait(lock, [&] { return !slow_loads; });
        loading--;
    }
    /// Until so many calls wait so.
    void wait_for_loading(int calls_that_wait) {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return loading >= calls_that_wait; });
    }
    /// "contexts 1, modules 5 - 5, memory 0, pinned 0"
    std::string report() const {
        return "contexts " + std::to_string(retained) + ", modules " + std::to_string(loaded) + " - " + std::to_string(unloaded) + ", memory " + std::to_string(allocated) + ", pinned " + std::to_string(pinned_by_driver);
    }
    std::vector<DriverCall> recorded(const std::string &name) {
        std::lock_guard<std::mutex> lock(mutex);
        std::vector<DriverCall> found;
        for (const DriverCall &call : calls) {
            if (call.name == name) {
                found.push_back(call);
            }
        }
        return found;
    }
};

}  // namespace fourfold::test

/// The state of the stand-in, exported beside the driver's functions.
extern "C" fourfold::test::StandIn *fourfold_standin();
