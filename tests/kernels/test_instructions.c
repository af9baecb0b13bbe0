// tests/kernels/test_instructions.c - products of packed weights are made by the instructions that are there for them.
//
//   level    weights           instruction
//   avx512   all packed        vpdpbusd      four products of bytes, added to an int
//   avx2     nibbles, K types  vpmaddubsw    two products of bytes; pairs are summed in 16 bits, so that vpmaddwd, which
//                                            widens them, comes once for several: the ranges of codes are known
//            Q8_0              vpmadd...     in bytes or in 16 bits
//
// A dot that fell back to plain multiplications would still be right, and several times slower.
#include <criterion/criterion.h>

#include "tests/kernels/rung.h"

TestSuite(instructions, .timeout = 300);

static int32_t count_of(const StrBuf *assembly, const char *mark)
{
    int32_t n = 0;
    for (const char *at = assembly->data; at && (at = strstr(at, mark)); at += strlen(mark))
        n++;
    return n;
}

static DType type_of(const Card *card, const char *name)
{
    for (int32_t i = 0; i < card->spec.n_params; i++)
        if (card->spec.params[i].kind == SPEC_PTR && !strcmp(card->spec.params[i].name, name))
            return card->spec.params[i].dtype;
    return DTYPE_VOID;
}

static void compile(KernelFile *f, const Card *card, const char *level, StrBuf *assembly)
{
    Diag diag;
    Target target;
    Code code;
    diag_init(&diag, heap_default());
    cr_assert_eq(target_parse(level, &target, &diag), KILN_OK);
    KilnStatus st = compile_kernel(f->source, &card->spec, &target, &(Emit){.assembly = assembly},
                                   &code, &diag);
    cr_assert_eq(st, KILN_OK, "%s for %s: %s", spec_text(&f->arena, &card->spec), level,
                 diag_first(&diag));
    code_free(&code);
    diag_reset(&diag);
}

/// Cards of `func` whose x is int8. @return how many
static int32_t expect_products(const char *file, const char *func)
{
    KernelFile f;
    int32_t n = 0;
    file_up(&f, file, NULL, func);
    for (int32_t i = 0; i < f.n_cards; i++) {
        const Card *card = &f.cards[i];
        if (type_of(card, "x") != DTYPE_I8) continue;
        const char *text = spec_text(&f.arena, &card->spec);
        StrBuf wide = {0}, narrow = {0};
        n++;
        compile(&f, card, "cpu:avx512", &wide);
        cr_expect_gt(count_of(&wide, "vpdpbusd"), 0, "%s has no vpdpbusd", text);
        cr_expect_eq(count_of(&wide, "vpmulld"), 0, "%s multiplies ints one by one", text);
        compile(&f, card, "cpu:avx2", &narrow);
        int32_t products = count_of(&narrow, "vpmaddubsw"), widened = count_of(&narrow, "vpmaddwd");
        cr_expect_gt(products + widened, 0, "%s has neither vpmaddubsw nor vpmaddwd", text);
        cr_expect_eq(count_of(&narrow, "vpmulld"), 0, "%s multiplies ints one by one", text);
        if (type_of(card, "w") == DTYPE_U8)
            cr_expect(
                products > 0 && 2 * widened <= products,
                "%s: %d vpmaddubsw, %d vpmaddwd: codes of a known range are summed in 16 bits",
                text, products, widened);
        strbuf_free(&wide);
        strbuf_free(&narrow);
    }
    file_down(&f);
    return n;
}

Test(instructions, panels_of_bytes_and_nibbles_meet_the_products_of_bytes)
{
    cr_expect_geq(expect_products("panel.py", "panel"), 4);
}

Test(instructions, panels_of_k_types_meet_the_products_of_bytes)
{
    cr_expect_geq(expect_products("panel_k.py", "panel_k"), 12);
}
