// base/arena.h - bump memory: many small things that go together.
//
//   chunk [##########......]   alloc moves the top up; mark remembers it; release moves it back
//
// One arena per compilation holds AST, IR, layouts and strings. Nothing in it is freed one by one.
// When memory runs out an arena jumps to `escape` if its owner set one (the compile driver does, and
// answers KILN_ERR_NOMEM); otherwise it stops the process. So no caller checks for NULL.
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <setjmp.h>
#include <stdarg.h>

#include "base/heap.h"

typedef struct ArenaChunk ArenaChunk;
typedef struct Arena {
    Heap *heap;
    ArenaChunk *chunk; ///< newest first
    char *top, *end;
    size_t used_bytes; ///< handed out and not released
    jmp_buf *escape;   ///< borrowed; NULL: out of memory stops the process
} Arena;

typedef struct ArenaMark {
    ArenaChunk *chunk;
    char *top;
    size_t used_bytes;
} ArenaMark;

void arena_init(Arena *a, Heap *heap);
/// Frees everything. The arena can be used again.
void arena_reset(Arena *a);
ArenaMark arena_mark(const Arena *a);
void arena_release(Arena *a, ArenaMark mark);

/// @return `size` zeroed bytes, arena; never NULL
void *arena_alloc(Arena *a, size_t size, size_t align);
void *arena_alloc_array(Arena *a, size_t size, size_t count, size_t align);
#define arena_new(a, T) ((T *)arena_alloc((a), sizeof(T), _Alignof(T)))
#define arena_array(a, T, count)                                                                   \
    ((T *)arena_alloc_array((a), sizeof(T), (size_t)(count), _Alignof(T)))

/// NUL-terminated copies and prints, arena.
char *arena_strndup(Arena *a, const char *text, size_t len);
char *arena_strdup(Arena *a, const char *text);
char *arena_printf(Arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
char *arena_vprintf(Arena *a, const char *fmt, va_list args);
#endif
