#include "own_process.h"

#include <csignal>
#include <cstdlib>

namespace fourfold::cli {
namespace {

volatile std::sig_atomic_t interrupted = 0;

}  // namespace

void ignore_environment(bool block_lists) {
    ::unsetenv("FOURFOLD_CAPTURE");
    ::unsetenv("FOURFOLD_CHOICE");
    if (block_lists) {
        ::unsetenv("FOURFOLD_BLOCK");
    }
}

void stop_on_signals() {
    std::signal(SIGPIPE, SIG_IGN);
    struct sigaction action = {};
    action.sa_handler = [](int) { interrupted = 1; };
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
}

bool is_stopped() {
    return interrupted != 0;
}

}  // namespace fourfold::cli
