// tests/kernels/rung.c - see rung.h.
#include "tests/kernels/rung.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void file_up(KernelFile *f, const char *name, const char *text, const char *func)
{
    Diag diag;
    diag_init(&diag, heap_default());
    memset(f, 0, sizeof *f);
    arena_init(&f->arena, heap_default());
    const char *path = arena_printf(&f->arena, "%s/kernels.dsl/%s", KILN_SOURCE_DIR, name);
    KilnStatus st = text ? source_from_text(path, str_of(text), &f->source, &diag)
                         : source_open(path, &f->source, &diag);
    if (st == KILN_OK) st = source_cards(f->source, func, &f->arena, &f->n_cards, &f->cards, &diag);
    StrBuf out = {0};
    if (st != KILN_OK) diag_render(&diag, &out);
    cr_assert(st == KILN_OK, "%s: %s", name, out.data ? out.data : "");
    diag_reset(&diag);
}

bool card_is_repeated(KernelFile *f, int32_t i)
{
    const char *mine = spec_text(&f->arena, &f->cards[i].spec);
    size_t len = strcspn(mine, "[");
    for (int32_t k = i - 1; k >= 0; k--)
        if (!strncmp(spec_text(&f->arena, &f->cards[k].spec), mine, len + 1)) return true;
    return false;
}

void file_down(KernelFile *f)
{
    source_close(f->source);
    arena_reset(&f->arena);
}

bool rung_up(Rung *r, const KernelFile *f, const Card *card, const Target *target, Diag *diag)
{
    memset(r, 0, sizeof *r);
    r->target = *target;
    if (compile_kernel(f->source, &card->spec, target, NULL, &r->code, diag) != KILN_OK)
        return false;
    if (!target_runs_here(target)) return true;
    if (image_load(&r->code, f->source, &card->spec, &r->image, diag) != KILN_OK) {
        code_free(&r->code);
        return false;
    }
    size_t bytes = (size_t)round_up(r->code.scratch_bytes + 64, 64);
    r->scratch = aligned_alloc(64, bytes);
    return true;
}

void rung_reference(Rung *r, const Card *card, const Rung *above)
{
    memset(r, 0, sizeof *r);
    r->reference = reference_of(card->spec.func);
    r->code = above->code;
    r->code.bytes = NULL; // stays with `above`
    r->code.size = 0;
    cr_assert(r->reference, "%s has no formulas in reference.c", card->spec.func);
}

void rung_down(Rung *r)
{
    image_free(r->image);
    code_free(&r->code);
    free(r->scratch);
}

// A kernel that touches a guard page ends the process: say first which case it was.
static char running[1024];

static void on_fault(int sig)
{
    ssize_t ignored = write(2, running, strlen(running));
    (void)ignored;
    signal(sig, SIG_DFL);
    raise(sig);
}

static KilnStatus run_case(Rung *r, Case *c, Diag *diag)
{
    int64_t n = case_programs(c);
    if (n == 0) return KILN_OK;
    if (r->reference) {
        r->reference(c);
        return KILN_OK;
    }
    KernelEntry entry = image_entry(r->image);
    if (entry && r->target.kind == TARGET_CPU) {
        Tls tls = {.scratch = r->scratch};
        entry(c->args, &c->grid, 0, n, &tls);
        return tls.fault
                   ? fail(diag, KILN_ERR_DEVICE, "K901", "device assert at line %d", (int)tls.fault)
                   : KILN_OK;
    }
    MemRange ranges[CODE_MAX_PARAMS];
    int32_t n_ranges = 0;
    for (int32_t i = 0; i < c->card->spec.n_params; i++)
        if (c->buffers[i].at)
            ranges[n_ranges++] =
                (MemRange){c->buffers[i].at, c->buffers[i].bytes, c->card->spec.params[i].name};
    return image_run(r->image, c->args, &c->grid, 0, n, n_ranges, ranges, diag);
}

static const char *describe(KernelFile *f, const Card *card, const Rung *oracle, const Rung *rung,
                            Case *want, const Case *got, int32_t i, int64_t k, uint64_t seed)
{
    char target[32];
    target_text(&rung->target, target);
    const SpecParam *p = &card->spec.params[i];
    int64_t size = dtype_bytes(p->dtype);
    return arena_printf(&f->arena, "%s: %s, case %lu (%s): %s[%ld] is %.9g, %s says %.9g", target,
                        spec_text(&f->arena, &card->spec), (unsigned long)seed, case_text(want),
                        p->name, (long)k, dtype_load_f64(p->dtype, got->buffers[i].at + k * size),
                        oracle->reference ? "the formula" : "the interpreter",
                        dtype_load_f64(p->dtype, want->buffers[i].at + k * size));
}

static const char *compare_case(KernelFile *f, const Card *card, Rung *oracle, Rung *rung,
                                uint64_t seed, Seen *seen)
{
    Diag diag;
    diag_init(&diag, heap_default());
    Case want = {0}, got = {0};
    const char *trouble = NULL;
    KilnStatus st = case_make(card, &oracle->code, seed, &want, &diag);
    if (st == KILN_OK) st = case_copy(&want, &rung->code, &got, &diag);
    if (st == KILN_OK) {
        snprintf(running, sizeof running, "\nfault in %s case %lu: %s\n", card->spec.func,
                 (unsigned long)seed, case_text(&want));
        st = run_case(oracle, &want, &diag);
    }
    if (st == KILN_OK) st = run_case(rung, &got, &diag);
    if (st != KILN_OK) {
        StrBuf out = {0};
        diag_render(&diag, &out);
        trouble = arena_printf(&f->arena, "%s, case %lu: %s", spec_text(&f->arena, &card->spec),
                               (unsigned long)seed, out.data ? out.data : "failed");
        strbuf_free(&out);
    }
    for (int32_t i = 0; !trouble && i < card->spec.n_params; i++) {
        if (!want.buffers[i].at) continue;
        int64_t k = buffer_differs(&want, &got, i, &seen->worst);
        seen->elements += (int64_t)want.buffers[i].bytes / dtype_bytes(card->spec.params[i].dtype);
        if (k >= 0) trouble = describe(f, card, oracle, rung, &want, &got, i, k, seed);
    }
    seen->cases++;
    seen->programs += case_programs(&want);
    case_free(&got);
    case_free(&want);
    diag_reset(&diag);
    return trouble;
}

const char *rungs_compare(KernelFile *f, const Card *card, Rung *oracle, Rung *rung, uint64_t first,
                          int32_t n, Seen *seen)
{
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    for (int32_t i = 0; i < n; i++) {
        const char *trouble = compare_case(f, card, oracle, rung, first + (uint64_t)i, seen);
        if (trouble) return trouble;
    }
    return NULL;
}
