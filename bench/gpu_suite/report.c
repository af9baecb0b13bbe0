// bench/gpu_suite/report.c - the table of a run, out of its JSON lines: ours and the peers'.
//
//   kernel  shape  us  ratio to the ceiling  ratio to the best peer, and its name     worst ratios first
//
// Lines are written by this program and by gpu_peers.py, a key once per line or nested object; looking a key up
// by its text is all the parsing that this needs.
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "bench/gpu_suite/suite.h"

enum { MAX_LINES = 4096, MOST_FAILURES = 20 };

/// Where the value of `key` begins, or NULL.
static const char *value_at(const char *line, const char *key)
{
    char pattern[64];
    snprintf(pattern, sizeof pattern, "\"%s\":", key);
    const char *at = strstr(line, pattern);
    return at ? at + strlen(pattern) : NULL;
}

static double number(const char *line, const char *key)
{
    const char *at = value_at(line, key);
    return at ? strtod(at, NULL) : 0;
}

static const char *text(Arena *a, const char *line, const char *key)
{
    const char *at = value_at(line, key);
    if (!at || (*at != '"' && *at != '{')) return "";
    bool is_object = *at == '{';
    const char *end = at + 1;
    while (*end && (is_object ? *end != '}' : *end != '"' || end[-1] == '\\'))
        end++;
    return arena_printf(a, "%.*s", (int)(end - at) - 1, at + 1);
}

static bool has(const char *line, const char *key, const char *value)
{
    const char *at = value_at(line, key);
    size_t n = strlen(value);
    return at && *at == '"' && !strncmp(at + 1, value, n) && at[n + 1] == '"';
}

typedef struct Ceilings {
    double copy, read, gemm;
} Ceilings;

static Ceilings find_ceilings(int32_t n, char *const *lines)
{
    Ceilings c = {0};
    for (int32_t i = 0; i < n; i++) {
        if (!has(lines[i], "stage", "ceiling")) continue;
        double v = number(lines[i], "value");
        if (has(lines[i], "name", "copy")) c.copy = MAX(c.copy, v);
        if (has(lines[i], "name", "read")) c.read = MAX(c.read, v);
        if (has(lines[i], "name", "gemm4096") || has(lines[i], "name", "gemm8192"))
            c.gemm = MAX(c.gemm, v);
    }
    return c;
}

/// "M":16,"N":32 as M 16 N 32.
static const char *plain(Arena *a, const char *shape)
{
    char *out = arena_strdup(a, shape), *to = out;
    for (const char *p = shape; *p; p++)
        if (*p != '"') *to++ = *p == ':' || *p == ',' ? ' ' : *p;
    *to = 0;
    return out;
}

typedef struct Entry {
    const char *stage, *kernel, *shape, *dtype, *peer;
    double us, of_ceiling, of_peer, gbs, tflops, spread;
} Entry;

static int worst_first(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    int by_stage = strcmp(x->stage, y->stage);
    if (by_stage) return by_stage;
    return (x->of_ceiling > y->of_ceiling) - (x->of_ceiling < y->of_ceiling);
}

static void find_peer(Arena *a, int32_t n, char *const *lines, Entry *e)
{
    for (int32_t i = 0; i < n; i++) {
        const char *l = lines[i];
        if (!value_at(l, "us") || has(l, "impl", "kiln")) continue;
        if (strcmp(text(a, l, "kernel"), e->kernel) || strcmp(text(a, l, "shape"), e->shape) ||
            strcmp(text(a, l, "dtype"), e->dtype))
            continue;
        double ratio = number(l, "med") / MAX(e->us, 1e-6); // above 1: we are faster
        if (e->peer && ratio >= e->of_peer) continue;
        e->peer = text(a, l, "impl");
        e->of_peer = ratio;
    }
}

static int32_t collect(Arena *a, int32_t n, char *const *lines, const Ceilings *c, Entry *out)
{
    int32_t n_out = 0;
    for (int32_t i = 0; i < n; i++) {
        const char *l = lines[i];
        if (!has(l, "impl", "kiln") || !value_at(l, "us")) continue;
        Entry e = {.stage = text(a, l, "stage"),
                   .kernel = text(a, l, "kernel"),
                   .shape = text(a, l, "shape"),
                   .dtype = text(a, l, "dtype"),
                   .us = number(l, "med"),
                   .gbs = number(l, "gbs"),
                   .tflops = number(l, "tflops")};
        e.spread = (number(l, "p90") - number(l, "p10")) / MAX(e.us, 1e-6);
        double of_memory = c->copy > 0 ? e.gbs / MAX(c->copy, c->read) : 0;
        double of_gemm = c->gemm > 0 ? e.tflops / c->gemm : 0;
        e.of_ceiling = MAX(of_memory, of_gemm);
        find_peer(a, n, lines, &e);
        out[n_out++] = e;
    }
    qsort(out, (size_t)n_out, sizeof *out, worst_first);
    return n_out;
}

static int32_t print_failures(Arena *a, int32_t n, char *const *lines, FILE *out)
{
    int32_t wrong = 0;
    for (int32_t i = 0; i < n; i++) {
        if (has(lines[i], "name", "WRONG") && wrong++ < MOST_FAILURES)
            fprintf(out, "WRONG  %.600s\n", text(a, lines[i], "text"));
        if (has(lines[i], "name", "unknown") && number(lines[i], "value") > 0)
            wrong++,
                fprintf(out, "WRONG  %g cases have no stored result\n", number(lines[i], "value"));
    }
    if (wrong > MOST_FAILURES) fprintf(out, "WRONG  and %d more\n", wrong - MOST_FAILURES);
    for (int32_t i = 0; i < n; i++) {
        if (value_at(lines[i], "missed"))
            fprintf(out, "missed %s: %s: %.300s\n", text(a, lines[i], "stage"),
                    text(a, lines[i], "missed"), text(a, lines[i], "why"));
        if (has(lines[i], "name", "dead")) fprintf(out, "dead   %s\n", text(a, lines[i], "text"));
    }
    return wrong;
}

static void print_facts(Arena *a, int32_t n, char *const *lines, FILE *out)
{
    for (int32_t i = 0; i < n; i++) {
        const char *l = lines[i], *stage = text(a, l, "stage");
        bool is_fact = !strcmp(stage, "environment") || !strcmp(stage, "ceiling") ||
                       !strcmp(stage, "correctness") || !strcmp(stage, "sanitizer") ||
                       !strcmp(stage, "profile") ||
                       (!strcmp(stage, "decode") && !value_at(l, "us"));
        if (!is_fact || has(l, "name", "WRONG") || has(l, "name", "dead") || value_at(l, "missed"))
            continue;
        if (value_at(l, "value"))
            fprintf(out, "%-12s %-34s %12.4g %s  %s\n", stage, text(a, l, "name"),
                    number(l, "value"), text(a, l, "unit"), text(a, l, "note"));
        else
            fprintf(out, "%-12s %-18s %s\n", stage, text(a, l, "name"), text(a, l, "text"));
    }
}

static void print_table(Arena *a, int32_t n, const Entry *entries, FILE *out)
{
    fprintf(out, "\n%-10s %-18s %-5s %-48s %10s %8s %9s %9s %7s  %s\n", "stage", "kernel", "type",
            "shape", "us", "GB/s", "TFLOP/s", "of limit", "x peer", "peer");
    for (int32_t i = 0; i < n; i++) {
        const Entry *e = &entries[i];
        fprintf(out, "%-10s %-18s %-5s %-48s %10.2f %8.0f %9.1f %9.2f ", e->stage, e->kernel,
                e->dtype, plain(a, e->shape), e->us, e->gbs, e->tflops, e->of_ceiling);
        if (e->peer)
            fprintf(out, "%7.2f  %s", e->of_peer, e->peer);
        else
            fprintf(out, "%7s  -", "-");
        fprintf(out, "%s\n", e->spread > 0.1 ? "   spread above 10 %" : "");
    }
}

int32_t report_print(const char *path, FILE *out)
{
    static char *lines[MAX_LINES];
    static Entry entries[MAX_LINES];
    Arena a;
    StrBuf all = {0};
    int32_t n = 0;
    arena_init(&a, heap_default());
    if (file_read(path, &all, NULL) != KILN_OK || !all.data) return 1;
    char *rest = all.data;
    for (char *line; n < MAX_LINES && (line = strsep(&rest, "\n"));)
        if (line[0] == '{') lines[n++] = line;
    int32_t wrong = print_failures(&a, n, lines, out);
    print_facts(&a, n, lines, out);
    Ceilings c = find_ceilings(n, lines);
    int32_t n_entries = collect(&a, n, lines, &c, entries);
    print_table(&a, n_entries, entries, out);
    fprintf(out, "\n%d measurements, %d wrong\n", n_entries, wrong);
    strbuf_free(&all);
    arena_reset(&a);
    return wrong;
}
