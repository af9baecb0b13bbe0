#include "base/arena.h"

#include <stdio.h>

struct ArenaChunk {
    ArenaChunk *next;
    char *end;
    _Alignas(max_align_t) char bytes[];
};

enum { CHUNK_BYTES = 64 * 1024 };

void arena_init(Arena *a, Heap *heap)
{
    *a = (Arena){.heap = heap};
}

static void pop_chunks_until(Arena *a, const ArenaChunk *keep)
{
    while (a->chunk != keep) {
        ArenaChunk *next = a->chunk->next;
        heap_free(a->heap, a->chunk);
        a->chunk = next;
    }
}

void arena_reset(Arena *a)
{
    pop_chunks_until(a, NULL);
    a->top = a->end = NULL;
    a->used_bytes = 0;
}

ArenaMark arena_mark(const Arena *a)
{
    return (ArenaMark){a->chunk, a->top, a->used_bytes};
}

void arena_release(Arena *a, ArenaMark mark)
{
    pop_chunks_until(a, mark.chunk);
    a->top = mark.top;
    a->end = a->chunk ? a->chunk->end : NULL;
    a->used_bytes = mark.used_bytes;
}

static void out_of_memory(Arena *a)
{
    if (a->escape) longjmp(*a->escape, 1);
    BUG("out of memory in an arena of %zu bytes", a->used_bytes);
}

static void push_chunk(Arena *a, size_t need)
{
    size_t bytes = MAX(need, (size_t)CHUNK_BYTES);
    if (bytes > SIZE_MAX - sizeof(ArenaChunk)) out_of_memory(a);
    ArenaChunk *c = heap_alloc(a->heap, sizeof(ArenaChunk) + bytes, _Alignof(max_align_t));
    if (!c) out_of_memory(a);
    c->next = a->chunk;
    c->end = c->bytes + bytes;
    a->chunk = c;
    a->top = c->bytes;
    a->end = c->end;
}

static char *aligned(char *p, size_t align)
{
    return p + (-(uintptr_t)p & (align - 1));
}

void *arena_alloc(Arena *a, size_t size, size_t align)
{
    char *at = a->top ? aligned(a->top, align) : NULL;
    if (!at || at > a->end || size > (size_t)(a->end - at)) {
        if (size > SIZE_MAX - align) out_of_memory(a);
        push_chunk(a, size + align);
        at = aligned(a->top, align);
    }
    a->top = at + size;
    a->used_bytes += size;
    memset(at, 0, size); // a released mark leaves old bytes behind
    return at;
}

void *arena_alloc_array(Arena *a, size_t size, size_t count, size_t align)
{
    size_t bytes;
    if (__builtin_mul_overflow(size, count, &bytes)) out_of_memory(a);
    return arena_alloc(a, bytes, align);
}

char *arena_strndup(Arena *a, const char *text, size_t len)
{
    char *copy = arena_alloc(a, len + 1, 1);
    if (len) memcpy(copy, text, len);
    return copy;
}

char *arena_strdup(Arena *a, const char *text)
{
    return arena_strndup(a, text, strlen(text));
}

char *arena_vprintf(Arena *a, const char *fmt, va_list args)
{
    ASSERT(fmt); // and the sanitized build sees that it is never NULL
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    ASSERT(len >= 0);
    char *text = arena_alloc(a, (size_t)len + 1, 1);
    vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return text;
}

char *arena_printf(Arena *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = arena_vprintf(a, fmt, args);
    va_end(args);
    return text;
}
