// Libraries that are loaded when they are first asked for.
#pragma once

#include <dlfcn.h>

#include <initializer_list>
#include <string>

namespace fourfold {

class LoadedLibrary {
public:
    /// The first of these files that is there. Messages call the library `called`, say `absent` where it is not there, and `old` where it
    /// lacks a function.
    LoadedLibrary(std::initializer_list<const char *> files, const std::string &called, const std::string &absent, const std::string &old = "")
        : called_(called), old_(old) {
        for (const char *file : files) {
            library_ = library_ == nullptr ? dlopen(file, RTLD_NOW | RTLD_LOCAL) : library_;
        }
        if (library_ == nullptr) {
            missing_ = called + " cannot be loaded: " + absent;
        }
    }

    /// Looks a function up; of those that are not there missing() names the first.
    template<typename Function>
    void find(const char *name, Function *&function) {
        function = library_ != nullptr ? reinterpret_cast<Function *>(dlsym(library_, name)) : nullptr;
        if (function == nullptr && missing_.empty()) {
            missing_ = called_ + " lacks " + name + old_;
        }
    }
    /// Why it cannot be used; empty when it can.
    const std::string &missing() const {
        return missing_;
    }

private:
    const std::string called_, old_;
    void *library_ = nullptr;
    std::string missing_;
};

}  // namespace fourfold
