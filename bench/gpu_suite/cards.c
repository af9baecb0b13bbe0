// bench/gpu_suite/cards.c - the stage "correctness": every launch card's cases on the device, against what the
// interpreter said when this program was built.
//
//   device memory   [ band | x ... | band | y ... | band ]     a case's buffers between bands of 0xA5
//
// A buffer keeps the host's distance from a multiple of 64, so promises and their absence are the card's. After
// the launch, results are compared within the kernel's tolerance and bands byte for byte: a store past an end
// is found on hardware that does not check. Devices that check see each buffer alone.
//
// A kernel that brings the device down ends the process with CARDS_LOST; the parent starts another one after it.
#include "bench/gpu_suite/cards.h"

#include <stdlib.h>

#include "base/file.h"
#include "bench/gpu_suite/stages.h"
#include "tests/kernels/agree.h"

enum { BAND = 256, FILLING = 0xA5, MAX_FAILURES = 100, CARDS_AT_ONCE = 32 };

typedef struct Bed {
    uint8_t *device; ///< [bytes]
    uint8_t *host;   ///< the same, while a case is prepared and read back
    size_t bytes, used;
    size_t offset[CODE_MAX_PARAMS];
    MemRange ranges[CODE_MAX_PARAMS];
    int32_t n_ranges;
} Bed;

typedef struct Tally {
    int32_t cards, cases, wrong, missing;
    int64_t elements, programs;
    double worst;
} Tally;

// ---- memory of a case ---------------------------------------------------------------------------

static KilnStatus bed_grow(Suite *s, Bed *bed, size_t bytes)
{
    if (bytes <= bed->bytes) return KILN_OK;
    bytes = (size_t)next_pow2((int64_t)bytes);
    device_free(s->dev, bed->device);
    free(bed->host);
    void *at = NULL;
    bed->bytes = 0, bed->device = NULL;
    bed->host = malloc(bytes);
    if (!bed->host) return fail(&s->diag, KILN_ERR_NOMEM, "K102", "no memory for a case");
    KilnStatus st = device_alloc(s->dev, bytes, "cases", &at, &s->diag);
    if (st != KILN_OK) return st;
    device_hide(s->dev, at);
    bed->device = at;
    bed->bytes = bytes;
    return KILN_OK;
}

/// Places the case's buffers, and copies them to the device.
static KilnStatus bed_lay(Suite *s, Bed *bed, const Case *c)
{
    size_t at = BAND;
    for (int32_t i = 0; i < c->card->spec.n_params; i++) {
        const CaseBuffer *b = &c->buffers[i];
        if (!b->at) continue;
        bed->offset[i] = at + (uintptr_t)b->at % 64;
        at = (size_t)round_up((int64_t)(bed->offset[i] + b->bytes), 64) + BAND;
    }
    KilnStatus st = bed_grow(s, bed, at);
    if (st != KILN_OK) return st;
    bed->used = at;
    bed->n_ranges = 0;
    memset(bed->host, FILLING, at);
    for (int32_t i = 0; i < c->card->spec.n_params; i++) {
        const CaseBuffer *b = &c->buffers[i];
        if (!b->at) continue;
        memcpy(bed->host + bed->offset[i], b->at, b->bytes);
        bed->ranges[bed->n_ranges++] =
            (MemRange){bed->device + bed->offset[i], b->bytes, c->card->spec.params[i].name};
    }
    device_upload(s->dev, bed->device, bed->host, at);
    return KILN_OK;
}

/// Reads everything back into `c`. @return the argument that was written past its ends, or -1
static int32_t bed_take(Suite *s, Bed *bed, Case *c)
{
    int32_t hurt = -1, before = -1;
    size_t at = 0;
    device_download(s->dev, bed->host, bed->device, bed->used);
    for (int32_t i = 0; i <= c->card->spec.n_params; i++) {
        bool is_end = i == c->card->spec.n_params;
        if (!is_end && !c->buffers[i].at) continue;
        size_t end = is_end ? bed->used : bed->offset[i];
        for (; at < end; at++)
            if (bed->host[at] != FILLING && hurt < 0) hurt = before >= 0 ? before : i;
        if (is_end) break;
        memcpy(c->buffers[i].at, bed->host + at, c->buffers[i].bytes);
        at += c->buffers[i].bytes;
        before = i;
    }
    return hurt;
}

// ---- one case -----------------------------------------------------------------------------------

static KilnStatus run_case(Suite *s, Bed *bed, Kernel *k, const Case *c)
{
    uint8_t args[CODE_MAX_PARAMS * 8];
    KilnStatus st = bed_lay(s, bed, c);
    if (st != KILN_OK || !case_programs(c)) return st;
    memcpy(args, c->args, sizeof args);
    for (int32_t i = 0; i < c->card->spec.n_params; i++) {
        if (!c->buffers[i].at) continue;
        for (int32_t p = 0; p < k->code.n_params; p++) {
            if (strcmp(k->code.params[p].name, c->card->spec.params[i].name) != 0) continue;
            void *at = bed->device + bed->offset[i];
            memcpy(args + k->code.params[p].offset, &at, sizeof at);
        }
    }
    int64_t n = case_programs(c);
    Launch l = {.kernel = k,
                .grid = c->grid,
                .n_programs = n,
                .chunk = MAX(n / 8, 1),
                .args = args,
                .n_ranges = bed->n_ranges,
                .ranges = bed->ranges};
    const Launch *one = &l;
    st = device_run(s->dev, 1, &one, &s->diag);
    return st == KILN_OK ? device_sync(s->dev, &s->diag) : st;
}

static void say_wrong(Suite *s, Tally *t, const Card *card, uint64_t seed, Case *c,
                      const char *what)
{
    Arena a;
    StrBuf why = {0};
    arena_init(&a, heap_default());
    diag_render(&s->diag, &why);
    diag_reset(&s->diag);
    if (t->wrong++ < MAX_FAILURES)
        suite_text(s, "correctness", "WRONG",
                   arena_printf(&a, "%s%s in %s, case %llu (%s)", what, why.data ? why.data : "",
                                spec_text(&a, &card->spec), (unsigned long long)seed,
                                c ? case_text(c) : ""));
    strbuf_free(&why);
    arena_reset(&a);
}

/// What differs between two runs, in words; NULL: nothing.
static const char *difference(Suite *s, Case *want, const Case *got, Tally *t)
{
    for (int32_t i = 0; i < want->card->spec.n_params; i++) {
        if (!want->buffers[i].at) continue;
        const SpecParam *p = &want->card->spec.params[i];
        int64_t size = dtype_bytes(p->dtype), k = buffer_differs(want, got, i, &t->worst);
        t->elements += (int64_t)want->buffers[i].bytes / size;
        if (k >= 0)
            return arena_printf(&s->arena, "%s[%lld] is %.9g, the interpreter says %.9g", p->name,
                                (long long)k,
                                dtype_load_f64(p->dtype, got->buffers[i].at + k * size),
                                dtype_load_f64(p->dtype, want->buffers[i].at + k * size));
    }
    return NULL;
}

static void check_case(Suite *s, Bed *bed, const Pack *pack, const char *file, const Card *card,
                       Kernel *k, uint64_t seed, Tally *t)
{
    Case want = {0}, got = {0};
    if (case_make(card, &k->code, seed, &want, &s->diag) != KILN_OK ||
        case_copy(&want, &k->code, &got, &s->diag) != KILN_OK) {
        say_wrong(s, t, card, seed, NULL, "the case cannot be made: ");
    } else if (!pack_apply(pack, pack_key(file, card, seed), &want)) {
        t->missing++;
    } else if (run_case(s, bed, k, &got) != KILN_OK) {
        say_wrong(s, t, card, seed, &got, "");
    } else {
        int32_t hurt = bed_take(s, bed, &got);
        const char *what = s->no_judge ? NULL : difference(s, &want, &got, t);
        if (hurt >= 0 && !s->no_judge)
            what = arena_printf(&s->arena, "something was stored outside of `%s`",
                                card->spec.params[hurt].name);
        if (what) say_wrong(s, t, card, seed, &want, what);
    }
    t->cases++;
    t->programs += case_programs(&want);
    case_free(&want), case_free(&got);
}

static void check_card(Suite *s, Bed *bed, const Pack *pack, const char *file, const Source *source,
                       const Card *card, Tally *t)
{
    Kernel *k;
    if (kernel_get(s->kernels, source, &card->spec, &k, &s->diag) != KILN_OK) {
        say_wrong(s, t, card, 0, NULL, "does not compile or load: ");
        return;
    }
    diag_reset(&s->diag); // warnings
    for (int32_t i = 0; i < pack->n_cases && !s->dev->is_lost; i++)
        check_case(s, bed, pack, file, card, k, suite_seed(i), t);
    t->cards++;
}

static void progress(const Suite *s, int32_t next)
{
    StrBuf path = {0}, text = {0};
    strbuf_printf(&path, "%s/next-card", s->out);
    strbuf_printf(&text, "%d", next);
    if (file_replace(path.data, text.data, text.len, NULL) != KILN_OK)
        fprintf(stderr, "%s cannot be written\n", path.data);
    strbuf_free(&path), strbuf_free(&text);
}

KilnStatus stage_correctness(Suite *s)
{
    KilnStatus st = KILN_OK;
    Pack pack;
    Bed bed = {0};
    Tally t = {0};
    int32_t index = 0;
    bool is_late = false;
    TRY(pack_open(suite_pack, (size_t)(suite_pack_end - suite_pack), &pack, &s->diag));
    if (s->flip && !pack_flip(&pack))
        TRY(fail(&s->diag, KILN_ERR_INPUT, "K901", "there is no stored byte to change"));
    for (int32_t f = 0; f < kernel_n_texts && !is_late; f++) {
        const Source *source;
        Card *cards;
        int32_t n;
        TRY(kernel_source(s->kernels, kernel_texts[f].name, &source, &s->diag));
        TRY(source_cards(source, NULL, &s->arena, &n, &cards, &s->diag));
        for (int32_t i = 0; i < n; i++, index++) {
            if (index < s->first_card) continue;
            if (t.cards % CARDS_AT_ONCE ==
                CARDS_AT_ONCE - 1) { // an emulated kernel holds many stacks
                TRY(suite_open_kernels(s));
                TRY(kernel_source(s->kernels, kernel_texts[f].name, &source, &s->diag));
            }
            if ((is_late = suite_is_late(s))) break;
            check_card(s, &bed, &pack, kernel_texts[f].name, source, &cards[i], &t);
            if (s->dev->is_lost) {
                progress(s, index + 1);
                exit(CARDS_LOST);
            }
        }
    }
    suite_value(s, "correctness", "cards", t.cards, "", is_late ? "the slot ended here" : "");
    suite_value(s, "correctness", "cases", t.cases, "", "");
    suite_value(s, "correctness", "elements", (double)t.elements, "", "");
    suite_value(s, "correctness", "wrong", t.wrong, "", s->no_judge ? "not judged" : "");
    suite_value(s, "correctness", "unknown", t.missing, "", "no stored result: build again");
    suite_value(s, "correctness", "worst", t.worst, "of the tolerance", "");
    s->n_wrong = t.wrong + t.missing;
done:
    device_free(s->dev, bed.device);
    free(bed.host);
    pack_close(&pack);
    return st;
}
