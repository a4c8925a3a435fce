#include "capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <set>
#include <string>

#include "plan_measure.h"
#include "record.h"
#include "registry.h"

namespace fourfold {
namespace {

thread_local int parts = 0;

}  // namespace

PlansOfParts::PlansOfParts() {
    parts++;
}

PlansOfParts::~PlansOfParts() {
    parts--;
}

void capture(const Conv2dProblem &problem) {
    static const char *const path = environment("FOURFOLD_CAPTURE");
    if (path == nullptr || *path == '\0' || parts > 0 || measuring_choices()) {
        return;
    }
    static std::mutex mutex;
    static std::set<std::string> seen;
    const std::string text = tuning_problem(problem).to_string();
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

}  // namespace fourfold
