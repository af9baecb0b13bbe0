// tests/kernels/test_sass.c - what the CUDA assembler makes of every launch card, judged.
//
//   kiln_budget measure   (the test before this one)   every card, for one of sm_75 sm_80 sm_86 sm_89 sm_90a in
//                         turn; for all of them in ctest's sass_all -> sass.tsv
//   here                  accepted, within tests/kernels/budget.tsv, and the instructions that the table below
//                         expects by kind of dot and architecture
//
// Without ptxas, or a disassembler for the instructions, these tests skip and say so; under CI=true they fail:
// scripts/cuda-tools fetches both.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "tests/kernels/sass.h"
#include "tests/support/skip.h"

TestSuite(sass, .timeout = 300);

#define UPDATE "run scripts/budget, look at what changed, commit it"

// ---- what was measured --------------------------------------------------------------------------

enum { MAX_ROWS = 1 << 14, FIELDS = 13, MAX_SAID = 12 };

typedef struct Row {
    const char *kernel, *id, *file, *target, *dots, *label, *ops;
    int32_t sm, registers, shared, spill_bytes, stages, wide;
    bool is_refused;
} Row;

typedef struct Results {
    StrBuf text;
    bool has_ptxas, has_disasm;
    int32_t n;
    Row *rows;
} Results;

static void read_row(char *line, Row *out)
{
    char *f[FIELDS] = {0};
    for (int32_t i = 0; i < FIELDS && line; i++)
        f[i] = strsep(&line, i + 1 < FIELDS ? "\t" : "\n");
    cr_assert(f[FIELDS - 1], "sass.tsv is damaged");
    *out = (Row){.kernel = f[0],
                 .id = f[1],
                 .file = f[2],
                 .target = f[3],
                 .sm = atoi(f[3] + 3),
                 .registers = atoi(f[4]),
                 .shared = atoi(f[5]),
                 .spill_bytes = atoi(f[6]),
                 .dots = f[8],
                 .stages = atoi(f[9]),
                 .wide = atoi(f[10]),
                 .label = f[11],
                 .ops = f[12],
                 .is_refused = !strncmp(f[12], "REFUSED", 7)};
}

static void results_up(Results *r)
{
    memset(r, 0, sizeof *r);
    const char *named = getenv("KILN_SASS"), *path = named ? named : KILN_SASS_RESULTS;
    cr_assert_eq(file_read(path, &r->text, NULL), KILN_OK,
                 "%s: run kiln_budget measure first (ctest does)", path);
    char *rest = r->text.data, *tools = strsep(&rest, "\n");
    r->has_ptxas = strncmp(tools, "tools\t-", 7) != 0;
    r->has_disasm = r->has_ptxas && !strstr(tools, "\t-");
    r->rows = calloc(MAX_ROWS, sizeof *r->rows);
    for (char *line; r->n < MAX_ROWS && (line = strsep(&rest, "\n")) && *line; r->n++)
        read_row(line, &r->rows[r->n]);
}

static void results_down(Results *r)
{
    strbuf_free(&r->text);
    free(r->rows);
}

// ---- the assembler's word -----------------------------------------------------------------------

Test(sass, every_card_is_accepted_for_every_architecture)
{
    Results r;
    results_up(&r);
    needs_tool(r.has_ptxas, "ptxas");
    cr_expect_geq(r.n, 250, "only %d were measured", r.n);
    int32_t said = 0;
    for (int32_t i = 0; i < r.n && said < MAX_SAID; i++)
        if (r.rows[i].is_refused)
            cr_expect(said++ < 0, "%s for %s (%s): %s", r.rows[i].kernel, r.rows[i].target,
                      r.rows[i].label, r.rows[i].ops);
    results_down(&r);
}

// ---- the budget ---------------------------------------------------------------------------------

static const char *const targets[] = {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90a"};

/// "56/4096" of the line for (kernel, id), or NULL.
static const char *budget_cell(const char *budget, const Row *row)
{
    char key[128];
    snprintf(key, sizeof key, "\n%s\t%s\t", row->kernel, row->id);
    const char *at = strstr(budget, key);
    if (!at) return NULL;
    at += strlen(key);
    for (int32_t k = 0; k < COUNT_OF(targets) && strcmp(targets[k], row->target) != 0; k++)
        at += strcspn(at, "\t") + 1;
    return at;
}

/// What is wrong with a row, into `why`. @return is something?
static bool is_over(const Row *row, const char *cell, char *why, size_t size)
{
    int32_t registers = 0, shared = 0, spilled = 0;
    if (!cell || sscanf(cell, "%d/%d/%d", &registers, &shared, &spilled) < 2) {
        snprintf(why, size, "has no budget");
        return true;
    }
    bool over = row->registers > round_up(MAX(registers, 1), 8) || row->shared > shared;
    if (over)
        snprintf(why, size, "needs %d registers and %d bytes, its budget is %d and %d",
                 row->registers, row->shared, registers, shared);
    if (row->spill_bytes <= spilled) return over;
    snprintf(why, size, "spills %d bytes at %d registers", row->spill_bytes, row->registers);
    return true;
}

// A spill in the budget is one that ptxas chose: it gives up a register or two where that lets one block more
// run per multiprocessor (at 64, 80, 128 ... registers); asked for fewer blocks it spills nothing.
Test(sass, every_card_keeps_within_its_budget_of_registers_shared_memory_and_spills)
{
    Results r;
    StrBuf budget = {0};
    results_up(&r);
    needs_tool(r.has_ptxas, "ptxas");
    cr_assert_eq(file_read(KILN_SOURCE_DIR "/tests/kernels/budget.tsv", &budget, NULL), KILN_OK);
    int32_t checked = 0, said = 0;
    for (int32_t i = 0; i < r.n && said < MAX_SAID; i++) {
        const Row *row = &r.rows[i];
        char why[256];
        if (!strcmp(row->file, "probes.py")) continue;
        checked++;
        if (is_over(row, budget_cell(budget.data, row), why, sizeof why))
            cr_expect(said++ < 0, "%s for %s (%s) %s: " UPDATE, row->kernel, row->target,
                      row->label, why);
    }
    cr_expect_geq(checked, 200);
    strbuf_free(&budget);
    results_down(&r);
}

Test(sass, few_cards_spill_and_those_a_few_bytes)
{
    Results r;
    results_up(&r);
    needs_tool(r.has_ptxas, "ptxas");
    int32_t n = 0;
    for (int32_t i = 0; i < r.n; i++) {
        n += r.rows[i].spill_bytes > 0;
        cr_expect_leq(r.rows[i].spill_bytes, 16, "%s for %s spills %d bytes (%s)", r.rows[i].kernel,
                      r.rows[i].target, r.rows[i].spill_bytes, r.rows[i].label);
    }
    cr_expect_leq(n, r.n / 100, "%d of %d spill", n, r.n);
    results_down(&r);
}

// ---- instructions -------------------------------------------------------------------------------

/// What code for a kernel must have. `dots` is what is multiplied ("bf16"; "f32" is tf32, "f32:ieee" exact).
typedef struct Expected {
    const char *kernel;  ///< NULL: any
    const char *dots;    ///< NULL: any or none; a prefix up to ":" counts
    int32_t from, to;    ///< sm
    const char *pattern; ///< ops_count()
    int32_t least;       ///< 0: it must not be there
    bool holds;          ///< false: reported only, until it does
} Expected;

static const Expected table[] = {
    // Rows and streams: 16 bytes per thread and access, wherever the PTX says so.
    {"stream", NULL, 75, 90, "LDG.128", 1, true},
    // Products on tensor cores.
    {"product", "f16", 75, 75, "HMMA.1688", 1, true},
    {"product", "f16", 80, 90, "HMMA.16816", 1, true},
    {"product", "bf16", 80, 90, "HMMA.16816.BF16", 1, true},
    {"product", "f32", 80, 90, "HMMA.1688.TF32", 1, true},
    {"product", "i8", 75, 75, "IMMA.8816", 1, true},
    {"product", "i8", 80, 90, "IMMA.16832", 1, true},
    {"product", "f8e4m3", 89, 89, "QMMA.16832", 1, true},
    {"gemm", "f16", 75, 75, "HMMA.1688", 1, true},
    {"gemm", "f16", 80, 90, "HMMA.16816", 1, true},
    {"gemm", "bf16", 80, 90, "HMMA.16816.BF16", 1, true},
    {"attend", "f16", 80, 90, "HMMA.16816", 1, true},
    {"attend", "bf16", 80, 90, "HMMA.16816.BF16", 1, true},
    // Operands of 16 bits come from shared memory by matrix loads.
    {"product", "f16", 80, 90, "LDSM", 1, true},
    {"product", "bf16", 80, 90, "LDSM", 1, true},
    {"product", "f16", 75, 75, "LDSM", 1, true},
    {"product", "i8", 75, 90, "LDSM", 1, true},
    {"gemm", "f16", 80, 90, "LDSM", 1, true},
    {"gemm", "bf16", 80, 90, "LDSM", 1, true},
    // Loops with stages copy without registers; sm_75 cannot.
    {"product", "f16", 80, 90, "LDGSTS.128", 1, true},
    {"product", "bf16", 80, 90, "LDGSTS.128", 1, true},
    {"product", "i8", 80, 90, "LDGSTS.128", 1, true},
    {"product", "f32", 80, 90, "LDGSTS.128", 1, true},
    {"gemm", "f16", 80, 90, "LDGSTS", 1, true},
    {"gemm", "bf16", 80, 90, "LDGSTS", 1, true},
    {"gemv_dot", "f16", 80, 90, "HMMA.16816", 1, true},
    {"gemv_dot", "bf16", 80, 90, "HMMA.16816.BF16", 1, true},
    {"gemv_dot", "f16", 80, 90, "LDGSTS", 1, true},
    {"attend", "f16", 80, 90, "LDGSTS", 1, true},
    {"attend", "bf16", 80, 90, "LDGSTS", 1, true},
    {"attend", "f16", 80, 90, "LDSM", 1, true},
    {NULL, NULL, 75, 75, "LDGSTS", 0, true},
    // Exact f32 products stay off the tensor cores; kernels without a dot too.
    {NULL, "f32:ieee", 75, 90, "HMMA", 0, true},
    {NULL, "-", 75, 90, "HMMA.16816", 0, true},
};

static bool concerns(const Expected *e, const Row *row)
{
    if (e->kernel && strcmp(e->kernel, row->kernel) != 0) return false;
    if (row->sm < e->from || row->sm > e->to) return false;
    if (e->least && !strncmp(e->pattern, "LDGSTS", 6) && row->stages < 2) return false;
    // Without stages a small operand of a model's kernel may come by shuffles, beside weights that are widened in
    // registers: then nothing of it is in shared memory. The probes say when it must be.
    bool is_probe = e->kernel && !strcmp(e->kernel, "product");
    if (e->least && !strcmp(e->pattern, "LDSM") && !is_probe && row->stages < 2) return false;
    if (!e->dots || !strcmp(e->dots, row->dots)) return true;
    // dots of 16-bit numbers are the same asked for exactly or not
    size_t n = strcspn(row->dots, ":");
    return row->dots[n] && strncmp(row->dots, "f32", 3) != 0 && strlen(e->dots) == n &&
           !strncmp(e->dots, row->dots, n);
}

Test(sass, code_has_the_instructions_that_its_type_and_architecture_expect)
{
    Results r;
    results_up(&r);
    needs_tool(r.has_disasm, "nvdisasm");
    for (int32_t k = 0; k < COUNT_OF(table); k++) {
        const Expected *e = &table[k];
        int32_t seen = 0, missed = 0;
        const Row *first = NULL;
        for (int32_t i = 0; i < r.n; i++) {
            const Row *row = &r.rows[i];
            if (row->is_refused || !concerns(e, row)) continue;
            int32_t n = ops_count(row->ops, e->pattern);
            bool is_missed = e->least ? n < e->least : n > 0;
            seen++, missed += is_missed;
            if (is_missed && !first) first = row;
        }
        const char *what = e->least ? "lacks" : "has";
        if (getenv("KILN_SHOW"))
            fprintf(stderr, "%-8s %-8s sm_%d..%d %s %-16s %d of %d%s\n",
                    e->kernel ? e->kernel : "any", e->dots ? e->dots : "any", e->from, e->to,
                    e->least ? "has " : "no  ", e->pattern, seen - missed, seen,
                    e->holds ? "" : "   (not asked for yet)");
        if (!e->holds) continue;
        bool is_probe = e->kernel && !strcmp(e->kernel, "product"); // these are always measured
        cr_expect(seen > 0 || !is_probe, "no card is concerned by %s %s",
                  e->kernel ? e->kernel : "any", e->pattern);
        cr_expect(missed == 0, "%s for %s %s %s (%s), and %d more of %d",
                  first ? first->kernel : "", first ? first->target : "", what, e->pattern,
                  first ? first->label : "", missed - 1, seen);
    }
    results_down(&r);
}

// The text asks for 16 bytes in one access; the assembler must not take it apart.
Test(sass, accesses_of_16_bytes_stay_whole)
{
    Results r;
    results_up(&r);
    needs_tool(r.has_disasm, "nvdisasm");
    int32_t seen = 0, said = 0;
    for (int32_t i = 0; i < r.n && said < MAX_SAID; i++) {
        const Row *row = &r.rows[i];
        if (!row->wide || row->is_refused) continue;
        seen++;
        int32_t n = ops_count(row->ops, "LDG.128") + ops_count(row->ops, "STG.128");
        if (n < row->wide)
            cr_expect(said++ < 0, "%s for %s has %d accesses of 16 bytes, its PTX %d (%s)",
                      row->kernel, row->target, n, row->wide, row->label);
    }
    cr_expect_geq(seen, 30, "only %d texts have such accesses", seen);
    results_down(&r);
}

Test(sass, row_kernels_of_a_model_move_16_bytes_at_a_time)
{
    static const char *const kernels[] = {"rmsnorm", "silu_mul", "embed"};
    Results r;
    results_up(&r);
    needs_tool(r.has_disasm, "nvdisasm");
    for (int32_t k = 0; k < COUNT_OF(kernels); k++) {
        int32_t best = 0;
        for (int32_t i = 0; i < r.n; i++)
            if (!strcmp(r.rows[i].kernel, kernels[k]) && strstr(r.rows[i].label, "BLOCK=") &&
                ops_count(r.rows[i].ops, "STG.128"))
                best++;
        cr_expect_geq(best, 1, "%s: %d of its codes store 16 bytes at once", kernels[k], best);
    }
    results_down(&r);
}

Test(sass, counting_opcodes_takes_whole_dotted_words_in_order)
{
    static const char ops[] = "LDG.E.128.CONSTANT*3 LDGSTS.E.BYPASS.128*2 HMMA.16816.F32.BF16*8 "
                              "HFMA2.MMA*5 LDG.E*1";
    cr_expect_eq(ops_count(ops, "LDG.128"), 3);
    cr_expect_eq(ops_count(ops, "LDG"), 4);
    cr_expect_eq(ops_count(ops, "LDGSTS.128"), 2);
    cr_expect_eq(ops_count(ops, "HMMA.16816.BF16"), 8);
    cr_expect_eq(ops_count(ops, "HMMA.BF16.F32"), 0);
    cr_expect_eq(ops_count(ops, "MMA"), 0);
}
