// tests/kernels/test_tight_loops.c - the innermost loops of panel products and attention: nothing leaves registers, nothing is
// done twice, and what comes next is asked for.
//
//   for block:                          sums of a block live here ...
//     for 4 k:  load, decode, multiply  ... and this loop writes no vector to memory
//     acc += float(sum) * scale
//
// A sum that is spilled, a weight that is decoded once per row, an address that is computed per product: all would give
// the right answer, at a fraction of the speed. So instructions are counted, in the loop that makes most products.
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/file.h"
#include "tests/kernels/rung.h"

TestSuite(tight_loops, .timeout = 120);

typedef struct Expected {
    const char *type; ///< of w
    int32_t rows, panels;
    const char *level, *product;
    int32_t products, most; ///< in one pass of the loop: products, and instructions of every kind
    int32_t stores;         ///< vectors that leave registers, at most
} Expected;

// At one row a pass is half a block or all of it, with its scales; else 4 k. `most` is what was seen, and a tenth.
static const Expected table[] = {
    {"i8", 1, 1, "cpu:avx2", "vpmaddwd", 16, 90},   {"i8", 4, 1, "cpu:avx2", "vpmaddwd", 16, 60},
    {"i8", 32, 4, "cpu:avx2", "vpmaddwd", 16, 53},  {"u8", 1, 1, "cpu:avx2", "vpmaddubsw", 8, 44},
    {"u8", 2, 1, "cpu:avx2", "vpmaddubsw", 8, 36},  {"u8", 4, 1, "cpu:avx2", "vpmaddubsw", 16, 60},
    {"i8", 1, 1, "cpu:avx512", "vpdpbusd", 16, 72}, {"i8", 4, 2, "cpu:avx512", "vpdpbusd", 10, 28},
    {"u8", 1, 1, "cpu:avx512", "vpdpbusd", 8, 57},  {"u8", 4, 2, "cpu:avx512", "vpdpbusd", 16, 45},
};

static bool type_is_codes(const Card *card)
{
    for (int32_t i = 0; i < card->spec.n_params; i++)
        if (!strcmp(card->spec.params[i].name, "x") && card->spec.params[i].kind == SPEC_PTR)
            return card->spec.params[i].dtype == DTYPE_I8;
    return false;
}

// A pass is 8 k, 4 for one row; with AVX-512 one. LLVM moves a load of x or w up here and there until it does not fit.
static const Expected plain[] = {
    {"f32", 1, 4, "cpu:avx2", "vfmadd", 32, 89, 0},
    {"f16", 1, 4, "cpu:avx2", "vfmadd", 32, 92, 1},
    {"bf16", 1, 4, "cpu:avx2", "vfmadd", 32, 120, 5},
    {"f32", 4, 1, "cpu:avx2", "vfmadd", 64, 150, 1},
    {"f16", 4, 1, "cpu:avx2", "vfmadd", 64, 150, 0},
    {"bf16", 4, 1, "cpu:avx2", "vfmadd", 64, 152, 0},
    {"f32", 1, 4, "cpu:avx512", "vfmadd", 16, 63, 0},
    {"f32", 8, 2, "cpu:avx512", "vfmadd", 16, 45, 0},
    {"f16", 8, 2, "cpu:avx512", "vfmadd", 16, 43, 0},
    {"bf16", 8, 2, "cpu:avx512", "vfmadd", 16, 40, 0},
};

/// A loop of one block of instructions, "[begin, end)" of the text.
typedef struct Tight {
    const char *begin, *end;
    int32_t products, instructions, stores, prefetches;
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
    t->prefetches += !strncmp(name, "prefetch", 8);
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

/// The tightest loop of `func` in `assembly`, which the caller frees.
static Tight tightest_of(const char *file, const char *func, const char *spec_words,
                         const char *level, const char *product, StrBuf *assembly)
{
    KernelFile f;
    Diag diag;
    Spec spec;
    Target target;
    Code code;
    diag_init(&diag, heap_default());
    file_up(&f, file, NULL, func);
    cr_assert_eq(spec_parse(f.source, str_of(spec_words), &f.arena, &spec, &diag), KILN_OK);
    cr_assert_eq(target_parse(level, &target, &diag), KILN_OK);
    KilnStatus st =
        compile_kernel(f.source, &spec, &target, &(Emit){.assembly = assembly}, &code, &diag);
    cr_assert_eq(st, KILN_OK, "%s for %s: %s", spec_words, level, diag_first(&diag));
    code_free(&code);
    file_down(&f);
    diag_reset(&diag);
    return tightest(assembly->data, product);
}

static void check(const Expected *e, const char *x, const char *scales, const char *ws)
{
    char text[512], what[128];
    StrBuf assembly = {0};
    snprintf(text, sizeof text,
             "panel(y: *f32:16, x: *%s:16, %s, w: *%s:16, ws: %s, bias: "
             "None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16, BLOCK_M=%d, "
             "PANELS=%d)[num_warps=4, num_stages=3]",
             x, scales, e->type, ws, (int)e->rows, (int)e->panels);
    snprintf(what, sizeof what, "panel %s, %d rows, %d panels, %s", e->type, (int)e->rows,
             (int)e->panels, e->level);
    Tight t = tightest_of("panel.py", "panel", text, e->level, e->product, &assembly);
    cr_expect_eq(t.products, e->products, "%s: a pass makes %d products by %s, not %d", what,
                 t.products, e->product, e->products);
    cr_expect_leq(t.stores, e->stores, "%s: %d vectors leave registers in\n%.*s", what, t.stores,
                  (int)(t.end - t.begin), t.begin);
    cr_expect_leq(t.instructions, e->most, "%s: %d instructions for %d products in\n%.*s", what,
                  t.instructions, t.products, (int)(t.end - t.begin), t.begin);
    bool is_streamed = e->rows == 1; // else rows of weights may be met again
    cr_expect(t.prefetches || !is_streamed, "%s: asks for nothing ahead in\n%.*s", what,
              (int)(t.end - t.begin), t.begin);
    strbuf_free(&assembly);
}

// A step of a dimension: two vectors of a page's keys, converted where they lie, by a number of each of 4 heads; and the
// same line of the next page is asked for.
Test(tight_loops, attention_reads_pages_where_they_lie_and_asks_for_the_next)
{
    enum { HEADS = 4, VECTORS = 2, STEP = HEADS * VECTORS + HEADS + VECTORS + 1, AROUND = 8 };
    static const char *const levels[] = {"cpu:avx2", "cpu:avx512"};
    for (int32_t i = 0; i < COUNT_OF(levels); i++) {
        char text[1024];
        StrBuf assembly = {0};
        snprintf(
            text, sizeof text,
            "attend(o: *f32:16, lse: None, q: *f32:16, k_page: *f16:16, v_page: *f16:16, k_scale: "
            "None, v_scale: None, q_start: *i32, slot_of: *i32, seqs: *i32, list_of: *i32, "
            "list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, "
            "max_visit: i32, n_blocks: i32, per: i32, layer0: i32, max_pages: i32, sq: i32:16, "
            "page_k: i32:16, page_v: i32:16, page_s: i32, scale: f32, G=%d, HEAD_DIM=64, PAGE=32, "
            "DIM_MAJOR=True, SPLITS=1, BLOCK_M=%d, BLOCK_D=64, KEYS=32)[num_warps=4, num_stages=3]",
            HEADS, HEADS);
        Tight t = tightest_of("attention.py", "attend", text, levels[i], "vfmadd231ps", &assembly);
        int32_t steps = t.products / (HEADS * VECTORS), len = (int32_t)(t.end - t.begin);
        cr_expect(steps && t.products % (HEADS * VECTORS) == 0, "%s: %d products", levels[i],
                  t.products);
        cr_expect_eq(t.stores, 0, "%s: %d vectors leave registers in\n%.*s", levels[i], t.stores,
                     len, t.begin);
        cr_expect_leq(t.instructions, steps * STEP + AROUND, "%s: %d instructions in\n%.*s",
                      levels[i], t.instructions, len, t.begin);
        cr_expect_eq(t.prefetches, steps, "%s: %d prefetches in\n%.*s", levels[i], t.prefetches,
                     len, t.begin);
        strbuf_free(&assembly);
    }
}

Test(tight_loops, products_of_panels_keep_their_sums_in_registers_and_decode_weights_once)
{
    for (int32_t i = 0; i < COUNT_OF(table); i++)
        check(&table[i], "i8", "xs: *f32:16, xc: *i32:16", "*f16:16");
}

Test(tight_loops, plain_weights_are_converted_where_they_lie_and_summed_in_registers)
{
    for (int32_t i = 0; i < COUNT_OF(plain); i++)
        check(&plain[i], "f32", "xs: None, xc: None", "None");
    const Expected pairs = {"bf16", 8, 2, "cpu:avx512", "vdpbf16ps", 16, 45, 0};
    check(&pairs, "bf16", "xs: None, xc: None", "None");
}

/// `text` with every `name=ints(..,..,` of its cards as `name=full(value,`.
static const char *filled(Arena *a, const char *text, const char *name, int32_t value)
{
    const char *from = arena_printf(a, " %s=ints(", name), *out = "";
    for (const char *at; (at = strstr(text, from)); text = at) {
        out = arena_printf(a, "%s%.*s %s=full(%d", out, (int)(at - text), text, name, (int)value);
        at = strchr(strchr(at, ',') + 1, ',');
    }
    return arena_printf(a, "%s%s", out, text);
}

/// All codes as large as they can be, in size: sums in 16 bits are as full as they get.
static void expect_extremes(const char *file, const char *func, int32_t x, int32_t w)
{
    Diag diag;
    Arena a;
    StrBuf text = {0};
    Target target, interp = {.kind = TARGET_INTERP};
    diag_init(&diag, heap_default());
    arena_init(&a, heap_default());
    cr_assert_eq(target_parse("cpu:avx2", &target, &diag), KILN_OK);
    const char *path = arena_printf(&a, "%s/kernels.dsl/%s", KILN_SOURCE_DIR, file);
    cr_assert_eq(file_read(path, &text, &diag), KILN_OK);
    const char *mine = filled(&a, text.data, "x", x);
    mine = filled(&a, filled(&a, mine, "w", w), "wh", w);
    cr_assert(strstr(mine, " x=full(") && strstr(mine, " w=full("), "%s has other cards", file);
    KernelFile f;
    file_up(&f, file, mine, func);
    Seen seen = {0};
    for (int32_t i = 0; i < f.n_cards; i++) {
        Rung oracle, rung;
        bool has_codes = type_is_codes(&f.cards[i]);
        if (!has_codes) continue;
        cr_assert(rung_up(&oracle, &f, &f.cards[i], &interp, &diag));
        cr_assert(rung_up(&rung, &f, &f.cards[i], &target, &diag));
        if (rung.image) {
            const char *trouble =
                rungs_compare(&f, &f.cards[i], &oracle, &rung, (uint64_t)i * 1000, 4, &seen);
            cr_expect(!trouble, "%s", trouble);
        }
        rung_down(&rung);
        rung_down(&oracle);
    }
    if (target_runs_here(&target)) cr_expect_geq(seen.cases, 16);
    file_down(&f);
    strbuf_free(&text);
    arena_reset(&a);
    diag_reset(&diag);
}

// 15 (Q4_0, Q4_K), 31 (Q5_K), 63 (Q6_K) and any byte (Q8_0) by -128: what an i16 is filled with before it is widened.
Test(tight_loops, the_largest_products_fit_the_sums_that_they_are_added_to)
{
    expect_extremes("panel.py", "panel", -128, 127);
    expect_extremes("panel_k.py", "panel_k", -128, 255);
    expect_extremes("panel_k.py", "panel_k", 127, 255);
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
