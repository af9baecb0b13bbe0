// tests/runtime/test_pool.c - every task once, whoever runs it. (pool_stress.c is for the thread sanitizer.)
#include <criterion/criterion.h>

#include "tests/runtime/pool_tally.h"

static Pool *pool_of(int32_t n_threads, int32_t spin_us)
{
    Pool *p;
    PoolOptions o = {.n_threads = n_threads, .crowd = true, .spin_us = spin_us};
    cr_assert_eq(pool_open(heap_default(), &o, &p, NULL), KILN_OK);
    cr_assert_eq(pool_n_threads(p), n_threads);
    return p;
}

Test(pool, runs_every_task_once)
{
    static Tally t;
    for (int32_t n_threads = 1; n_threads <= 6; n_threads++) {
        Random r = {(uint64_t)n_threads};
        t = (Tally){.slow_task = -1};
        Pool *p = pool_of(n_threads, n_threads % 3 == 0 ? -1 : 0);
        for (int32_t job = 0; job < 400; job++) {
            int64_t n = random_below(&r, job % 10 ? 40 : MAX_TASKS);
            cr_assert(ran_once(p, &t, n), "%d threads, job %d of %d tasks", n_threads, job, (int)n);
            if (job % 100 == 99) nap_us(3000); // the workers sleep, and have to be woken
        }
        pool_close(p);
    }
}

// Short jobs one after another: a worker that wakes for job j often finds job j + 1 or j + 9 set up.
Test(pool, gives_no_task_to_a_late_worker)
{
    static Tally even, odd;
    even.slow_task = odd.slow_task = -1;
    Pool *p = pool_of(4, 0);
    for (int32_t job = 0; job < 20000; job++) {
        Tally *t = job % 2 ? &odd : &even;
        cr_assert(ran_once(p, t, 2 + job % 5), "job %d", job);
    }
    pool_close(p);
}

Test(pool, steals_from_a_thread_that_is_held_up)
{
    static Tally t;
    Pool *p = pool_of(2, 0);
    t.slow_task = 0; // thread 0 starts with it; its half is 0 .. 49
    cr_assert(ran_once(p, &t, 100));
    int32_t most = MAX(t.by[0], t.by[1]);
    cr_expect_gt(most, 50, "the other thread did %d of 100 tasks", most);
    pool_close(p);
}

Test(pool, runs_one_task_on_the_caller)
{
    static Tally t = {.slow_task = -1};
    Pool *p = pool_of(3, 0);
    cr_assert(ran_once(p, &t, 1));
    cr_assert(ran_once(p, &t, 0));
    cr_expect_eq(t.by[0], 1);
    pool_close(p);
}

Test(pool, never_takes_more_threads_than_cpus)
{
    Pool *p;
    cr_assert_eq(pool_open(heap_default(), &(PoolOptions){.n_threads = 200}, &p, NULL), KILN_OK);
    cr_expect_eq(pool_n_threads(p), MIN(200, pool_host_cpus()));
    pool_close(p);
    pool_close(NULL);
}

Test(pool, reports_memory_that_ran_out)
{
    for (int64_t at = 1; at <= 2; at++) {
        Heap h;
        heap_init(&h);
        h.fail_at = at;
        Pool *p;
        cr_expect_eq(pool_open(&h, &(PoolOptions){.n_threads = 2}, &p, NULL), KILN_ERR_NOMEM);
        cr_expect_null(p);
        cr_expect_eq(h.n_live, 0);
    }
}
