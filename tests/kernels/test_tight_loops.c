// tests/kernels/test_tight_loops.c - the innermost loops of panel products: nothing leaves registers, nothing is done twice.
//
//   for block:                          sums of a block live here ...
//     for 4 k:  load, decode, multiply  ... and this loop writes no vector to memory
//     acc += float(sum) * scale
//
// A sum that is spilled, a weight that is decoded once per row, an address that is computed per product: all would give
// the right answer, at a fraction of the speed. So instructions are counted, in the loop that makes most products.
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/kernels/rung.h"

TestSuite(tight_loops, .timeout = 120);

typedef struct Expected {
    const char *type; ///< of w
    int32_t rows, panels;
    const char *level, *product;
    int32_t products, most; ///< in one pass of the loop: products, and instructions of every kind
} Expected;

// At one row a pass is half a block or all of it, with its scales; else 4 k. `most` is what was seen, and a tenth.
static const Expected table[] = {
    {"i8", 1, 1, "cpu:avx2", "vpmaddwd", 16, 90},   {"i8", 4, 1, "cpu:avx2", "vpmaddwd", 16, 60},
    {"i8", 32, 4, "cpu:avx2", "vpmaddwd", 16, 53},  {"u8", 1, 1, "cpu:avx2", "vpmaddubsw", 8, 44},
    {"u8", 2, 1, "cpu:avx2", "vpmaddubsw", 8, 36},  {"u8", 4, 1, "cpu:avx2", "vpmaddubsw", 16, 60},
    {"i8", 1, 1, "cpu:avx512", "vpdpbusd", 16, 72}, {"i8", 4, 2, "cpu:avx512", "vpdpbusd", 10, 28},
    {"u8", 1, 1, "cpu:avx512", "vpdpbusd", 8, 57},  {"u8", 4, 2, "cpu:avx512", "vpdpbusd", 16, 45},
};

/// A loop of one block of instructions, "[begin, end)" of the text.
typedef struct Tight {
    const char *begin, *end;
    int32_t products, instructions, stores;
} Tight;

/// vmov... %ymm3, 16(%rsp)
static bool is_store(const char *line, size_t len)
{
    const char *name = line + strspn(line, "\t "), *end = line + len;
    const char *operand = name + strcspn(name, "\t ");
    operand += strspn(operand, "\t ");
    bool moves = !strncmp(name, "vmov", 4) || !strncmp(name, "vextract", 8);
    return moves && operand < end && *operand == '%' && end[-1] == ')';
}

static void count_line(Tight *t, const char *line, size_t len, const char *product)
{
    const char *name = line + strspn(line, "\t ");
    if (name >= line + len || *name == '.' || *name == '#') return;
    t->instructions++;
    t->products += !strncmp(name, product, strlen(product));
    t->stores += is_store(line, len);
}

/// The loop with most products among those without a label inside: from a label to a jump back to it.
static Tight tightest(const char *text, const char *product)
{
    Tight best = {0}, here = {0};
    char label[32] = "?";
    for (const char *line = text, *next; line && *line; line = next) {
        const char *end = strchr(line, '\n');
        size_t len = end ? (size_t)(end - line) : strlen(line);
        next = end ? end + 1 : NULL;
        if (*line == '.' && memchr(line, ':', len)) {
            here = (Tight){.begin = line};
            snprintf(label, sizeof label, "%.*s", (int)strcspn(line, ":"), line);
            continue;
        }
        count_line(&here, line, len, product);
        const char *at = line + strspn(line, "\t ");
        size_t n = strlen(label);
        if (*at != 'j' || len < n || strncmp(line + len - n, label, n) != 0) continue;
        here.end = line + len;
        if (here.products > best.products) best = here;
    }
    return best;
}

static void check(const Expected *e)
{
    KernelFile f;
    Diag diag;
    Spec spec;
    Target target;
    Code code;
    StrBuf assembly = {0};
    diag_init(&diag, heap_default());
    file_up(&f, "panel.py", NULL, "panel");
    const char *text = arena_printf(&f.arena,
                                    "panel(y: *f32:16, x: *i8:16, xs: *f32:16, xc: *i32:16, w: "
                                    "*%s:16, ws: *f16:16, bias: None, rows: *i32, "
                                    "N: i32:16, K: i32:16, sy: i32:16, sx: i32:16, BLOCK_M=%d, "
                                    "PANELS=%d)[num_warps=4, num_stages=3]",
                                    e->type, (int)e->rows, (int)e->panels);
    cr_assert_eq(spec_parse(f.source, str_of(text), &f.arena, &spec, &diag), KILN_OK);
    cr_assert_eq(target_parse(e->level, &target, &diag), KILN_OK);
    KilnStatus st =
        compile_kernel(f.source, &spec, &target, &(Emit){.assembly = &assembly}, &code, &diag);
    cr_assert_eq(st, KILN_OK, "%s for %s: %s", text, e->level, diag_first(&diag));
    Tight t = tightest(assembly.data, e->product);
    const char *what = arena_printf(&f.arena, "%s %s, %d rows, %d panels, %s", "panel", e->type,
                                    (int)e->rows, (int)e->panels, e->level);
    cr_expect_eq(t.products, e->products, "%s: a pass makes %d products by %s, not %d", what,
                 t.products, e->product, e->products);
    cr_expect_eq(t.stores, 0, "%s: %d vectors leave registers in\n%.*s", what, t.stores,
                 (int)(t.end - t.begin), t.begin);
    cr_expect_leq(t.instructions, e->most, "%s: %d instructions for %d products in\n%.*s", what,
                  t.instructions, t.products, (int)(t.end - t.begin), t.begin);
    strbuf_free(&assembly);
    code_free(&code);
    file_down(&f);
    diag_reset(&diag);
}

Test(tight_loops, products_of_panels_keep_their_sums_in_registers_and_decode_weights_once)
{
    for (int32_t i = 0; i < COUNT_OF(table); i++)
        check(&table[i]);
}

// The counting itself: a store, a spill and a loop inside another are told apart.
Test(tight_loops, a_spill_is_seen)
{
    const char *text =
        ".LBB0_1:\n\tvpmaddwd\t%ymm1, %ymm2, %ymm3\n\tjl\t.LBB0_2\n"
        ".LBB0_2:\n\tvmovdqu\t(%rax), %ymm1\n\tvpmaddwd\t%ymm1, %ymm2, %ymm3\n"
        "\tvpmaddwd\t32(%rsp), %ymm2, %ymm3\n\tvmovdqu\t%ymm3, 16(%rsp)\n\tjl\t.LBB0_2\n";
    Tight t = tightest(text, "vpmaddwd");
    cr_expect_eq(t.products, 2);
    cr_expect_eq(t.stores, 1);
    cr_expect_eq(t.instructions, 5);
}
