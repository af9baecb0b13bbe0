// tests/support/tile.h - an arena, a Diag and tile IR from text, for every test of the IR.
#ifndef TESTS_SUPPORT_TILE_H
#define TESTS_SUPPORT_TILE_H
#include <criterion/criterion.h>

#include "ir/text.h"
#include "ir/verify.h"

static Arena tile_arena;
static Diag tile_diag;

static inline void tile_up(void)
{
    arena_init(&tile_arena, heap_default());
    diag_init(&tile_diag, heap_default());
}

static inline void tile_down(void)
{
    diag_reset(&tile_diag);
    arena_reset(&tile_arena);
}

/// All messages so far; the caller frees.
static inline StrBuf tile_messages(void)
{
    StrBuf text = {0};
    diag_render(&tile_diag, &text);
    if (!text.data) strbuf_puts(&text, "");
    return text;
}

/// Parses `text`, which must be sound.
static inline Module *tile_module(const char *text)
{
    Module *m = module_new(&tile_arena, &tile_diag);
    KilnStatus st = module_parse(m, "test.tile", str_of(text));
    if (st == KILN_OK) st = module_verify(m, &tile_diag);
    StrBuf messages = tile_messages();
    cr_assert_eq(st, KILN_OK, "%s\nof\n%s", messages.data, text);
    strbuf_free(&messages);
    return m;
}

/// The first function of `text`.
static inline Func *tile_func(const char *text)
{
    return tile_module(text)->funcs.data[0];
}

/// The module as text, in the tests' arena.
static inline const char *tile_text(Module *m)
{
    StrBuf out = {0};
    module_print(m, &out);
    const char *copy = arena_strndup(&tile_arena, out.data ? out.data : "", out.len);
    strbuf_free(&out);
    return copy;
}
#endif
