// tests/runtime/pool_stress.c - the pool under the thread sanitizer, which Criterion's processes do not survive.
//
// A plain program: exit 0 when every task of every job ran once, 1 otherwise; a data race is the sanitizer's exit.
#include <stdio.h>

#include "tests/runtime/pool_tally.h"

int main(void)
{
    static Tally jobs[2];
    for (int32_t n_threads = 2; n_threads <= 5; n_threads++) {
        Pool *p;
        PoolOptions o = {.n_threads = n_threads, .crowd = true, .spin_us = n_threads == 4 ? -1 : 0};
        Random r = {(uint64_t)n_threads};
        if (pool_open(heap_default(), &o, &p, NULL) != KILN_OK) return 1;
        for (int32_t job = 0; job < 3000; job++) {
            Tally *t = &jobs[job % 2];
            t->slow_task = -1;
            if (!ran_once(p, t, random_below(&r, job % 50 ? 9 : 1000))) {
                printf("%d threads: job %d\n", n_threads, job);
                return 1;
            }
            if (job % 500 == 499) nap_us(2000);
        }
        pool_close(p);
    }
    return 0;
}
