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

/// Ends the test where `has` is false: scripts/cuda-tools fetches `tool`.
static inline void needs_tool(bool has, const char *tool)
{
    const char *ci = getenv("CI");
    if (has) return;
    cr_assert(!ci || strcmp(ci, "true") != 0,
              "CI=true, and no %s here; scripts/cuda-tools fetches it", tool);
    cr_skip_test("no %s here; scripts/cuda-tools fetches it", tool);
}
#endif
