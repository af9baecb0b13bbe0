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

typedef struct Chain {
    Fiber *fibers[4];
    int32_t order[16], n;
} Chain;

typedef struct Link {
    Chain *chain;
    int32_t id;
} Link;

/// Says its number twice; between the two it hands on to the next fiber, the last to the resumer.
static void say_twice(void *user)
{
    Link *l = user;
    Chain *c = l->chain;
    c->order[c->n++] = l->id;
    bool passed = l->id < 3 && fiber_pass(c->fibers[l->id], c->fibers[l->id + 1]);
    if (!passed) fiber_yield(c->fibers[l->id]);
    c->order[c->n++] = l->id;
}

Test(fiber, a_fiber_hands_on_and_the_last_one_goes_back_to_the_resumer)
{
    Chain c = {0};
    Link links[4];
    for (int32_t i = 0; i < 4; i++) {
        c.fibers[i] = fiber_new();
        links[i] = (Link){&c, i};
        fiber_start(c.fibers[i], say_twice, &links[i]);
    }
    fiber_resume(c.fibers[0]);
    bool can_pass = c.n == 4; // builds with sanitizers yield instead
    for (int32_t i = can_pass ? 4 : 1; i < 4; i++)
        fiber_resume(c.fibers[i]);
    cr_assert_eq(c.n, 4);
    for (int32_t i = 3; i >= 0; i--)
        cr_expect_not(fiber_resume(c.fibers[i]), "fiber %d is done", i);
    static const int32_t want[] = {0, 1, 2, 3, 3, 2, 1, 0};
    for (int32_t i = 0; i < 8; i++)
        cr_expect_eq(c.order[i], want[i], "step %d is fiber %d", i, c.order[i]);
    for (int32_t i = 0; i < 4; i++)
        fiber_free(c.fibers[i]);
}
