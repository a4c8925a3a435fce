// What the commands that measure candidates do to their own process.
#pragma once

#include <sys/types.h>

namespace fourfold::cli {

/// The candidates are not the application: nothing is captured and no choice is taken from the environment, nor, if `block_lists`,
/// what it blocks. To be called before the first plan.
void ignore_environment(bool block_lists);

/// From now on SIGINT and SIGTERM only set is_stopped(), and a child that has died does not end us (SIGPIPE).
void stop_on_signals();
bool is_stopped();

/// fork(), whose child gets `signal` when this process (or the thread that calls) ends, however it does: nobody is left behind.
pid_t fork_bound(int signal);

}  // namespace fourfold::cli
