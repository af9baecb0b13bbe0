// bench/gpu_suite/measure.c - timing by events, and the lines that are written.
//
//   warm-up   |-- R launches --|-- R launches --| ...      R: the region takes 2 ms or more
//             e0               e1               e2         us = (e1 - e0) / R, per region
#include <stdlib.h>
#include <time.h>

#include "bench/gpu_suite/suite.h"

enum { MAX_REGIONS = 32, MIN_LAUNCHES = 20, MAX_LAUNCHES = 2000 };
static const double region_us = 2000, graph_below_us = 50;

double suite_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int32_t suite_sets(const Suite *s, double bytes)
{
    double n = 4.0 * (double)s->cache_bytes / MAX(bytes, 1);
    return (int32_t)MIN(MAX(n + 0.999, 1), CALL_MAX_SETS);
}

// ---- times --------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef KilnStatus Work(void *user, int32_t count, Diag *diag);

static KilnStatus time_once(Suite *s, Work *run, void *user, int32_t count, double *us)
{
    KilnStatus st = KILN_OK;
    DeviceEvent *a = NULL, *b = NULL;
    TRY(device_event_new(s->dev, &a, &s->diag));
    TRY(device_event_new(s->dev, &b, &s->diag));
    device_event_record(a);
    TRY(run(user, count, &s->diag));
    device_event_record(b);
    TRY(device_event_us(a, b, us, &s->diag));
done:
    device_event_free(a);
    device_event_free(b);
    return st;
}

/// `count` rounds per region.
static KilnStatus time_regions(Suite *s, Work *run, void *user, int32_t count, Times *out)
{
    KilnStatus st = KILN_OK;
    double us[MAX_REGIONS];
    int32_t n = MIN(MAX(s->regions, 1), MAX_REGIONS), done_regions = 0;
    TRY(time_once(s, run, user, count, &us[0])); // warm
    for (int32_t i = 0; i < n && (i < 3 || !suite_is_late(s)); i++, done_regions++) {
        TRY(time_once(s, run, user, count, &us[i]));
        us[i] /= count;
    }
    qsort(us, (size_t)done_regions, sizeof *us, by_value);
    out->med = done_regions % 2 ? us[done_regions / 2]
                                : (us[done_regions / 2 - 1] + us[done_regions / 2]) / 2;
    out->p10 = us[done_regions / 10];
    out->p90 = us[done_regions - 1 - done_regions / 10];
    out->min = us[0];
    out->launches = count;
done:
    return st;
}

static KilnStatus pick_count(Suite *s, Work *run, void *user, int32_t *count)
{
    double us = 0;
    KilnStatus st = time_once(s, run, user, 1, &us); // also compiles, loads, faults pages in
    if (st == KILN_OK) st = time_once(s, run, user, 3, &us);
    double n = region_us / MAX(us / 3, 0.5);
    *count = s->quick ? 2 : (int32_t)MIN(MAX(n, MIN_LAUNCHES), MAX_LAUNCHES);
    if (us / 3 > 20000) *count = 3; // nobody waits for twenty of these
    return st;
}

KilnStatus suite_time_work(Suite *s, KilnStatus (*run)(void *user, int32_t count, Diag *diag),
                           void *user, Times *out)
{
    int32_t count;
    memset(out, 0, sizeof *out);
    KilnStatus st = pick_count(s, run, user, &count);
    return st == KILN_OK ? time_regions(s, run, user, count, out) : st;
}

static KilnStatus run_whole_graph(void *user, int32_t count, Diag *diag)
{
    KilnStatus st = KILN_OK;
    for (int32_t i = 0; i < count && st == KILN_OK; i++)
        st = graph_run(user, diag);
    return st;
}

KilnStatus suite_time_graph(Suite *s, Graph *g, Times *out)
{
    return suite_time_work(s, run_whole_graph, g, out);
}

typedef struct Sets {
    int32_t n, next;
    const Launch **launches;
} Sets;

static KilnStatus run_sets(void *user, int32_t count, Diag *diag)
{
    Sets *sets = user;
    KilnStatus st = KILN_OK;
    for (int32_t i = 0; i < count && st == KILN_OK; i++) {
        const Launch *l = sets->launches[sets->next];
        sets->next = (sets->next + 1) % sets->n;
        st = device_run(l->kernel->dev, 1, &l, diag);
    }
    return st;
}

static KilnStatus run_graph(void *user, int32_t count, Diag *diag)
{
    (void)count; // it has them all
    return graph_run(user, diag);
}

/// The same launches as one captured graph of `count` nodes.
static KilnStatus time_graph(Suite *s, int32_t n, Call *const *sets, Kernel *k, int32_t count,
                             Times *out)
{
    KilnStatus st = KILN_OK;
    Graph *g = NULL;
    TRY(graph_new(s->dev, "bench", &g, &s->diag));
    for (int32_t i = 0; i < count; i++) {
        const Call *c = sets[i % n];
        TRY(graph_launch(g, k, c->grid, c->n_args, c->args, &s->diag));
    }
    TRY(graph_finish(g, &s->diag));
    TRY(time_regions(s, run_graph, g, count, out));
    out->is_graph = true;
done:
    graph_free(g);
    return st;
}

KilnStatus suite_time(Suite *s, int32_t n, Call *const *sets, Times *out)
{
    KilnStatus st = KILN_OK;
    static Launch launches[CALL_MAX_SETS];
    static uint8_t blocks[CALL_MAX_SETS][LAUNCH_MAX_ARGS_BYTES];
    const Launch *order[CALL_MAX_SETS];
    Kernel *k;
    memset(out, 0, sizeof *out);
    for (int32_t i = 0; i < n; i++) {
        TRY(call_kernel(s, sets[i], &k));
        TRY(launch_make(k, sets[i]->grid, sets[i]->n_args, sets[i]->args, NULL, blocks[i], NULL,
                        &launches[i], &s->diag));
        order[i] = &launches[i];
    }
    Sets loop = {n, 0, order};
    int32_t count;
    TRY(pick_count(s, run_sets, &loop, &count));
    TRY(time_regions(s, run_sets, &loop, count, out));
    if (out->med < graph_below_us && s->dev->ops->capture)
        TRY(time_graph(s, n, sets, k, count, out));
done:
    return st;
}

// ---- lines --------------------------------------------------------------------------------------

static void begin_line(Suite *s, StrBuf *b, const char *stage)
{
    strbuf_printf(b, "{\"v\":1,\"t\":%.1f,\"stage\":\"%s\"", suite_now() - s->begin, stage);
}

static void end_line(Suite *s, StrBuf *b)
{
    strbuf_puts(b, "}\n");
    fwrite(b->data, 1, b->len, s->lines);
    fflush(s->lines);
    strbuf_free(b);
}

static void put_text(StrBuf *b, const char *key, const char *text)
{
    if (!text) return;
    strbuf_printf(b, ",\"%s\":\"", key);
    strbuf_json(b, text, strlen(text));
    strbuf_puts(b, "\"");
}

void suite_record(Suite *s, const Record *r, const Times *t)
{
    StrBuf b = {0};
    char target[24];
    target_text(&s->dev->facts.target, target);
    begin_line(s, &b, r->stage);
    put_text(&b, "kernel", r->kernel);
    put_text(&b, "impl", r->impl);
    put_text(&b, "target", target);
    put_text(&b, "dtype", r->dtype);
    strbuf_printf(&b, ",\"shape\":%s,\"config\":%s", r->shape ? r->shape : "{}",
                  r->config ? r->config : "{}");
    if (r->k)
        strbuf_printf(&b, ",\"smem\":%d,\"warps\":%d,\"stages\":%d", r->k->code.shared_bytes,
                      r->k->code.num_warps, r->k->code.num_stages);
    strbuf_printf(&b,
                  ",\"launches\":%d,\"graph\":%s,\"sets\":%d,\"cold\":%s,\"us\":{\"med\":%.3f,"
                  "\"p10\":%.3f,\"p90\":%.3f,\"min\":%.3f},\"bytes\":%.0f,\"flops\":%.0f",
                  t->launches, t->is_graph ? "true" : "false", r->sets,
                  r->sets * r->bytes > 2 * (double)s->cache_bytes ? "true" : "false", t->med,
                  t->p10, t->p90, t->min, r->bytes, r->flops);
    double us = MAX(t->med, 1e-3);
    if (r->bytes > 0) strbuf_printf(&b, ",\"gbs\":%.1f", r->bytes / us * 1e-3);
    if (r->flops > 0) strbuf_printf(&b, ",\"tflops\":%.2f", r->flops / us * 1e-6);
    put_text(&b, "note", r->note);
    end_line(s, &b);
}

void suite_value(Suite *s, const char *stage, const char *name, double value, const char *unit,
                 const char *note)
{
    StrBuf b = {0};
    begin_line(s, &b, stage);
    put_text(&b, "name", name);
    strbuf_printf(&b, ",\"value\":%.4f", value);
    put_text(&b, "unit", unit);
    put_text(&b, "note", note);
    end_line(s, &b);
}

void suite_text(Suite *s, const char *stage, const char *name, const char *text)
{
    StrBuf b = {0};
    begin_line(s, &b, stage);
    put_text(&b, "name", name);
    put_text(&b, "text", text);
    end_line(s, &b);
}

void suite_miss(Suite *s, const char *stage, const char *what)
{
    StrBuf why = {0};
    diag_render(&s->diag, &why);
    diag_reset(&s->diag);
    StrBuf b = {0};
    begin_line(s, &b, stage);
    put_text(&b, "missed", what);
    put_text(&b, "why", why.data ? why.data : "");
    end_line(s, &b);
    strbuf_free(&why);
}
