// tests/support/fixture.h - a counted heap, a Diag and an arena for each test; afterwards nothing
// may be left.
//
// Include after criterion; then TestSuite(name, .init = fixture_up, .fini = fixture_down).
#ifndef TESTS_SUPPORT_FIXTURE_H
#define TESTS_SUPPORT_FIXTURE_H
#include <criterion/criterion.h>

#include "base/diag.h"

static Heap heap; ///< for the object under test
static Diag diag;
static Arena arena; ///< for the test itself

static inline void fixture_up(void)
{
    heap_init(&heap);
    diag_init(&diag, heap_default());
    arena_init(&arena, heap_default());
}

static inline void fixture_down(void)
{
    cr_expect_eq(heap.n_live, 0, "%lld objects leaked", (long long)heap.n_live);
    arena_reset(&arena);
    diag_reset(&diag);
}

/// A copy of exactly `n` bytes, so that a sanitizer sees a read behind them. Freed by
/// heap_free(&heap, ...).
static inline char *exact_copy(const char *bytes, size_t n)
{
    char *copy = heap_alloc(&heap, n ? n : 1, 1);
    cr_assert_not_null(copy);
    if (n) memcpy(copy, bytes, n);
    return copy;
}

/// The first error must hold `says`.
static inline void expect_says(const char *says)
{
    cr_expect(strstr(diag_first(&diag), says) != NULL, "\"%s\" is not in: %s", says,
              diag_first(&diag));
}
#endif
