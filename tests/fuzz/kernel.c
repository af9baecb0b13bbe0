// tests/fuzz/kernel.c - any bytes as a kernel file: read it, then lower each kernel for its cards,
// or for a specialisation made up from its parameters. Whatever the text, it is IR that verifies
// and whose text reads back to itself, or an error with a code; never an internal one (E9999).
#include <stdlib.h>

#include "compiler/source.h"
#include "ir/text.h"
#include "ir/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_round_trip(Str tile, Arena *arena)
{
    Diag diag;
    StrBuf again = {0};
    diag_init(&diag, heap_default());
    Module *m = module_new(arena, &diag);
    if (module_parse(m, "fuzz.tile", tile) != KILN_OK || module_verify(m, &diag) != KILN_OK)
        abort();
    func_print(m->funcs.data[0], &again);
    if (!str_eq((Str){again.data, again.len}, tile)) abort();
    strbuf_free(&again);
    diag_reset(&diag);
}

static void lower(const Source *s, const Spec *spec)
{
    Diag diag;
    Arena arena;
    StrBuf tile = {0}, ast = {0};
    Code code = {0};
    Target target = {.kind = TARGET_INTERP};
    Emit emit = {.tile = &tile, .ast = &ast};
    diag_init(&diag, heap_default());
    arena_init(&arena, heap_default());
    KilnStatus st = compile_kernel(s, spec, &target, &emit, &code, &diag);
    if ((st != KILN_OK) != (diag.n_errors > 0)) abort();
    for (int32_t i = 0; i < diag.items.len; i++)
        if (!strcmp(diag.items.data[i]->code, "E9999")) abort();
    if (st == KILN_OK && tile.len < 100000) must_round_trip((Str){tile.data, tile.len}, &arena);
    StrBuf messages = {0};
    diag_render(&diag, &messages);
    strbuf_free(&messages);
    (void)compile_key(s, spec, &target);
    strbuf_free(&tile);
    strbuf_free(&ast);
    code_free(&code);
    arena_reset(&arena);
    diag_reset(&diag);
}

/// Pointers to f32 and the constant 16, in turn with scalars: enough to get past the signature.
static void made_up(const Source *s, const char *name, Arena *arena)
{
    const JitFunc *f = source_func(s, str_of(name));
    StrBuf text = {0};
    Spec spec;
    strbuf_printf(&text, "%s(", name);
    for (int32_t i = 0; i < f->def->list.len; i++) {
        Str param = f->def->list.data[i]->text;
        bool is_const = f->def->list.data[i]->a != NULL;
        strbuf_printf(&text, "%s%.*s%s", i ? ", " : "", STR_ARG(param),
                      is_const     ? "=16"
                      : i % 3 == 2 ? ": i32"
                                   : ": *f32:16");
    }
    strbuf_puts(&text, ")");
    if (spec_parse(s, (Str){text.data, text.len}, arena, &spec, NULL) == KILN_OK) lower(s, &spec);
    strbuf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MOST = 3 }; // kernels, and cards of each
    Diag diag;
    Arena arena;
    Source *s = NULL;
    diag_init(&diag, heap_default());
    arena_init(&arena, heap_default());
    KilnStatus st = source_from_text("fuzz.py", (Str){(const char *)data, size}, &s, &diag);
    if ((st == KILN_OK) != (s != NULL) || (st != KILN_OK) != (diag.n_errors > 0)) abort();
    for (int32_t k = 0; s && k < source_n_kernels(s) && k < MOST; k++) {
        int32_t n;
        Card *cards;
        if (source_cards(s, source_kernel(s, k), &arena, &n, &cards, &diag) == KILN_OK)
            for (int32_t i = 0; i < n && i < MOST; i++)
                lower(s, &cards[i].spec);
        made_up(s, source_kernel(s, k), &arena);
    }
    source_close(s);
    arena_reset(&arena);
    diag_reset(&diag);
    return 0;
}
