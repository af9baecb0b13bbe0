// tests/compiler/gpu/test_cards.c - every launch card of our own kernels on the GPU rungs.
//
//   interpreter  <->  emu:sm_80, emu:sm_90a    cases of each card, all checks of the emulator on
//   sm_75 sm_80 sm_86 sm_89 sm_90a             ptxas accepts the PTX; streaming kernels do not spill
//
// and of ops.py, which uses every operation: there the oldest and the newest architecture stand for
// all.
//
// All of it takes minutes. A run takes a quarter of each kernel's cards, which one follows from the
// text of the kernel's file, so that a change of the text changes the cards too. KILN_CARDS=0..3
// takes that quarter, KILN_CARDS=all takes all (ctest: gpu_cards_all).
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/hash.h"
#include "tests/kernels/rung.h"
#include "tests/support/ptxas.h"
#include "tests/support/skip.h"

enum { CASES_PER_CARD = 3 };

TestSuite(gpu_cards, .timeout = 600);

static const char *rendered(KernelFile *f, Diag *diag)
{
    StrBuf b = {0};
    diag_render(diag, &b);
    const char *text = arena_strdup(&f->arena, b.data ? b.data : "");
    strbuf_free(&b);
    return text;
}

/// kernels.dsl/`file`, or ops.py of this folder. @return the quarter of its cards that is due; -1: all
static int32_t open_file(KernelFile *f, const char *file, const char *func)
{
    bool is_ops = !strcmp(file, "ops.py");
    const char *path = is_ops ? "tests/compiler/gpu" : "kernels.dsl";
    const char *wanted = getenv("KILN_CARDS");
    StrBuf text = {0};
    char full[512];
    snprintf(full, sizeof full, "%s/%s/%s", KILN_SOURCE_DIR, path, file);
    cr_assert_eq(file_read(full, &text, NULL), KILN_OK);
    file_up(f, file, is_ops ? text.data : NULL, func);
    int32_t quarter = (int32_t)(hash_bytes(text.data, text.len).lo & 3);
    strbuf_free(&text);
    return !wanted ? quarter : !strcmp(wanted, "all") ? -1 : atoi(wanted) & 3;
}

/// Is card `i` among those of the quarter? Of a kernel with fewer than four cards, one is.
static bool is_due(const KernelFile *f, int32_t i, int32_t quarter)
{
    return quarter < 0 || i % 4 == quarter || (f->n_cards < 4 && i == quarter % f->n_cards);
}

/// What the emulator saw, over all cards of a kernel.
static void add_counters(ImageCounters *sum, const Rung *rung)
{
    ImageCounters c;
    cr_expect(image_counters(rung->image, &c));
    sum->programs += c.programs;
    sum->loads.requests += c.loads.requests, sum->stores.requests += c.stores.requests;
    sum->copies += c.copies, sum->mmas += c.mmas;
    sum->copies_in_flight = MAX(sum->copies_in_flight, c.copies_in_flight);
}

/// One card on one emulated target.
static void emulate_card(KernelFile *f, int32_t i, const Target *emu, Rung *oracle, Seen *seen,
                         ImageCounters *sum)
{
    Diag diag;
    Rung rung;
    diag_init(&diag, heap_default());
    bool up = rung_up(&rung, f, &f->cards[i], emu, &diag);
    cr_expect(up, "%s: %s", spec_text(&f->arena, &f->cards[i].spec), rendered(f, &diag));
    if (up) {
        const char *trouble =
            rungs_compare(f, &f->cards[i], oracle, &rung, (uint64_t)i * 1000, CASES_PER_CARD, seen);
        cr_expect(!trouble, "%s", trouble);
        add_counters(sum, &rung);
        rung_down(&rung);
    }
    diag_reset(&diag);
}

static void expect_emulated(const char *file, const char *func)
{
    KernelFile f;
    Seen seen = {0};
    ImageCounters sum = {0};
    int32_t quarter = open_file(&f, file, func), n = 0;
    static const Target interp = {.kind = TARGET_INTERP},
                        emus[] = {{.kind = TARGET_EMU, .sm = 80},
                                  {.kind = TARGET_EMU, .sm = 90, .sm_a = true}};
    for (int32_t i = 0; i < f.n_cards; i++) {
        if (!is_due(&f, i, quarter)) continue;
        Diag diag;
        Rung oracle;
        diag_init(&diag, heap_default());
        bool up = rung_up(&oracle, &f, &f.cards[i], &interp, &diag);
        cr_assert(up, "%s: %s", func, rendered(&f, &diag));
        for (int32_t k = 0; k < COUNT_OF(emus); k++, n++)
            emulate_card(&f, i, &emus[k], &oracle, &seen, &sum);
        rung_down(&oracle);
        diag_reset(&diag);
    }
    cr_expect_gt(n, 0);
    cr_expect_geq(seen.cases, (int64_t)CASES_PER_CARD * n);
    cr_expect_eq(sum.programs, seen.programs, "the emulator counted %lld programs of %lld",
                 (long long)sum.programs, (long long)seen.programs);
    if (getenv("KILN_SHOW"))
        fprintf(stderr,
                "%s: %d cards, %lld cases, %lld programs, %lld elements, worst %.2f of the "
                "tolerance; %lld copies, %lld groups at once, %lld mma\n",
                func, n, (long long)seen.cases, (long long)seen.programs, (long long)seen.elements,
                seen.worst, (long long)sum.copies, (long long)sum.copies_in_flight,
                (long long)sum.mmas);
    file_down(&f);
}

typedef struct Assembled {
    int32_t cards, most_registers, spills;
} Assembled;

static void expect_assembled(const char *file, const char *func, bool may_spill)
{
    static const char *const targets[] = {"sm_75", "sm_90a", "sm_80", "sm_86", "sm_89"};
    int32_t n_targets = strcmp(file, "ops.py") ? COUNT_OF(targets) : 2;
    needs_tool(ptxas_path() != NULL, "ptxas");
    KernelFile f;
    Assembled total = {0};
    int32_t quarter = open_file(&f, file, func);
    const char *last = "";
    for (int32_t i = 0; i < f.n_cards; i++) {
        if (!is_due(&f, i, quarter)) continue;
        const char *text = spec_text(&f.arena, &f.cards[i].spec);
        if (!strcmp(text, last)) continue; // cards that differ in their run-time words alone
        last = text;
        for (int32_t k = 0; k < n_targets; k++) {
            Diag diag;
            Target target;
            Code code;
            diag_init(&diag, heap_default());
            cr_assert_eq(target_parse(targets[k], &target, &diag), KILN_OK);
            KilnStatus st = compile_kernel(f.source, &f.cards[i].spec, &target, NULL, &code, &diag);
            cr_expect_eq(st, KILN_OK, "%s for %s: %s", text, targets[k], rendered(&f, &diag));
            if (st == KILN_OK) {
                PtxasReport r = ptxas_run((const char *)code.bytes, code.size, targets[k]);
                cr_expect(r.ok, "%s for %s: %s", text, targets[k], r.log);
                cr_expect(may_spill || r.spill_stores == 0, "%s for %s spills %d bytes", text,
                          targets[k], r.spill_stores);
                total.most_registers = MAX(total.most_registers, r.registers);
                total.spills += r.spill_stores > 0;
                total.cards++;
                code_free(&code);
            }
            diag_reset(&diag);
        }
    }
    if (getenv("KILN_SHOW"))
        fprintf(stderr, "%s: %d assembled, at most %d registers, %d spill\n", func, total.cards,
                total.most_registers, total.spills);
    file_down(&f);
}

#define ON_GPUS(file, func, may_spill)                                                             \
    Test(gpu_cards, func##_on_the_emulator_agrees_with_the_interpreter)                            \
    {                                                                                              \
        expect_emulated(file, #func);                                                              \
    }                                                                                              \
    Test(gpu_cards, func##_assembles_for_every_architecture)                                       \
    {                                                                                              \
        expect_assembled(file, #func, may_spill);                                                  \
    }

ON_GPUS("rmsnorm.py", rmsnorm, false)
ON_GPUS("quantize.py", quantize, false)
ON_GPUS("silu_mul.py", silu_mul, false)
ON_GPUS("softmax.py", softmax, false)
ON_GPUS("embed.py", embed, false)
ON_GPUS("embed.py", embed_panel, false)
ON_GPUS("panel.py", panel, true)
ON_GPUS("panel_k.py", panel_k, true)
ON_GPUS("gemv.py", gemv, false)
ON_GPUS("gemv.py", gemv_dot, true)
ON_GPUS("gemm.py", gemm, true)
ON_GPUS("rope.py", rope_append, false)
ON_GPUS("attention.py", attend, true)
ON_GPUS("attention.py", attend_merge, false)
ON_GPUS("sample.py", argmax, false)
ON_GPUS("sample.py", sample, false)

#define OP(func) ON_GPUS("ops.py", func, true)
OP(transpose)
OP(rows)
OP(bits)
OP(scans)
OP(order)
OP(pick)
OP(pairs)
OP(dots)
OP(dots_of)
OP(adds)
OP(extremes)
OP(words)
OP(steps)
OP(functions)
OP(casts)
OP(narrow)
OP(in_place)
OP(masked)
OP(cube)
OP(outer)
OP(branches)
OP(flags)
OP(weights)
OP(nibbles)
OP(packed)
