// cli/bench.c - kiln bench: which of the two benches, lists of numbers, spreads, progress.
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/bench.h"

static volatile sig_atomic_t interrupts;

static void on_interrupt(int number)
{
    (void)number;
    if (++interrupts > 1) _exit(EXIT_INTERRUPT);
}

bool bench_interrupted(void)
{
    return interrupts > 0;
}

void bench_progress(const Settings *s, const char *test, int32_t rep, int32_t n_reps)
{
    if (s->quiet || !isatty(STDERR_FILENO)) return;
    if (test)
        fprintf(stderr, "\r%.60s %d/%d\033[K", test, rep, n_reps);
    else
        fputs("\r\033[K", stderr);
}

// ---- lists --------------------------------------------------------------------------------------

typedef struct Numbers {
    VEC(int64_t) v;
} Numbers;

/// One item: "512", "128-512+128", "128-512*2".
static bool add_range(Arena *arena, const char *item, Numbers *out)
{
    enum { MOST = 4096 };
    const char *dash = strchr(item, '-');
    if (!dash || dash == item) {
        int64_t v;
        if (!parse_count(item, &v)) return false;
        vec_push(arena, &out->v, v);
        return true;
    }
    size_t mark = strcspn(dash + 1, "+*");
    const char *op = dash + 1 + mark;
    int64_t first, last, step = 1;
    if (!parse_count(arena_strndup(arena, item, (size_t)(dash - item)), &first) ||
        !parse_count(arena_strndup(arena, dash + 1, mark), &last) ||
        (*op && !parse_count(op + 1, &step)) || last < first || step < 1 + (*op == '*') ||
        (*op == '*' && first < 1))
        return false;
    for (int64_t v = first; v <= last; v = *op == '*' ? v * step : v + step) {
        if (out->v.len == MOST) return false;
        vec_push(arena, &out->v, v);
    }
    return true;
}

KilnStatus bench_numbers(const char *flag, const TextList *list, Arena *arena, int32_t *n,
                         int64_t **out, Diag *diag)
{
    Numbers all = {0};
    for (int32_t i = 0; i < list->n; i++)
        for (const char *at = list->items[i];; at++) {
            size_t len = strcspn(at, ",");
            if (!add_range(arena, arena_strndup(arena, at, len), &all))
                return fail(diag, KILN_ERR_INPUT, "",
                            "%s: \"%s\" is no list of numbers such as 128,512 or 128-512+128", flag,
                            list->items[i]);
            at += len;
            if (!*at) break;
        }
    for (int32_t i = 0; i < all.v.len; i++)
        if (all.v.data[i] < 0 || all.v.data[i] > 1 << 24)
            return fail(diag, KILN_ERR_INPUT, "", "%s: %lld is out of range", flag,
                        (long long)all.v.data[i]);
    *n = all.v.len;
    *out = all.v.data;
    return KILN_OK;
}

// ---- spreads ------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

BenchSpread bench_spread(int32_t n, const double *values)
{
    BenchSpread s = {0};
    double sorted[BENCH_MAX_REPS], squares = 0;
    if (n < 1) return s;
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    s.median = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    for (int32_t i = 0; i < n; i++)
        s.mean += values[i] / n;
    for (int32_t i = 0; i < n; i++)
        squares += (values[i] - s.mean) * (values[i] - s.mean);
    s.deviation = n > 1 ? sqrt(squares / (n - 1)) : 0;
    return s;
}

BenchSpread bench_rate(const BenchRow *row)
{
    double rate[BENCH_MAX_REPS];
    double work = !row->is_kernel ? row->tokens : row->flops > 0 ? row->flops : row->bytes;
    for (int32_t i = 0; i < row->n_reps; i++)
        rate[i] = row->seconds[i] > 0 ? work / row->seconds[i] : 0;
    return bench_spread(row->n_reps, rate);
}

double bench_share(const BenchRow *row)
{
    double took = bench_spread(row->n_reps, row->seconds).median;
    return took > 0 ? row->least / took : 0;
}

// ---- the command --------------------------------------------------------------------------------

/// FILE.py and FILE.py:FUNC are kernels; everything else is a model.
static bool is_kernel_file(const char *arg)
{
    const char *colon = strrchr(arg, ':');
    size_t len = colon ? (size_t)(colon - arg) : strlen(arg);
    return len > 3 && !strncmp(arg + len - 3, ".py", 3);
}

static KilnStatus check(const Settings *s, Diag *diag)
{
    if (!s->model)
        return fail_hint(diag, KILN_ERR_INPUT, "",
                         "kiln bench models/data/kiln-tiny.gguf -p 64 -n 32",
                         "bench needs a model or a kernel file: kiln bench MODEL | FILE.py[:FUNC]");
    if (s->n_args > 1)
        return fail(diag, KILN_ERR_INPUT, "", "bench takes one model or kernel file, not also %s",
                    s->args[1]);
    if (!bench_form_known(s->bench_output))
        return fail(diag, KILN_ERR_INPUT, "", "-o %s: is none of md csv json jsonl",
                    s->bench_output);
    if (s->repetitions < 1 || s->repetitions > BENCH_MAX_REPS)
        return fail(diag, KILN_ERR_INPUT, "", "-r %lld: between 1 and %d repetitions",
                    (long long)s->repetitions, BENCH_MAX_REPS);
    return KILN_OK;
}

int command_bench(const Settings *s, Arena *arena, Diag *diag)
{
    if (check(s, diag) != KILN_OK) return EXIT_USAGE;
    signal(SIGINT, on_interrupt);
    BenchReport *r = arena_new(arena, BenchReport);
    *r = (BenchReport){.s = s, .arena = arena, .is_kernel = is_kernel_file(s->model)};
    int code = r->is_kernel ? bench_kernel(r, diag) : bench_model(r, diag);
    if (s->svg && r->rows.len && code == EXIT_DONE && bench_svg(r, s->svg, diag) != KILN_OK)
        code = EXIT_FAILED;
    return bench_interrupted() ? EXIT_INTERRUPT : code;
}
