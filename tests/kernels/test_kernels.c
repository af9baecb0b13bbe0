// tests/kernels/test_kernels.c - every kernel and launch card, on every rung that this machine can climb.
//
//   formulas in f64  <->  interpreter                                            >= 100 cases per kernel
//   interpreter  <->  cpu:generic, cpu:avx2 (cpu:avx512 where the host has it)   >= 200 cases each per kernel
//
// The emulated GPU and the assembler climb the same cards in tests/compiler/gpu/test_cards.c.
// A case is a seed: sizes 0 and 1 among them, rows at odd strides, bases off by an element, buffers against
// guard pages. The last test changes one operation of each kernel and expects to be told.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "tests/kernels/rung.h"

enum { CASES_PER_KERNEL = 200, CASES_OF_FORMULAS = 100, TIME_LIMIT_S = 600 };

TestSuite(kernels, .timeout = TIME_LIMIT_S);

static const Target interp = {.kind = TARGET_INTERP};

static void expect_agreement(const char *file, const char *func, const char *target_name,
                             int32_t n_cases, bool may_lack)
{
    Diag diag;
    diag_init(&diag, heap_default());
    Target target;
    cr_assert_eq(target_parse(target_name, &target, &diag), KILN_OK);
    KernelFile f;
    file_up(&f, file, NULL, func);
    Seen seen = {0};
    int32_t n_ran = 0;
    for (int32_t i = 0; i < f.n_cards; i++)
        n_ran += !card_is_repeated(&f, i);
    int32_t per_card = (int32_t)MAX(div_up(n_cases, n_ran), 2);
    for (int32_t i = 0; i < f.n_cards; i++) {
        if (card_is_repeated(&f, i)) continue;
        Rung oracle, rung;
        StrBuf why = {0};
        bool up = rung_up(&oracle, &f, &f.cards[i], &interp, &diag);
        if (!up) diag_render(&diag, &why);
        cr_assert(up, "%s: interp: %s", func, why.data ? why.data : "");
        up = rung_up(&rung, &f, &f.cards[i], &target, &diag);
        if (!up) diag_render(&diag, &why);
        if (!up && may_lack)
            cr_skip_test("%s has no %s here: %s", func, target_name, why.data ? why.data : "");
        cr_assert(up, "%s: %s: %s", func, target_name, why.data ? why.data : "");
        if (rung.image) {
            const char *trouble =
                rungs_compare(&f, &f.cards[i], &oracle, &rung, (uint64_t)i * 1000, per_card, &seen);
            cr_expect(!trouble, "%s", trouble);
        }
        rung_down(&rung);
        rung_down(&oracle);
        strbuf_free(&why);
    }
    if (getenv("KILN_VERBOSE"))
        fprintf(stderr, "%s %s: %ld cases, %ld programs, %ld elements, worst %.3f of tolerance\n",
                func, target_name, (long)seen.cases, (long)seen.programs, (long)seen.elements,
                seen.worst);
    if (target_runs_here(&target))
        cr_expect_geq(seen.cases, n_cases, "%s ran %ld cases", func, (long)seen.cases);
    file_down(&f);
    diag_reset(&diag);
}

/// The bottom rung: what the kernel means, against the interpreter.
static void expect_formula(const char *file, const char *func)
{
    Diag diag;
    diag_init(&diag, heap_default());
    KernelFile f;
    file_up(&f, file, NULL, func);
    Seen seen = {0};
    int32_t per_card = (int32_t)MAX(div_up(CASES_OF_FORMULAS, f.n_cards), 2);
    for (int32_t i = 0; i < f.n_cards; i++) {
        Rung formula, rung;
        StrBuf why = {0};
        bool up = rung_up(&rung, &f, &f.cards[i], &interp, &diag);
        if (!up) diag_render(&diag, &why);
        cr_assert(up, "%s: %s", func, why.data ? why.data : "");
        rung_reference(&formula, &f.cards[i], &rung);
        const char *trouble = rungs_compare(&f, &f.cards[i], &formula, &rung,
                                            (uint64_t)i * 1000 + 500, per_card, &seen);
        cr_expect(!trouble, "%s", trouble);
        rung_down(&formula);
        rung_down(&rung);
        strbuf_free(&why);
    }
    cr_expect_geq(seen.cases, CASES_OF_FORMULAS);
    file_down(&f);
    diag_reset(&diag);
}

#define AGREES(file, func)                                                                         \
    Test(kernels, func##_in_the_interpreter_agrees_with_the_formula)                               \
    {                                                                                              \
        expect_formula(file, #func);                                                               \
    }                                                                                              \
    Test(kernels, func##_on_avx2_agrees_with_the_interpreter)                                      \
    {                                                                                              \
        expect_agreement(file, #func, "cpu:avx2", CASES_PER_KERNEL, false);                        \
    }                                                                                              \
    Test(kernels, func##_on_any_cpu_agrees_with_the_interpreter)                                   \
    {                                                                                              \
        expect_agreement(file, #func, "cpu:generic", CASES_PER_KERNEL, false);                     \
    }                                                                                              \
    Test(kernels, func##_compiles_for_avx512_and_agrees_where_the_host_has_it)                     \
    {                                                                                              \
        expect_agreement(file, #func, "cpu:avx512", CASES_PER_KERNEL, false);                      \
    }

AGREES("rmsnorm.py", rmsnorm)
AGREES("quantize.py", quantize)
AGREES("silu_mul.py", silu_mul)
AGREES("softmax.py", softmax)
AGREES("embed.py", embed)
AGREES("embed.py", embed_panel)
AGREES("gemv.py", gemv)
AGREES("gemv.py", gemv_dot)
AGREES("gemm.py", gemm)
AGREES("panel.py", panel)
AGREES("panel_k.py", panel_k)
AGREES("rope.py", rope_append)
AGREES("attention.py", attend)
AGREES("attention.py", attend_merge)
AGREES("sample.py", argmax)
AGREES("sample.py", sample)

// ---- the comparison can fail --------------------------------------------------------------------------

typedef struct Mutation {
    const char *file, *func, *from, *to;
} Mutation;

static const Mutation mutations[] = {
    {"rmsnorm.py", "rmsnorm", "/ n + eps", "/ n - eps * 1000.0"},
    {"rmsnorm.py", "rmsnorm", "v * scale * gain", "v * scale + gain"},
    {"rmsnorm.py", "rmsnorm", "live = col < n", "live = col <= n"},
    {"quantize.py", "quantize", "+ 0.5", "+ 0.25"},
    {"quantize.py", "quantize", "amax / 127.0", "amax / 128.0"},
    {"silu_mul.py", "silu_mul", "1.0 + tl.exp", "1.0 - tl.exp"},
    {"softmax.py", "softmax", "1.0 / tl.sum", "1.0 * tl.sum"},
    {"embed.py", "embed", "(tok < vocab)", "(tok <= vocab)"},
    {"embed.py", "embed_panel", "code - 8", "code - 7"},
    {"embed.py", "embed_panel", "% 16 // 4 * 2 & 3", "% 16 // 4 & 3"},
    {"gemv.py", "gemv", "acc += part", "acc -= part"},
    {"gemv.py", "gemv", "wv.to(tl.float32)[None, :, :] * rows_of",
     "wv.to(tl.float32)[None, :, :] + rows_of"},
    {"gemv.py", "gemv", "(b >> 4)", "(b >> 3)"},
    {"gemv.py", "gemv", "at + 16, K, sx, ROWS, True", "at + 8, K, sx, ROWS, True"},
    {"gemv.py", "gemv_dot", "acc += part * sv", "acc += part + sv"},
    {"gemv.py", "gemv_dot", "(k0 + 16)", "(k0 + 8)"},
    {"gemv.py", "gemv_dot", "s[:, None] * BLOCK_K", "s[:, None] * CODES"},
    {"gemm.py", "gemm", "(k + 16)", "(k + 8)"},
    {"gemm.py", "gemm", "m0 + m < n_rows", "m0 + m <= n_rows"},
    {"gemm.py", "gemm", "k0 + k < K", "k0 + k < K - 1"},
    {"panel.py", "panel", "(wv >> 4)", "(wv >> 3)"},
    {"panel.py", "panel", "- 8 * tl.load(xc", "- 7 * tl.load(xc"},
    {"panel.py", "panel", "+ b * 32 + 16", "+ b * 32 + 8"},
    {"panel.py", "panel", "n0 + n < N", "n0 + n <= N"},
    {"panel.py", "panel", "n % 16 * PAIR", "n % 16"},
    {"panel.py", "panel", "range(whole, K, STEP)", "range(K, K, STEP)"},
    {"panel.py", "panel", "here = k0 + k < K", "here = k0 + k < K - 1"},
    {"panel_k.py", "panel_k", "(both >> 4)", "(both >> 3)"},
    {"panel_k.py", "panel_k", "(high1 >> j & 1)", "(high1 >> j & 3)"},
    {"panel_k.py", "panel_k", "b * HIGH + 64", "b * HIGH + 60"},
    {"panel_k.py", "panel_k", "* -tl.load(dp", "* tl.load(dp"},
    {"panel_k.py", "panel_k", "part1 -= 32", "part1 -= 31"},
    {"rope.py", "rope_append", "ka * c - kb * s", "ka * c + kb * s"},
    {"rope.py", "rope_append", "place % PAGE", "place // PAGE"},
    {"attention.py", "attend", "<= last_key", "< last_key"},
    {"attention.py", "attend", "total * shrink + tl.sum", "total + tl.sum"},
    {"attention.py", "attend", "= BLOCK_D + tl.arange(0, BLOCK_R)", "= tl.arange(0, BLOCK_R)"},
    {"attention.py", "attend", "d = D0 + tl", "d = tl"},
    {"attention.py", "attend_merge", "logs - base", "logs + base"},
    {"sample.py", "argmax", "better = v > top", "better = v >= top"},
    {"sample.py", "sample", "before <= ties", "before < ties"},
    {"sample.py", "sample", ">= goal", "> goal * 1.5"},
};

static char *mutated(Arena *a, const char *text, const Mutation *m)
{
    const char *at = strstr(text, m->from);
    cr_assert(at, "%s has no `%s` to change", m->file, m->from);
    return arena_printf(a, "%.*s%s%s", (int)(at - text), text, m->to, at + strlen(m->from));
}

/// Does some case of some card show the difference? A case that fails to run shows it too.
static bool is_noticed(KernelFile *plain, KernelFile *changed, const Target *target)
{
    Diag diag;
    diag_init(&diag, heap_default());
    bool noticed = false;
    for (int32_t i = 0; i < plain->n_cards && !noticed; i++) {
        Rung oracle, rung;
        Seen seen = {0};
        cr_assert(rung_up(&oracle, plain, &plain->cards[i], &interp, &diag));
        cr_assert(rung_up(&rung, changed, &changed->cards[i], target, &diag));
        noticed = rungs_compare(plain, &plain->cards[i], &oracle, &rung, (uint64_t)i * 1000, 12,
                                &seen) != NULL;
        rung_down(&rung);
        rung_down(&oracle);
    }
    diag_reset(&diag);
    return noticed;
}

// The changed kernel runs in the interpreter: it is checked, so a change that reads or writes out of bounds
// is a report and not a crash of the test.
Test(kernels, a_kernel_with_one_changed_operation_is_noticed)
{
    for (int32_t i = 0; i < COUNT_OF(mutations); i++) {
        const Mutation *m = &mutations[i];
        Arena a;
        arena_init(&a, heap_default());
        StrBuf text = {0};
        cr_assert_eq(
            file_read(arena_printf(&a, "%s/kernels.dsl/%s", KILN_SOURCE_DIR, m->file), &text, NULL),
            KILN_OK);
        KernelFile plain, changed;
        file_up(&plain, m->file, NULL, m->func);
        file_up(&changed, m->file, mutated(&a, text.data, m), m->func);
        cr_expect(is_noticed(&plain, &changed, &interp), "%s: nothing differs with `%s` for `%s`",
                  m->func, m->to, m->from);
        file_down(&changed);
        file_down(&plain);
        strbuf_free(&text);
        arena_reset(&a);
    }
}

Test(kernels, a_comparison_of_one_kernel_with_itself_finds_nothing)
{
    KernelFile plain, again;
    file_up(&plain, "rmsnorm.py", NULL, "rmsnorm");
    file_up(&again, "rmsnorm.py", NULL, "rmsnorm");
    cr_expect_not(is_noticed(&plain, &again, &interp));
    file_down(&again);
    file_down(&plain);
}
