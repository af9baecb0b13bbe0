// runtime/format/guard.h - the edge where "the arena ran dry" becomes a status.
//
// Loaders allocate from an arena without looking; guard_run() catches the jump. So whatever a body
// holds besides its arena (mappings, documents) must hang off `cx` before it allocates, and be
// released there.
#ifndef RUNTIME_FORMAT_GUARD_H
#define RUNTIME_FORMAT_GUARD_H
#include "base/diag.h"

typedef KilnStatus GuardBody(void *cx, Diag *diag);

/// Runs `body(cx, diag)` with an escape on `arena`, and puts the former one back.
/// @param what  named in the message when memory runs out
/// @return what the body returns; KILN_ERR_NOMEM: K102
MUST_USE KilnStatus guard_run(Arena *arena, GuardBody *body, void *cx, const char *what,
                              Diag *diag);
#endif
