// tests/support/skip.h - leaving a test out, and where that is a failure.
//
// A machine may lack a GPU, an instruction set, or the data beside the checkout: then a test says so and is skipped.
// It may lack a tool that can be installed: then it is skipped too, but under CI=true, where everything that
// can be installed is expected, it fails.
#ifndef TESTS_SUPPORT_SKIP_H
#define TESTS_SUPPORT_SKIP_H
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static inline bool skips_are_failures(void)
{
    const char *ci = getenv("CI");
    return ci && !strcmp(ci, "true");
}

/// Ends the test when `found` is false: `what` can be installed.
#define NEEDS_TOOL(found, what)                                                                    \
    do {                                                                                           \
        if (!(found) && skips_are_failures()) cr_assert_fail("CI=true, and there is no " what);    \
        if (!(found)) cr_skip_test("no " what " here");                                            \
    } while (0)
#endif
