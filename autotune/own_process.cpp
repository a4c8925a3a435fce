#include "own_process.h"

#include <sys/prctl.h>
#include <unistd.h>

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

pid_t fork_bound(int signal) {
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, signal);
        if (::getppid() != parent) {
            ::_exit(127);
        }
    }
    return child;
}

}  // namespace fourfold::cli
