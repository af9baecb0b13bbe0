// runtime/format/guard.c - one setjmp, in a function that keeps nothing else.
#include "runtime/format/guard.h"

KilnStatus guard_run(Arena *arena, GuardBody *body, void *cx, const char *what, Diag *diag)
{
    jmp_buf escape, *outer = arena->escape;
    if (setjmp(escape)) {
        arena->escape = outer;
        return fail(diag, KILN_ERR_NOMEM, "K102", "%s: out of memory after %zu bytes", what,
                    arena->used_bytes);
    }
    arena->escape = &escape;
    KilnStatus st = body(cx, diag);
    arena->escape = outer;
    return st;
}
