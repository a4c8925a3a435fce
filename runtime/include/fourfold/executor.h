/// @file
/// Where parallel work runs. The library starts no thread of its own besides the default pool, and none when the caller
/// passes an Executor.
#pragma once

namespace fourfold {

/// Runs jobs on somebody's threads. Implement this to put fourfold on your own pool.
class Executor {
public:
    virtual ~Executor() = default;

    /// Calls job(argument, i) once for each i in [0, jobs), in any order and on any threads (all on the calling thread is
    /// fine), and returns when all have returned. Must not throw. Jobs never wait for each other and never block, so
    /// nested and concurrent calls are safe on any pool that runs what it is given. `jobs` is at most the plan's threads.
    virtual void run(int jobs, void (*job)(void *argument, int index), void *argument) = 0;
};

/// The process-wide pool: one worker per hardware thread less one (the caller works too), started at first use with more
/// than one job. After fork() the child has no workers and runs everything on the calling thread: plans made before may be
/// executed there, and new ones made unless another of the parent's threads was planning at the fork.
Executor &default_executor();

}  // namespace fourfold
