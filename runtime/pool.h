// runtime/pool.h - threads that run the tasks of one launch after another.
//
//   tasks      0 1 2 3 4 5 | 6 7 8 9 10 11        each thread walks its own half forward ...
//   thread 0   0 1 2 3 4 5 .           then takes 11, 10 from the back of the other half
//   thread 1               6 7 8 9                ... and steals when it is done
//
// A contiguous range per thread keeps one linear memory stream per thread; a shared counter would
// interleave the addresses and cost 10 to 30 % of bandwidth. A claim is a compare-and-swap on
// (generation, begin, end) of a range, so a thread that wakes late can never take a task of a newer
// job. Workers spin for about 20 us and then sleep on a futex; when a neighbour keeps the workers from
// their share they sleep at once for a while. Running a job allocates nothing.
//
// Threads  pool_run may be called from any thread, one job at a time (callers queue on a lock);
//          a task must not call pool_run
// Tests    tests/runtime/test_pool.c
#ifndef RUNTIME_POOL_H
#define RUNTIME_POOL_H
#include "base/diag.h"

typedef struct Pool Pool;

typedef struct PoolOptions {
    int32_t
        n_threads; ///< with the caller; 0: one per CPU this process may use; never more than that, unless
    bool crowd;      ///< more threads than CPUs are wanted: for tests
    bool pin;        ///< workers (never the caller) stay on one CPU each
    int32_t spin_us; ///< before a sleep; 0: the default 20; negative: none
} PoolOptions;

/// One task. `thread` is 0 for the caller of pool_run, 1 .. n_threads - 1 for workers.
typedef void (*PoolTask)(void *user, int32_t thread, int64_t task);

enum { POOL_MAX_THREADS = 256, POOL_MAX_TASKS = (1 << 18) - 1 };

/// Starts the workers. @param out owned: pool_close()
/// @return KILN_OK; KILN_ERR_NOMEM: no memory, or the system gave no thread
MUST_USE KilnStatus pool_open(Heap *heap, const PoolOptions *options, Pool **out, Diag *diag);
/// Ends the workers. NULL is fine.
void pool_close(Pool *p);
int32_t pool_n_threads(const Pool *p);
/// Runs tasks 0 .. n_tasks - 1 (at most POOL_MAX_TASKS), in any order, and returns when all are done.
void pool_run(Pool *p, PoolTask task, void *user, int64_t n_tasks);
/// CPUs this process may run on.
int32_t pool_host_cpus(void);
#endif
