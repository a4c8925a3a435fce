// The modules of a device: each compiled once, by whoever asks first. The others wait for it and for no other, and launches for none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace fourfold {

/// `Module` is what one compilation gives; its destructor unloads it. Plans hold the modules that their launches need. Those that
/// nobody holds any more stay for the next plan, the kIdle that were held last; the others are unloaded.
template<typename Module>
class ModuleTable {
public:
    static constexpr size_t kIdle = 16;

    /// Holds the module of this text, which load() makes unless it is there. Null where load() returned null; who asks next tries again.
    template<typename Load>
    std::shared_ptr<void> hold(const char *source, const Load &load) {
        const std::shared_ptr<Entry> entry = use(source);
        const std::shared_ptr<void> hold(entry.get(), [this, entry, source](void *) { release(source, entry); });
        std::lock_guard<std::mutex> lock(entry->loading);
        if (entry->module == nullptr) {
            std::shared_ptr<Module> loaded = load();
            std::lock_guard<std::mutex> seen(mutex_);
            entry->module = std::move(loaded);
        }
        return entry->module != nullptr ? hold : nullptr;
    }

    /// What DeviceRuntime::compile asks for: the module loaded, and held in `holds`. Without, an execution asks, mostly for what its plan
    /// holds. What nobody holds, loaded or not, no plan foresaw: it is held from now on, since it could go before it is launched.
    template<typename Load>
    bool compile(std::vector<std::shared_ptr<void>> *holds, const char *source, const Load &load) {
        if (holds == nullptr && is_held(source)) {
            return true;
        }
        std::shared_ptr<void> held = hold(source, load);
        if (held == nullptr) {
            return false;
        }
        if (holds == nullptr) {
            std::lock_guard<std::mutex> lock(mutex_);
            kept_.push_back(std::move(held));
        } else if (std::find(holds->begin(), holds->end(), held) == holds->end()) {
            holds->push_back(std::move(held));
        }
        return true;
    }

    /// The module, which stays loaded as long as the pointer; null where it is not.
    std::shared_ptr<Module> find(const char *source) {
        std::lock_guard<std::mutex> lock(mutex_);
        const auto found = entries_.find(source);
        return found != entries_.end() ? found->second->module : nullptr;
    }

    /// Unloads all that nobody holds but the `left` that were held last.
    void unload_idle(size_t left) {
        std::vector<std::shared_ptr<Entry>> unloaded;  // after the lock is gone
        std::lock_guard<std::mutex> lock(mutex_);
        std::vector<std::pair<uint64_t, const char *>> idle;
        for (const auto &[source, entry] : entries_) {
            if (entry->users == 0) {
                idle.emplace_back(entry->idle_since, source);
            }
        }
        std::sort(idle.begin(), idle.end());
        for (size_t i = 0; i + left < idle.size(); i++) {
            const auto found = entries_.find(idle[i].second);
            unloaded.push_back(std::move(found->second));
            entries_.erase(found);
        }
    }

private:
    struct Entry {
        std::mutex loading;              ///< held while it is compiled
        std::shared_ptr<Module> module;  ///< read with `loading` or mutex_ held, written with both
        int64_t users = 0;               ///< with mutex_ held, as what follows
        uint64_t idle_since = 0;
    };

    bool is_held(const char *source) {
        std::lock_guard<std::mutex> lock(mutex_);
        const auto found = entries_.find(source);
        return found != entries_.end() && found->second->module != nullptr && found->second->users > 0;
    }

    std::shared_ptr<Entry> use(const char *source) {
        std::lock_guard<std::mutex> lock(mutex_);
        std::shared_ptr<Entry> &entry = entries_[source];
        if (entry == nullptr) {
            entry = std::make_shared<Entry>();
        }
        entry->users++;
        return entry;
    }

    void release(const char *source, const std::shared_ptr<Entry> &entry) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (--entry->users > 0) {
                return;
            }
            entry->idle_since = ++clock_;
            if (entry->module == nullptr) {
                entries_.erase(source);
            }
        }
        unload_idle(kIdle);
    }

    std::mutex mutex_;
    std::unordered_map<const char *, std::shared_ptr<Entry>> entries_;
    uint64_t clock_ = 0;
    std::vector<std::shared_ptr<void>> kept_;
};

}  // namespace fourfold
