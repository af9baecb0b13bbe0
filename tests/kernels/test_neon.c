// tests/kernels/test_neon.c - the kernels compiled for AArch64 and run under qemu-aarch64, against the interpreter.
//
//   kernels.dsl/*.py, every launch card
//     interpreter  <->  cpu:neon      on a Cortex-A57       no dot products
//                       cpu:neon-dot  on a Neoverse N1      sdot
//                       cpu:neon-i8mm on all that qemu has  sdot, bfdot, smmla
//
// A run takes some cards of each kernel, which ones follows from its text; KILN_CARDS=all takes all, and
// KILN_CASES says how many cases of each, KILN_KERNEL="gemv attend" names some kernels. KILN_SHOW=1 prints a row per
// kernel: tools/neon/run does all of it.
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/hash.h"
#include "tests/far/far.h"
#include "tests/kernels/rung.h"

enum { SHARE = 6, MAX_FILES = 64 };

TestSuite(neon, .timeout = 3600);

/// Instructions worth counting.
static const char *const marks[] = {"sdot",  "udot",   "smmla", "bfdot", "bfmmla",
                                    "smull", "sadalp", "fmla",  "fcvtl", "shll"};

typedef enum Rows { ANY_ROWS, ONE_ROW, MORE_ROWS } Rows;

/// Where `param` of `func` has a type, there is no array `without`, and BLOCK_M is as said, code for levels from .. to
/// has an instruction.
typedef struct Expected {
    const char *func, *param, *without;
    DType dtype;
    Rows rows;
    CpuLevel from, to;
    const char *mark;
} Expected;

static const Expected expected[] = {
    {"panel", "x", "", DTYPE_I8, ANY_ROWS, CPU_NEON, CPU_NEON, "smull"},
    {"panel", "x", "", DTYPE_I8, ANY_ROWS, CPU_NEON_DOT, CPU_NEON_DOT, "sdot"},
    {"panel", "x", "", DTYPE_I8, ONE_ROW, CPU_NEON_I8MM, CPU_NEON_I8MM, "sdot"},
    {"panel", "x", "", DTYPE_I8, MORE_ROWS, CPU_NEON_I8MM, CPU_NEON_I8MM, "smmla"},
    {"panel_k", "x", "", DTYPE_I8, ANY_ROWS, CPU_NEON, CPU_NEON, "smull"},
    {"panel_k", "x", "", DTYPE_I8, ANY_ROWS, CPU_NEON_DOT, CPU_NEON_DOT, "sdot"},
    {"panel_k", "x", "", DTYPE_I8, ONE_ROW, CPU_NEON_I8MM, CPU_NEON_I8MM, "sdot"},
    {"panel_k", "x", "wh", DTYPE_I8, MORE_ROWS, CPU_NEON_I8MM, CPU_NEON_I8MM, "smmla"},
    {"panel", "x", "", DTYPE_F32, ANY_ROWS, CPU_NEON, CPU_NEON_I8MM, "fmla"},
    {"gemm", "x", "", DTYPE_BF16, ANY_ROWS, CPU_NEON, CPU_NEON_DOT, "fmla"},
    {"gemm", "x", "", DTYPE_BF16, MORE_ROWS, CPU_NEON_I8MM, CPU_NEON_I8MM, "bfmmla"},
    {"gemm", "x", "", DTYPE_F16, ANY_ROWS, CPU_NEON, CPU_NEON_I8MM, "fmla"},
    {"gemm", "x", "", DTYPE_F32, ANY_ROWS, CPU_NEON, CPU_NEON_I8MM, "fmla"},
    {"gemm", "w", "", DTYPE_F16, ANY_ROWS, CPU_NEON, CPU_NEON_I8MM, "fcvtl"},
    {"gemv_dot", "x", "", DTYPE_BF16, ANY_ROWS, CPU_NEON_I8MM, CPU_NEON_I8MM, "bfmmla"},
    {"embed_panel", "w", "", DTYPE_BF16, ANY_ROWS, CPU_NEON, CPU_NEON_I8MM, "shll"},
    {"embed_panel", "w", "", DTYPE_F16, ANY_ROWS, CPU_NEON, CPU_NEON_I8MM, "fcvtl"},
    {"attend", "q", "", DTYPE_BF16, ANY_ROWS, CPU_NEON_I8MM, CPU_NEON_I8MM, "bfmmla"},
    {"attend", "k_page", "", DTYPE_F16, ANY_ROWS, CPU_NEON, CPU_NEON_I8MM, "fcvtl"},
    {"panel_k", "wh", "", DTYPE_U8, ANY_ROWS, CPU_NEON_I8MM, CPU_NEON_I8MM, "sdot"},
};

typedef struct Row {
    int32_t cards;
    Seen seen;
    int64_t count[COUNT_OF(marks)];
} Row;

static bool takes_all(void)
{
    const char *wanted = getenv("KILN_CARDS");
    return wanted && !strcmp(wanted, "all");
}

static int32_t cases_per_card(void)
{
    const char *wanted = getenv("KILN_CASES");
    return wanted ? MAX(atoi(wanted), 1) : 2;
}

/// Vector instructions whose name begins with `mark`.
static int64_t count_of(const StrBuf *assembly, const char *mark)
{
    int64_t n = 0;
    const char *at = assembly->data;
    for (; at && (at = strstr(at, mark)); at += strlen(mark))
        n += at > assembly->data && at[-1] == '\t' && at[strcspn(at, "\t")] &&
             at[strcspn(at, "\t") + 1] == 'v';
    return n;
}

/// Is BLOCK_M of `card` as `rows` says?
static bool has_rows(const Card *card, Rows rows)
{
    for (int32_t i = 0; i < card->spec.n_params && rows != ANY_ROWS; i++) {
        const SpecParam *p = &card->spec.params[i];
        if (p->kind == SPEC_CONST && !strcmp(p->name, "BLOCK_M"))
            return (p->value.i == 1) == (rows == ONE_ROW);
    }
    return rows == ANY_ROWS;
}

static bool has_array(const Card *card, const char *name)
{
    for (int32_t i = 0; i < card->spec.n_params; i++)
        if (card->spec.params[i].kind == SPEC_PTR && !strcmp(card->spec.params[i].name, name))
            return true;
    return false;
}

/// Are the instructions there that `card` should have?
static void expect_marks(KernelFile *f, const Card *card, CpuLevel level, const StrBuf *assembly)
{
    for (int32_t e = 0; e < COUNT_OF(expected); e++) {
        const Expected *x = &expected[e];
        if (strcmp(card->spec.func, x->func) != 0 || level < x->from || level > x->to ||
            !has_rows(card, x->rows) || has_array(card, x->without))
            continue;
        for (int32_t i = 0; i < card->spec.n_params; i++) {
            const SpecParam *p = &card->spec.params[i];
            if (p->kind != SPEC_PTR || p->dtype != x->dtype || strcmp(p->name, x->param) != 0)
                continue;
            cr_expect_gt(count_of(assembly, x->mark), 0, "%s on %s has no %s",
                         spec_text(&f->arena, &card->spec), target_level_name(level), x->mark);
        }
    }
}

/// Compiles and loads for an emulated level.
static bool far_up(Rung *r, KernelFile *f, const Card *card, const Target *target, Row *row,
                   Diag *diag)
{
    StrBuf assembly = {0};
    memset(r, 0, sizeof *r);
    r->target = *target;
    KilnStatus st = compile_kernel(f->source, &card->spec, target, &(Emit){.assembly = &assembly},
                                   &r->code, diag);
    for (int32_t i = 0; st == KILN_OK && i < COUNT_OF(marks); i++)
        row->count[i] += count_of(&assembly, marks[i]);
    if (st == KILN_OK) expect_marks(f, card, target->cpu, &assembly);
    strbuf_free(&assembly);
    if (st != KILN_OK) return false;
    r->image = heap_new(heap_default(), Image);
    if (r->image && far_image_load(&r->code, r->image, diag) == KILN_OK) return true;
    rung_down(r);
    return false;
}

static void check_card(KernelFile *f, int32_t i, const Target *target, Row *row)
{
    static const Target interp = {.kind = TARGET_INTERP};
    Diag diag;
    Rung oracle, rung;
    StrBuf why = {0};
    const Card *card = &f->cards[i];
    diag_init(&diag, heap_default());
    bool up = rung_up(&oracle, f, card, &interp, &diag);
    if (!up) diag_render(&diag, &why);
    cr_assert(up, "%s: interp: %s", spec_text(&f->arena, &card->spec), why.data ? why.data : "");
    up = far_up(&rung, f, card, target, row, &diag);
    if (!up) diag_render(&diag, &why);
    cr_expect(up, "%s: %s: %s", spec_text(&f->arena, &card->spec), target_level_name(target->cpu),
              why.data ? why.data : "");
    if (up) {
        const char *trouble = rungs_compare(f, card, &oracle, &rung, (uint64_t)i * 1000,
                                            cases_per_card(), &row->seen);
        cr_expect(!trouble, "%s", trouble);
        row->cards++;
        rung_down(&rung);
    }
    rung_down(&oracle);
    strbuf_free(&why);
    diag_reset(&diag);
}

/// Is `func` among the words of KILN_KERNEL? Without any, all are.
static bool is_wanted(const char *func)
{
    const char *at = getenv("KILN_KERNEL");
    if (!at || !*at) return true;
    for (size_t n = 0; *at; at += n + strspn(at + n, " ")) {
        n = strcspn(at, " ");
        if (n == strlen(func) && !strncmp(at, func, n)) return true;
    }
    return false;
}

static void show(const Target *target, const char *func, const Row *row)
{
    if (!getenv("KILN_SHOW")) return;
    fprintf(stderr, "%-10s %-16s %5d %6ld %10ld %8.3f ", target_level_name(target->cpu), func,
            row->cards, (long)row->seen.cases, (long)row->seen.elements, row->seen.worst);
    for (int32_t i = 0; i < COUNT_OF(marks); i++)
        if (row->count[i]) fprintf(stderr, " %s %ld", marks[i], (long)row->count[i]);
    fputc('\n', stderr);
}

/// The cards of one file that are due, kernel by kernel.
static void check_file(const char *name, const Target *target, Row *sum)
{
    KernelFile f;
    Row row = {0};
    file_up(&f, name, NULL, NULL);
    const char *text = f.n_cards ? spec_text(&f.arena, &f.cards[0].spec) : "";
    int32_t due = (int32_t)(hash_bytes(text, strlen(text)).lo % SHARE), n_of_func = 0;
    for (int32_t i = 0; i < f.n_cards; i++) {
        const char *func = f.cards[i].spec.func;
        bool is_last = i + 1 == f.n_cards || strcmp(f.cards[i + 1].spec.func, func) != 0;
        bool is_due = takes_all() || n_of_func % SHARE == due || (is_last && !row.cards);
        n_of_func++;
        if (is_due && !card_is_repeated(&f, i) && is_wanted(func)) check_card(&f, i, target, &row);
        if (!is_last) continue;
        if (row.cards) show(target, func, &row);
        sum->cards += row.cards;
        sum->seen.cases += row.seen.cases;
        sum->seen.elements += row.seen.elements;
        sum->seen.worst = MAX(sum->seen.worst, row.seen.worst);
        for (int32_t k = 0; k < COUNT_OF(marks); k++)
            sum->count[k] += row.count[k];
        row = (Row){0};
        n_of_func = 0;
    }
    file_down(&f);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_level(CpuLevel level)
{
    Row sum = {0};
    Target target = {.kind = TARGET_CPU, .cpu = level};
    const char *name[MAX_FILES];
    Arena arena;
    int32_t n = 0;
    far_needed();
    arena_init(&arena, heap_default());
    DIR *dir = opendir(KILN_SOURCE_DIR "/kernels.dsl");
    cr_assert(dir);
    for (struct dirent *d; (d = readdir(dir)) && n < MAX_FILES;)
        if (strlen(d->d_name) > 3 && !strcmp(d->d_name + strlen(d->d_name) - 3, ".py"))
            name[n++] = arena_strdup(&arena, d->d_name);
    closedir(dir);
    qsort(name, (size_t)n, sizeof *name, by_name);
    for (int32_t i = 0; i < n; i++)
        check_file(name[i], &target, &sum);
    show(&target, "all", &sum);
    cr_expect_geq(sum.cards, is_wanted("") ? n : 1, "%d cards of %d files", sum.cards, n);
    cr_expect_geq(sum.seen.cases, sum.cards * cases_per_card());
    arena_reset(&arena);
}

Test(neon, kernels_agree_with_the_interpreter_on_any_aarch64)
{
    check_level(CPU_NEON);
}

Test(neon, kernels_agree_with_the_interpreter_where_there_are_dot_products)
{
    check_level(CPU_NEON_DOT);
}

Test(neon, kernels_agree_with_the_interpreter_where_there_are_matrix_products)
{
    check_level(CPU_NEON_I8MM);
}

Test(neon, a_processor_says_what_it_has)
{
    far_needed();
    for (int32_t level = CPU_NEON; level < CPU_LEVEL_COUNT; level++) {
        CpuLevel host = CPU_GENERIC;
        Diag diag;
        diag_init(&diag, heap_default());
        cr_assert_eq(far_host_level((CpuLevel)level, &host, &diag), KILN_OK);
        cr_expect_eq((int32_t)host, level, "the processor for %s says %s",
                     target_level_name((CpuLevel)level), target_level_name(host));
        diag_reset(&diag);
    }
}

/// Does some case of rmsnorm on `level` show that `to` stands where the interpreter has `from`?
static bool is_noticed(CpuLevel level, const char *from, const char *to)
{
    static const Target interp = {.kind = TARGET_INTERP};
    Target target = {.kind = TARGET_CPU, .cpu = level};
    KernelFile plain, changed;
    Diag diag;
    StrBuf text = {0}, other = {0};
    Row row = {0};
    bool noticed = false;
    diag_init(&diag, heap_default());
    cr_assert_eq(file_read(KILN_SOURCE_DIR "/kernels.dsl/rmsnorm.py", &text, NULL), KILN_OK);
    const char *at = strstr(text.data, from);
    cr_assert(at, "rmsnorm.py has no `%s`", from);
    strbuf_printf(&other, "%.*s%s%s", (int)(at - text.data), text.data, to, at + strlen(from));
    file_up(&plain, "rmsnorm.py", NULL, "rmsnorm");
    file_up(&changed, "rmsnorm.py", other.data, "rmsnorm");
    for (int32_t i = 0; i < plain.n_cards && !noticed; i++) {
        Rung oracle, rung;
        cr_assert(rung_up(&oracle, &plain, &plain.cards[i], &interp, &diag));
        cr_assert(far_up(&rung, &changed, &changed.cards[i], &target, &row, &diag));
        noticed = rungs_compare(&plain, &plain.cards[i], &oracle, &rung, 0, 12, &row.seen) != NULL;
        rung_down(&rung);
        rung_down(&oracle);
    }
    file_down(&changed);
    file_down(&plain);
    strbuf_free(&text), strbuf_free(&other);
    diag_reset(&diag);
    return noticed;
}

Test(neon, a_changed_kernel_is_noticed)
{
    far_needed();
    cr_expect(is_noticed(CPU_NEON, "v * scale * gain", "v * scale + gain"));
    cr_expect(is_noticed(CPU_NEON_DOT, "live = col < n", "live = col <= n"),
              "a store past the end");
    cr_expect_not(is_noticed(CPU_NEON_I8MM, "live = col < n", "live = col < n"));
}
