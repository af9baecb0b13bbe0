// cli/bench_kernel.c - kernels: every launch card, with the card's arguments, timed on the device.
//
//   card words (--set replaces some) --cards.h--> arguments --> device memory --> launches between two events
//
//   bytes   what the buffers hold: once read, or once written where the kernel may store to it. A kernel that visits
//           a part of a buffer moves less, one that reads what it overwrites moves more: `--set bytes=EXPR` says it
//   flops   of `--set flops=EXPR`, or a word of the card: 2*R*N*K of a matrix product
//
// The ceiling of bytes is the bandwidth of copies for what is both read and written, that of reads for the rest;
// of operations, the peak for the type of the kernel's dot.
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "cli/bench.h"
#include "runtime/cards.h"
#include "runtime/launch.h"

typedef struct KernelBench {
    BenchReport *report;
    const Settings *s;
    Arena *arena;
    Diag *diag;
    Session x;
    const char *path, *func;
    const Source *source;
    Source *opened;       ///< the same, when it is a file; NULL: one of the program's own
    BenchCeiling ceiling; ///< its peaks
    BenchMeter meter;
    int32_t n_sets;
    CardLet sets[64];
    bool set_used[64];
} KernelBench;

/// The arguments of a case on the device.
typedef struct Placed {
    void *at[CODE_MAX_PARAMS];
    uint8_t args[LAUNCH_MAX_ARGS_BYTES];
    Launch launch;
    double read, written; ///< bytes of buffers
} Placed;

// ---- words --------------------------------------------------------------------------------------

static KilnStatus read_sets(KernelBench *b)
{
    for (int32_t i = 0; i < b->s->sets.n; i++) {
        const char *text = b->s->sets.items[i], *equals = strchr(text, '=');
        if (!equals || equals == text || !equals[1])
            return fail(b->diag, KILN_ERR_INPUT, "", "--set %s: is no NAME=VALUE", text);
        b->sets[b->n_sets++] =
            (CardLet){arena_strndup(b->arena, text, (size_t)(equals - text)), equals + 1};
    }
    return KILN_OK;
}

static bool has_let(const Card *card, const char *name)
{
    for (int32_t i = 0; i < card->n_lets; i++)
        if (!strcmp(card->lets[i].name, name)) return true;
    return false;
}

/// The --set words that this card has, and those that it need not have.
static int32_t words_for(KernelBench *b, const Card *card, CardLet *out)
{
    int32_t n = 0;
    for (int32_t i = 0; i < b->n_sets; i++) {
        const char *name = b->sets[i].name;
        bool is_new = !strcmp(name, "flops") || !strcmp(name, "bytes");
        if (!is_new && !has_let(card, name)) continue;
        b->set_used[i] = true;
        out[n++] = b->sets[i];
    }
    return n;
}

/// Every --set must mean something to some card.
static KilnStatus check_sets(KernelBench *b, int32_t n_cards, const Card *cards)
{
    CardLet words[64];
    for (int32_t i = 0; i < n_cards; i++)
        words_for(b, &cards[i], words);
    for (int32_t i = 0; i < b->n_sets; i++) {
        if (b->set_used[i]) continue;
        StrBuf have = {0};
        for (int32_t k = 0; n_cards && k < cards[0].n_lets; k++)
            strbuf_printf(&have, " %s", cards[0].lets[k].name);
        KilnStatus st = fail(b->diag, KILN_ERR_INPUT, "",
                             "--set %s: no launch card has this word (the first has:%s; new words: "
                             "flops bytes)",
                             b->sets[i].name, have.data ? have.data : "");
        strbuf_free(&have);
        return st;
    }
    return KILN_OK;
}

/// With --sig the words and grid of the kernel's first card, for another specialisation.
static KilnStatus collect(KernelBench *b, int32_t *n, Card **cards)
{
    KilnStatus st = KILN_OK;
    const Settings *s = b->s;
    const char *func = b->func;
    if (!func && s->sig && source_n_kernels(b->source) == 1) func = source_kernel(b->source, 0);
    if (!func && s->sig)
        return fail(b->diag, KILN_ERR_INPUT, "", "--sig needs one kernel: name it as FILE:FUNC");
    TRY(source_cards(b->source, func, b->arena, n, cards, b->diag));
    if (!*n) TRY(fail(b->diag, KILN_ERR_INPUT, "K112", "%s: no kernel has a launch card", b->path));
    if (s->sig) {
        StrBuf text = {0};
        strbuf_printf(&text, "%s(%s", func, s->sig);
        for (int32_t i = 0; i < s->consts.n; i++)
            strbuf_printf(&text, ", %s", s->consts.items[i]);
        strbuf_printf(&text, ")[num_warps=%d, num_stages=%d]", s->num_warps ? (int)s->num_warps : 4,
                      s->num_stages ? (int)s->num_stages : 3);
        const char *copy = arena_strndup(b->arena, text.data, text.len);
        strbuf_free(&text);
        *n = 1;
        TRY(spec_parse(b->source, str_of(copy), b->arena, &(*cards)->spec, b->diag));
    }
done:
    return st;
}

// ---- arguments on the device --------------------------------------------------------------------

static void placed_free(KernelBench *b, Placed *p)
{
    for (int32_t i = 0; i < CODE_MAX_PARAMS; i++)
        device_free(b->x.dev, p->at[i]);
}

static KilnStatus place(KernelBench *b, Kernel *k, const Case *c, Placed *p)
{
    KilnStatus st = KILN_OK;
    memcpy(p->args, c->args, sizeof c->args);
    for (int32_t i = 0; i < c->card->spec.n_params; i++) {
        const CaseBuffer *from = &c->buffers[i];
        if (!from->at) continue;
        TRY(device_alloc(b->x.dev, MAX(from->bytes, 64), c->card->spec.params[i].name, &p->at[i],
                         b->diag));
        if (from->bytes) device_upload(b->x.dev, p->at[i], from->at, from->bytes);
        for (int32_t j = 0; j < k->code.n_params; j++) {
            const CodeParam *param = &k->code.params[j];
            if (strcmp(param->name, c->card->spec.params[i].name) != 0) continue;
            memcpy(p->args + param->offset, &p->at[i], sizeof p->at[i]);
            *(param->is_written ? &p->written : &p->read) += (double)from->bytes;
        }
    }
    int64_t n = case_programs(c), threads = b->x.dev->facts.n_threads;
    p->launch = (Launch){.kernel = k,
                         .grid = c->grid,
                         .n_programs = n,
                         .chunk = MAX(MAX(n / (8 * threads), div_up(n, POOL_MAX_TASKS)), 1),
                         .args = p->args};
done:
    return st;
}

// ---- what a launch does -------------------------------------------------------------------------

/// The element type of the first operand of the kernel's first dot, from the text of its IR.
static BenchPeak peak_of_dot(const char *ir)
{
    const char *dot = strstr(ir, " = dot %");
    if (!dot) return PEAK_F32;
    const char *name = dot + 7;
    size_t len = strcspn(name, ", \n");
    for (const char *line = ir; line && line < dot; line = strchr(line, '\n')) {
        line += strspn(line, "\n ");
        const char *end = line + strcspn(line, "\n"), *type = end;
        if (strncmp(line, name, len) != 0 || line[len] != ' ') continue;
        while (type > line && type[-1] != 'x' && type[-1] != '<')
            type--;
        return !strncmp(type, "bf16", 4) ? PEAK_BF16 : !strncmp(type, "i8", 2) ? PEAK_I8 : PEAK_F32;
    }
    return PEAK_F32;
}

static KilnStatus count(KernelBench *b, Case *c, const Placed *p, BenchRow *row)
{
    KilnStatus st = KILN_OK;
    StrBuf ir = {0};
    Code code = {0};
    const CaseWord *flops = case_word(c, "flops"), *bytes = case_word(c, "bytes");
    double read = p->read, written = p->written;
    row->bytes = read + written;
    if (bytes && row->bytes > 0) {
        read *= bytes->number / row->bytes, written *= bytes->number / row->bytes;
        row->bytes = bytes->number;
    }
    const BenchCeiling *ceiling = &row->ceiling;
    double both = MIN(read, written), least = 0, compute = 0;
    if (ceiling->copy > 0 && ceiling->read > 0)
        least = (2 * both + MAX(written - read, 0)) / ceiling->copy +
                MAX(read - written, 0) / ceiling->read;
    if (flops) {
        row->flops = flops->number;
        TRY(compile_kernel(b->source, &c->card->spec, &b->x.dev->facts.target, &(Emit){.tile = &ir},
                           &code, b->diag));
        row->peak = peak_of_dot(ir.data ? ir.data : "");
        if (ceiling->peak[row->peak] <= 0) row->peak = PEAK_F32;
        double peak = ceiling->peak[row->peak];
        compute = peak > 0 ? row->flops / peak : 0;
    }
    row->is_compute = compute > least;
    row->least = MAX(compute, least);
done:
    code_free(&code);
    strbuf_free(&ir);
    return st;
}

// ---- timing -------------------------------------------------------------------------------------

/// Seconds per launch, of `n` in a row.
static KilnStatus time_launches(KernelBench *b, const Launch *l, int32_t n, DeviceEvent *begin,
                                DeviceEvent *end, double *out)
{
    KilnStatus st = KILN_OK;
    double us;
    device_event_record(begin);
    for (int32_t i = 0; i < n; i++)
        TRY(launch_run(l, b->diag));
    device_event_record(end);
    TRY(device_event_us(begin, end, &us, b->diag));
    *out = us * 1e-6 / n;
done:
    return st;
}

/// A warm-up, then as many launches per repetition as take about 5 ms.
static KilnStatus measure(KernelBench *b, const Placed *p, BenchRow *row)
{
    KilnStatus st = KILN_OK;
    DeviceEvent *begin = NULL, *end = NULL;
    double once;
    TRY(device_event_new(b->x.dev, &begin, b->diag));
    TRY(device_event_new(b->x.dev, &end, b->diag));
    TRY(time_launches(b, &p->launch, 1, begin, end, &once));
    if (!b->s->no_warmup) TRY(time_launches(b, &p->launch, 1, begin, end, &once));
    int32_t n = once > 0 ? (int32_t)MIN(MAX(0.005 / once, 1), 10000) : 1;
    for (int32_t i = 0; i < b->s->repetitions && !bench_interrupted(); i++) {
        bench_progress(b->s, row->test, i + 1, (int32_t)b->s->repetitions);
        TRY(time_launches(b, &p->launch, n, begin, end, &row->seconds[i]));
        row->n_reps = i + 1;
    }
done:
    bench_progress(b->s, NULL, 0, 0);
    device_event_free(end);
    device_event_free(begin);
    return st;
}

/// Function, types and constants, and the numbers of the card's words: "softmax f32 BLOCK=2048 R=8192".
static const char *row_name(Arena *a, const Case *c)
{
    const char *text = c->card->spec.func;
    const char *type = "";
    for (int32_t i = 0; i < c->card->spec.n_params; i++) {
        const SpecParam *p = &c->card->spec.params[i];
        if (p->kind != SPEC_PTR || !strcmp(type, dtype_facts[p->dtype].name) ||
            p->dtype == DTYPE_I32)
            continue;
        type = dtype_facts[p->dtype].name;
        text = arena_printf(a, "%s %s", text, type);
    }
    for (int32_t i = 0; i < c->words.len; i++)
        if (!c->words.data[i].is_array)
            text =
                arena_printf(a, "%s %s=%g", text, c->words.data[i].name, c->words.data[i].number);
    return text;
}

static KilnStatus bench_card(KernelBench *b, const Card *card)
{
    KilnStatus st = KILN_OK;
    Kernel *k;
    Case c = {0};
    Placed *p = arena_new(b->arena, Placed);
    CardLet words[64];
    BenchRow *row = arena_new(b->arena, BenchRow);
    CaseOptions options = {.seed = 1, .last = true, .words = words};
    options.n_words = words_for(b, card, words);
    TRY(kernel_get(b->x.kernels, b->source, &card->spec, &k, b->diag));
    TRY(case_make_with(card, &k->code, &options, &c, b->diag));
    const DeviceFacts *f = &b->x.dev->facts;
    *row = (BenchRow){.is_kernel = true,
                      .test = row_name(b->arena, &c),
                      .model = b->path,
                      .path = b->path,
                      .device = arena_strndup(b->arena, f->name, strlen(f->name)),
                      .device_model = arena_strndup(b->arena, f->model, strlen(f->model)),
                      .n_threads = f->n_threads};
    TRY(place(b, k, &c, p));
    TRY(measure(b, p, row));
    row->ceiling = b->ceiling;
    bench_meter_row(&b->meter, &row->ceiling);
    TRY(count(b, &c, p, row));
    if (row->n_reps) bench_report_row(b->report, row);
done:
    placed_free(b, p);
    case_free(&c);
    return st;
}

// ---- the command --------------------------------------------------------------------------------

static KilnStatus open_source(KernelBench *b)
{
    const char *slash = strrchr(b->path, '/'), *name = slash ? slash + 1 : b->path;
    if (file_exists(b->path)) {
        KilnStatus st = source_open(b->path, &b->opened, b->diag);
        b->source = b->opened;
        return st;
    }
    if (name == b->path) return kernel_source(b->x.kernels, name, &b->source, b->diag);
    return fail(b->diag, KILN_ERR_IO, "K101", "%s: no such file", b->path);
}

static KilnStatus run(KernelBench *b, bool *is_usage)
{
    KilnStatus st = KILN_OK, worst = KILN_OK;
    Card *cards;
    int32_t n;
    Settings s = *b->s;
    int64_t *threads;
    int32_t n_threads;
    *is_usage = true;
    TRY(read_sets(b));
    TRY(bench_numbers("-t", &s.bench_threads, b->arena, &n_threads, &threads, b->diag));
    s.threads = n_threads ? threads[0] : 0;
    *is_usage = false;
    TRY(session_device(&b->x, &s, b->arena, b->diag));
    TRY(open_source(b));
    TRY(collect(b, &n, &cards));
    *is_usage = true;
    TRY(check_sets(b, n, cards));
    *is_usage = false;
    bench_meter_open(&b->meter, &b->x, b->arena, &b->ceiling);
    for (int32_t i = 0; i < n && !bench_interrupted(); i++) {
        st = bench_card(b, &cards[i]);
        if (st != KILN_OK) worst = st; // go on: one card's mistake is not another's
    }
    st = worst;
    bench_report_end(b->report);
done:
    session_close(&b->x); // before the sources that kernels came from
    source_close(b->meter.source);
    source_close(b->opened);
    return st;
}

int bench_kernel(BenchReport *r, Diag *diag)
{
    KernelBench b = {.report = r, .s = r->s, .arena = r->arena, .diag = diag};
    const char *colon = strrchr(r->s->model, ':');
    bool is_usage;
    b.path =
        colon ? arena_strndup(r->arena, r->s->model, (size_t)(colon - r->s->model)) : r->s->model;
    b.func = colon ? colon + 1 : NULL;
    KilnStatus st = run(&b, &is_usage);
    if (st != KILN_OK && is_usage) return EXIT_USAGE;
    return exit_of(st);
}
