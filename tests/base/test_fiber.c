// tests/base/test_fiber.c - stacks that take turns.
#include <criterion/criterion.h>

#include "base/fiber.h"

typedef struct Count {
    int32_t n;
    double kept;
} Count;

static void count_to_three(void *user)
{
    Count *c = user;
    for (int32_t i = 0; i < 3; i++) {
        double local = c->n * 0.5;
        c->n++;
        fiber_yield(fiber_self());
        c->kept += local;
    }
}

Test(fiber, fibers_keep_their_locals_while_others_run)
{
    enum { N = 200 };
    Fiber *f[N];
    Count c[N] = {{0}};
    for (int32_t i = 0; i < N; i++) {
        f[i] = fiber_new();
        cr_assert_not_null(f[i]);
        fiber_start(f[i], count_to_three, &c[i]);
    }
    for (int32_t round = 0; round < 4; round++)
        for (int32_t i = 0; i < N; i++)
            cr_assert_eq(fiber_resume(f[i]), round < 3, "fiber %d round %d", i, round);
    for (int32_t i = 0; i < N; i++) {
        cr_assert_eq(c[i].n, 3);
        cr_assert_eq(c[i].kept, 1.5);
        fiber_free(f[i]);
    }
}

Test(fiber, a_finished_fiber_can_be_started_again)
{
    Fiber *f = fiber_new();
    for (int32_t round = 0; round < 3; round++) {
        Count c = {0};
        fiber_start(f, count_to_three, &c);
        cr_expect_eq(fiber_user(f), &c);
        while (fiber_resume(f)) {
        }
        cr_expect_eq(c.n, 3);
    }
    fiber_free(f);
}
