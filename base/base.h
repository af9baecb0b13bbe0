// base/base.h - attributes, assertions and the one macro that hides a jump.
//
// Floor 0 knows no tile, no kernel and no model: memory, text, numbers, files.
#ifndef BASE_BASE_H
#define BASE_BASE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <kiln.h>

#define MUST_USE          __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NORETURN          __attribute__((noreturn))
#define UNUSED            __attribute__((unused))
#define COUNT_OF(array)   ((int32_t)(sizeof(array) / sizeof((array)[0])))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/// Ends the process with file, line and message: our own mistake, never a stranger's input.
NORETURN void bug_at(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)

/// States an invariant; checked in debug, asan, tsan and fuzz builds.
#ifdef KILN_ASSERTS
#define ASSERT(cond) ((cond) ? (void)0 : bug_at(__FILE__, __LINE__, "assertion failed: %s", #cond))
#else
#define ASSERT(cond) ((void)sizeof(cond))
#endif

/// In a function with a local `KilnStatus st` and a label `done`: st = call; if not KILN_OK, goto done.
#define TRY(call)                                                                                  \
    do {                                                                                           \
        st = (call);                                                                               \
        if (st != KILN_OK) goto done;                                                              \
    } while (0)

static inline bool is_pow2(int64_t x)
{
    return x > 0 && (x & (x - 1)) == 0;
}

/// floor(log2(x)) for x >= 1.
static inline int32_t log2_floor(uint64_t x)
{
    return 63 - __builtin_clzll(x | 1);
}

static inline int64_t div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t round_up(int64_t a, int64_t multiple)
{
    return div_up(a, multiple) * multiple;
}

/// The smallest power of two >= x, for x >= 1.
static inline int64_t next_pow2(int64_t x)
{
    return x <= 1 ? 1 : (int64_t)1 << (log2_floor((uint64_t)x - 1) + 1);
}
#endif
