#include "progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include <fmt/format.h>

#include "clock.h"

namespace fourfold::cli {
namespace {

constexpr int kBarWidth = 30;
constexpr double kLineSeconds = 10.0;  // between plain lines
constexpr double kTickSeconds = 0.25;

}  // namespace

std::string duration_text(double seconds) {
    const auto whole = static_cast<int64_t>(std::llround(std::max(seconds, 0.0)));
    const int64_t h = whole / 3600, m = whole / 60 % 60, s = whole % 60;
    return h > 0 ? fmt::format("{}:{:02}:{:02}", h, m, s) : fmt::format("{}:{:02}", m, s);
}

Progress::Progress(double total, int steps, double budget)
    : total_(total), budget_(budget), started_(now()), last_line_(started_ - kLineSeconds), steps_(steps), terminal_(::isatty(STDERR_FILENO) == 1) {
}

Progress::~Progress() {
    clear();
    if (!terminal_ && step_ == steps_) {
        fmt::print(stderr, "{} of {}, {} elapsed\n", step_, steps_, duration_text(now() - started_));
    }
}

void Progress::begin(const std::string &label) {
    label_ = label;
    draw();
}

void Progress::tick() {
    if (now() - last_drawn_ >= kTickSeconds) {
        draw();
    }
}

void Progress::advance(double weight) {
    done_ += weight;
    ++step_;
    draw();
}

void Progress::clear() {
    if (terminal_) {
        fmt::print(stderr, "\r\x1b[K");
    }
}

void Progress::draw() {
    last_drawn_ = now();
    const double elapsed = last_drawn_ - started_, share = total_ > 0 ? std::min(done_ / total_, 1.0) : 1.0;
    // The first steps say too little about the rest.
    const double rest = share > 0.02 ? elapsed / share - elapsed : budget_ - elapsed;
    const std::string left = share > 0.02 || budget_ > 0.0 ? duration_text(budget_ > 0.0 ? std::min(rest, budget_ - elapsed) : rest) : "?:??";
    if (terminal_) {
        const int filled = static_cast<int>(share * kBarWidth);
        clear();
        fmt::print(stderr, "[{:#<{}}{:.<{}}] {}/{}  ETA {}  {:.40}", "", filled, "", kBarWidth - filled, step_, steps_, left, label_);
        std::fflush(stderr);
    } else if (now() - last_line_ >= kLineSeconds) {
        fmt::print(stderr, "{} of {} ({:.0f}%), {} elapsed, ETA {}: {}\n", step_, steps_, 100 * share, duration_text(elapsed), left, label_);
        last_line_ = now();
    }
}

}  // namespace fourfold::cli
