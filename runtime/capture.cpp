#include "capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <set>
#include <string>

#include "fourfold/tuning.h"
#include "plan_measure.h"
#include "record.h"
#include "registry.h"

namespace fourfold {
namespace {

thread_local int parts = 0;

void capture_line(const std::string &text) {
    static const char *const path = environment("FOURFOLD_CAPTURE");
    if (path == nullptr || *path == '\0' || planning_parts() || measuring_choices()) {
        return;
    }
    static std::mutex mutex;
    static std::set<std::string> seen;
    std::lock_guard<std::mutex> lock(mutex);
    if (!seen.insert(text).second) {
        return;
    }
    std::string name = text;
    std::replace(name.begin(), name.end(), ' ', '_');
    std::replace(name.begin(), name.end(), ',', '.');
    const std::string line = name + "," + text + "\n";
    // One write a line, so that processes may share the file.
    const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0 || write(file, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
        static std::once_flag once;
        std::call_once(once, [] { std::fprintf(stderr, "fourfold: cannot write FOURFOLD_CAPTURE's file '%s'\n", path); });
    }
    if (file >= 0) {
        close(file);
    }
}

}  // namespace

PlansOfParts::PlansOfParts() {
    parts++;
}

PlansOfParts::~PlansOfParts() {
    parts--;
}

bool planning_parts() {
    return parts > 0;
}

void capture(const Conv2dProblem &problem) {
    capture_line(tuning_problem(problem).to_string());
}

void capture(const SpectralProblem &problem) {
    capture_line(problem.to_string());
}

bool is_verbose() {
    static const char *const value = environment("FOURFOLD_VERBOSE");
    return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
}

void say_planned(const std::string &problem, const std::string &choice, Tier tier, const std::string &why) {
    std::fprintf(stderr, "fourfold: %s -> %s (%s: %s)\n", problem.c_str(), choice.c_str(), to_string(tier), why.c_str());
}

}  // namespace fourfold
