// tests/runtime/pool_tally.h - a job that counts its tasks; shared by test_pool.c and pool_stress.c.
#ifndef TESTS_RUNTIME_POOL_TALLY_H
#define TESTS_RUNTIME_POOL_TALLY_H
#include <stdatomic.h>
#include <time.h>

#include "base/random.h"
#include "runtime/pool.h"

enum { MAX_TASKS = 5000 };

typedef struct Tally {
    _Atomic int32_t runs[MAX_TASKS]; ///< how often task i ran
    _Atomic int32_t by[16];          ///< tasks per thread
    _Atomic int32_t wrong;           ///< tasks out of range, or of a job that is over
    _Atomic bool open;               ///< between pool_run's begin and end
    int64_t n_tasks;
    int64_t plain;     ///< written by the caller, read by tasks: what the pool must order
    int32_t slow_task; ///< -1: none
} Tally;

static inline void nap_us(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static inline void tally(void *user, int32_t thread, int64_t task)
{
    Tally *t = user;
    if (task < 0 || task >= t->n_tasks || t->plain != t->n_tasks || !atomic_load(&t->open)) {
        atomic_fetch_add(&t->wrong, 1);
        return;
    }
    if (task == t->slow_task) nap_us(20000);
    atomic_fetch_add(&t->runs[task], 1);
    atomic_fetch_add(&t->by[thread], 1);
}

/// Runs one job and says whether each task ran exactly once.
static inline bool ran_once(Pool *p, Tally *t, int64_t n_tasks)
{
    memset(t->runs, 0, (size_t)n_tasks * sizeof t->runs[0]);
    t->n_tasks = t->plain = n_tasks;
    atomic_store(&t->open, true);
    pool_run(p, tally, t, n_tasks);
    atomic_store(&t->open, false);
    for (int64_t i = 0; i < n_tasks; i++)
        if (atomic_load(&t->runs[i]) != 1) return false;
    return atomic_load(&t->wrong) == 0;
}
#endif
