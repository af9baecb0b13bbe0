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

/// Ends the test where `has` is false: `how` brings `tool`.
static inline void needs(bool has, const char *tool, const char *how)
{
    const char *ci = getenv("CI");
    if (has) return;
    cr_assert(!ci || strcmp(ci, "true") != 0, "CI=true, and no %s here; %s", tool, how);
    cr_skip_test("no %s here; %s", tool, how);
}

static inline void needs_tool(bool has, const char *tool)
{
    needs(has, tool, "scripts/cuda-tools fetches it");
}

static inline void needs_package(bool has, const char *tool)
{
    needs(has, tool, "scripts/install-deps test installs it");
}
#endif
