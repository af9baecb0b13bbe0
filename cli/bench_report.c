// cli/bench_report.c - rows as Markdown, CSV, JSON, JSON lines.
//
//   columns  one table of (name, kind, how to get it); csv and json print all of them, md those with a width
//
// Names of fields are llama-bench's where it has them; fields are added, never renamed.
#include <stdio.h>

#include "cli/bench.h"

typedef enum FieldKind { FIELD_TEXT, FIELD_INT, FIELD_REAL, FIELD_REALS } FieldKind;

typedef struct Value {
    const char *text;
    int64_t i;
    double f;
    const double *reals; ///< n of them, each times `scale`
    int32_t n;
    double scale;
} Value;

typedef struct Field {
    const char *name;
    FieldKind kind;
    bool of_models, of_kernels;
    Value (*get)(const BenchRow *r);
} Field;

#define GET(name, ...)                                                                             \
    static Value get_##name(const BenchRow *r)                                                     \
    {                                                                                              \
        return (Value){__VA_ARGS__};                                                               \
    }
GET(test, .text = r->test)
GET(model, .text = r->model)
GET(path, .text = r->path)
GET(device, .text = r->device)
GET(device_model, .text = r->device_model)
GET(model_bytes, .i = (int64_t)r->model_bytes)
GET(n_params, .i = r->n_params)
GET(n_threads, .i = r->n_threads)
GET(n_batch, .i = r->n_batch)
GET(n_ubatch, .i = r->n_ubatch)
GET(type_k, .text = r->type_k)
GET(type_v, .text = r->type_v)
GET(n_parallel, .i = r->n_parallel)
GET(n_prompt, .i = r->n_prompt)
GET(n_gen, .i = r->n_gen)
GET(n_depth, .i = r->n_depth)
GET(avg_ns, .i = (int64_t)(bench_spread(r->n_reps, r->seconds).mean * 1e9))
GET(stddev_ns, .i = (int64_t)(bench_spread(r->n_reps, r->seconds).deviation * 1e9))
GET(avg_ts, .f = bench_rate(r).mean)
GET(stddev_ts, .f = bench_rate(r).deviation)
GET(median_ts, .f = bench_rate(r).median)
GET(samples_ns, .reals = r->seconds, .n = r->n_reps, .scale = 1e9)
GET(samples_ttft_ms, .reals = r->ttft, .n = r->n_reps, .scale = 1e3)
GET(ttft_ms, .f = bench_spread(r->n_reps, r->ttft).median * 1e3)
GET(of_ceiling, .f = bench_share(r))
GET(bound, .text = r->is_compute ? "arithmetic" : "memory")
GET(peak_type, .text = bench_peak_name(r->peak))
GET(bytes, .f = r->bytes)
GET(flops, .f = r->flops)
GET(read_gb_s, .f = r->ceiling.read / 1e9)
GET(copy_gb_s, .f = r->ceiling.copy / 1e9)
GET(peak_f32, .f = r->ceiling.peak[PEAK_F32] / 1e9)
GET(peak_bf16, .f = r->ceiling.peak[PEAK_BF16] / 1e9)
GET(peak_i8, .f = r->ceiling.peak[PEAK_I8] / 1e9)
GET(peak_i4, .f = r->ceiling.peak[PEAK_I4] / 1e9)
GET(why_no_peak, .text = r->ceiling.why_no_peak ? r->ceiling.why_no_peak : "")
GET(weights, .i = (int64_t)r->weights)
GET(kv, .i = (int64_t)r->kv)
GET(activations, .i = (int64_t)r->activations)
GET(rss, .i = (int64_t)r->rss)
GET(load_s, .f = r->load_seconds)
GET(ids, .text = r->ids)
GET(gb_s, .f = r->bytes / bench_spread(r->n_reps, r->seconds).median / 1e9)
GET(gflop_s, .f = r->flops / bench_spread(r->n_reps, r->seconds).median / 1e9)
GET(median_us, .f = bench_spread(r->n_reps, r->seconds).median * 1e6)

static const Field fields[] = {
    {"test", FIELD_TEXT, true, true, get_test},
    {"model_filename", FIELD_TEXT, true, true, get_path},
    {"model_type", FIELD_TEXT, true, false, get_model},
    {"model_size", FIELD_INT, true, false, get_model_bytes},
    {"model_n_params", FIELD_INT, true, false, get_n_params},
    {"device", FIELD_TEXT, true, true, get_device},
    {"cpu_info", FIELD_TEXT, true, true, get_device_model},
    {"n_threads", FIELD_INT, true, true, get_n_threads},
    {"n_batch", FIELD_INT, true, false, get_n_batch},
    {"n_ubatch", FIELD_INT, true, false, get_n_ubatch},
    {"type_k", FIELD_TEXT, true, false, get_type_k},
    {"type_v", FIELD_TEXT, true, false, get_type_v},
    {"n_parallel", FIELD_INT, true, false, get_n_parallel},
    {"n_prompt", FIELD_INT, true, false, get_n_prompt},
    {"n_gen", FIELD_INT, true, false, get_n_gen},
    {"n_depth", FIELD_INT, true, false, get_n_depth},
    {"avg_ns", FIELD_INT, true, true, get_avg_ns},
    {"stddev_ns", FIELD_INT, true, true, get_stddev_ns},
    {"avg_ts", FIELD_REAL, true, false, get_avg_ts},
    {"stddev_ts", FIELD_REAL, true, false, get_stddev_ts},
    {"median_ts", FIELD_REAL, true, false, get_median_ts},
    {"median_us", FIELD_REAL, false, true, get_median_us},
    {"gb_per_s", FIELD_REAL, true, true, get_gb_s},
    {"gflop_per_s", FIELD_REAL, true, true, get_gflop_s},
    {"of_ceiling", FIELD_REAL, true, true, get_of_ceiling},
    {"bound", FIELD_TEXT, true, true, get_bound},
    {"peak_type", FIELD_TEXT, true, true, get_peak_type},
    {"ttft_ms", FIELD_REAL, true, false, get_ttft_ms},
    {"load_s", FIELD_REAL, true, false, get_load_s},
    {"bytes", FIELD_REAL, true, true, get_bytes},
    {"flops", FIELD_REAL, true, true, get_flops},
    {"read_gb_per_s", FIELD_REAL, true, true, get_read_gb_s},
    {"copy_gb_per_s", FIELD_REAL, true, true, get_copy_gb_s},
    {"peak_f32_gflop_per_s", FIELD_REAL, true, true, get_peak_f32},
    {"peak_bf16_gflop_per_s", FIELD_REAL, true, true, get_peak_bf16},
    {"peak_int8_gflop_per_s", FIELD_REAL, true, true, get_peak_i8},
    {"peak_int4_gflop_per_s", FIELD_REAL, true, true, get_peak_i4},
    {"no_peak", FIELD_TEXT, true, true, get_why_no_peak},
    {"weight_bytes", FIELD_INT, true, false, get_weights},
    {"kv_bytes", FIELD_INT, true, false, get_kv},
    {"activation_bytes", FIELD_INT, true, false, get_activations},
    {"peak_rss_bytes", FIELD_INT, true, false, get_rss},
    {"ids", FIELD_TEXT, true, false, get_ids},
    {"samples_ns", FIELD_REALS, true, true, get_samples_ns},
    {"samples_ttft_ms", FIELD_REALS, true, false, get_samples_ttft_ms},
};

static bool has_field(const BenchReport *r, const Field *f)
{
    return r->is_kernel ? f->of_kernels : f->of_models;
}

// ---- json, csv ----------------------------------------------------------------------------------

static void put_reals(StrBuf *out, const Value *v)
{
    for (int32_t i = 0; i < v->n; i++)
        strbuf_printf(out, "%s%.6g", i ? ", " : "", v->reals[i] * v->scale);
}

static void put_json(const BenchReport *r, const BenchRow *row, StrBuf *out)
{
    strbuf_puts(out, "{\"schema\": \"kiln.bench/1\"");
    for (int32_t i = 0; i < COUNT_OF(fields); i++) {
        const Field *f = &fields[i];
        if (!has_field(r, f)) continue;
        Value v = f->get(row);
        strbuf_printf(out, ", \"%s\": ", f->name);
        switch (f->kind) {
        case FIELD_TEXT:
            strbuf_putc(out, '"');
            strbuf_json(out, v.text, strlen(v.text));
            strbuf_putc(out, '"');
            break;
        case FIELD_INT:
            strbuf_printf(out, "%lld", (long long)v.i);
            break;
        case FIELD_REAL:
            strbuf_printf(out, "%.6g", v.f);
            break;
        case FIELD_REALS:
            strbuf_putc(out, '[');
            put_reals(out, &v);
            strbuf_putc(out, ']');
            break;
        }
    }
    strbuf_putc(out, '}');
}

static void put_quoted(StrBuf *out, const char *text)
{
    strbuf_putc(out, '"');
    for (; *text; text++)
        strbuf_printf(out, *text == '"' ? "\"\"" : "%c", *text);
    strbuf_putc(out, '"');
}

/// Lists of repetitions are for JSON.
static void put_csv(const BenchReport *r, const BenchRow *row, StrBuf *out)
{
    for (int32_t i = 0, n = 0; i < COUNT_OF(fields); i++) {
        const Field *f = &fields[i];
        if (!has_field(r, f) || f->kind == FIELD_REALS) continue;
        if (n++) strbuf_putc(out, ',');
        if (!row) {
            strbuf_puts(out, f->name);
            continue;
        }
        Value v = f->get(row);
        if (f->kind == FIELD_TEXT)
            put_quoted(out, v.text);
        else if (f->kind == FIELD_INT)
            strbuf_printf(out, "%lld", (long long)v.i);
        else
            strbuf_printf(out, "%.6g", v.f);
    }
    strbuf_putc(out, '\n');
}

// ---- md -----------------------------------------------------------------------------------------

typedef struct MdColumn {
    const char *name;
    int32_t width; ///< at least; negative: to the left
    bool of_models, of_kernels;
    const bool *shown; ///< NULL: always
    const char *(*text)(Arena *a, const BenchRow *r);
} MdColumn;

static const char *md_model(UNUSED Arena *a, const BenchRow *r)
{
    return r->model;
}
static const char *md_size(Arena *a, const BenchRow *r)
{
    return bytes_text(a, (double)r->model_bytes);
}
static const char *md_params(Arena *a, const BenchRow *r)
{
    double n = (double)r->n_params;
    return n >= 1e9 ? arena_printf(a, "%.2f B", n / 1e9) : arena_printf(a, "%.2f M", n / 1e6);
}
static const char *md_device(UNUSED Arena *a, const BenchRow *r)
{
    return r->device;
}
static const char *md_threads(Arena *a, const BenchRow *r)
{
    return arena_printf(a, "%d", r->n_threads);
}
static const char *md_ubatch(Arena *a, const BenchRow *r)
{
    return arena_printf(a, "%d", r->n_batch);
}
static const char *md_type(UNUSED Arena *a, const BenchRow *r)
{
    return r->type_k;
}
static const char *md_test(UNUSED Arena *a, const BenchRow *r)
{
    return r->test;
}
static const char *md_rate(Arena *a, const BenchRow *r)
{
    BenchSpread s = bench_rate(r);
    return arena_printf(a, "%.2f ± %.2f", s.mean, s.deviation);
}
static const char *md_share(Arena *a, const BenchRow *r)
{
    double share = bench_share(r);
    return share > 0 ? arena_printf(a, "%.0f %% %s", 100 * share,
                                    r->is_compute ? bench_peak_name(r->peak) : "memory")
                     : "-";
}
static const char *md_ttft(Arena *a, const BenchRow *r)
{
    return arena_printf(a, "%.1f", bench_spread(r->n_reps, r->ttft).median * 1e3);
}
static const char *md_kv(Arena *a, const BenchRow *r)
{
    return bytes_text(a, (double)r->kv);
}
static const char *md_activations(Arena *a, const BenchRow *r)
{
    return bytes_text(a, (double)r->activations);
}
static const char *md_rss(Arena *a, const BenchRow *r)
{
    return bytes_text(a, (double)r->rss);
}
static const char *md_us(Arena *a, const BenchRow *r)
{
    BenchSpread s = bench_spread(r->n_reps, r->seconds);
    return arena_printf(a, "%.1f ± %.1f", s.median * 1e6, s.deviation * 1e6);
}
static const char *md_gb_s(Arena *a, const BenchRow *r)
{
    return arena_printf(a, "%.1f", get_gb_s(r).f);
}
static const char *md_gflop_s(Arena *a, const BenchRow *r)
{
    return r->flops > 0 ? arena_printf(a, "%.1f", get_gflop_s(r).f) : "-";
}

enum { MD_MOST = 20 };

static int32_t md_columns(const BenchReport *r, MdColumn out[MD_MOST])
{
    const Settings *s = r->s;
    const MdColumn all[] = {
        {"model", -28, true, false, NULL, md_model},
        {"size", 10, true, false, NULL, md_size},
        {"params", 9, true, false, NULL, md_params},
        {"device", -10, true, true, NULL, md_device},
        {"threads", 7, true, true, NULL, md_threads},
        {"chunk", 5, true, false, &s->given.bench_ubatch, md_ubatch},
        {"cache", -5, true, false, &s->given.bench_ctk, md_type},
        {"test", r->is_kernel ? -56 : -20, true, true, NULL, md_test},
        {"t/s", 18, true, false, NULL, md_rate},
        {"µs", 18, false, true, NULL, md_us},
        {"GB/s", 7, false, true, NULL, md_gb_s},
        {"GFLOP/s", 8, false, true, NULL, md_gflop_s},
        {"of ceiling", 12, true, true, NULL, md_share},
        {"ttft ms", 9, true, false, NULL, md_ttft},
        {"kv", 10, true, false, NULL, md_kv},
        {"activations", 11, true, false, NULL, md_activations},
        {"peak rss", 10, true, false, NULL, md_rss},
    };
    int32_t n = 0;
    for (int32_t i = 0; i < COUNT_OF(all); i++)
        if ((r->is_kernel ? all[i].of_kernels : all[i].of_models) &&
            (!all[i].shown || *all[i].shown))
            out[n++] = all[i];
    return n;
}

/// A padded cell; bytes that continue a character take no room.
static void put_cell(StrBuf *out, const char *text, int32_t width)
{
    int32_t len = 0, want = width < 0 ? -width : width;
    for (const char *c = text; *c; c++)
        len += ((unsigned char)*c & 0xC0) != 0x80;
    int32_t gap = MAX(want - len, 0);
    if (width < 0)
        strbuf_printf(out, " %s%*s |", text, gap, "");
    else
        strbuf_printf(out, " %*s%s |", gap, "", text);
}

static void put_md(const BenchReport *r, const BenchRow *row, StrBuf *out)
{
    MdColumn columns[MD_MOST];
    int32_t n = md_columns(r, columns);
    strbuf_putc(out, '|');
    for (int32_t i = 0; i < n; i++)
        put_cell(out, row ? columns[i].text(r->arena, row) : columns[i].name, columns[i].width);
    strbuf_putc(out, '\n');
    if (row) return;
    strbuf_putc(out, '|');
    for (int32_t i = 0; i < n; i++) {
        int32_t width = columns[i].width;
        strbuf_puts(out, width < 0 ? " :" : " ");
        for (int32_t k = 0; k < (width < 0 ? -width : width) - 1; k++)
            strbuf_putc(out, '-');
        strbuf_puts(out, width < 0 ? " |" : ": |");
    }
    strbuf_putc(out, '\n');
}

static double best_peak(const BenchReport *r, int32_t which)
{
    double best = 0;
    VEC_EACH(BenchRow *, row, &r->rows)
        best = MAX(best, (*row)->ceiling.peak[which]);
    return best;
}

static void put_ceilings(const BenchReport *r, StrBuf *out)
{
    const BenchRow *last = r->rows.data[r->rows.len - 1];
    double least = last->ceiling.read, most = least;
    VEC_EACH(BenchRow *, row, &r->rows) {
        least = MIN(least, (*row)->ceiling.read);
        most = MAX(most, (*row)->ceiling.read);
    }
    strbuf_printf(out, "\nkiln %s; %s; ceilings of this run: read %.1f to %.1f GB/s",
                  KILN_VERSION_TEXT, last->device_model, least / 1e9, most / 1e9);
    for (int32_t i = 0; i < PEAK_COUNT; i++)
        if (best_peak(r, i) > 0)
            strbuf_printf(out, ", %s %.1f GFLOP/s", bench_peak_name((BenchPeak)i),
                          best_peak(r, i) / 1e9);
    if (last->ceiling.why_no_peak) strbuf_printf(out, "; %s", last->ceiling.why_no_peak);
    strbuf_putc(out, '\n');
}

// ---- forms --------------------------------------------------------------------------------------

bool bench_form_known(const char *form)
{
    static const char *const forms[] = {"md", "csv", "json", "jsonl"};
    for (int32_t i = 0; i < COUNT_OF(forms); i++)
        if (!strcmp(form, forms[i])) return true;
    return false;
}

static bool is_form(const BenchReport *r, const char *form)
{
    return !strcmp(r->s->json ? "json" : r->s->bench_output, form);
}

static void flush(StrBuf *out)
{
    print_out(out);
    strbuf_free(out);
}

void bench_report_row(BenchReport *r, BenchRow *row)
{
    StrBuf out = {0};
    if (!r->rows.len && is_form(r, "md")) put_md(r, NULL, &out);
    if (!r->rows.len && is_form(r, "csv")) put_csv(r, NULL, &out);
    vec_push(r->arena, &r->rows, row);
    if (is_form(r, "md")) put_md(r, row, &out);
    if (is_form(r, "csv")) put_csv(r, row, &out);
    if (is_form(r, "jsonl")) put_json(r, row, &out), strbuf_putc(&out, '\n');
    flush(&out);
}

void bench_report_end(BenchReport *r)
{
    StrBuf out = {0};
    if (is_form(r, "md") && r->rows.len) put_ceilings(r, &out);
    if (is_form(r, "json")) {
        strbuf_puts(&out, "{\"schema\": \"kiln.bench/1\", \"rows\": [");
        for (int32_t i = 0; i < r->rows.len; i++) {
            if (i) strbuf_puts(&out, ",\n");
            put_json(r, r->rows.data[i], &out);
        }
        strbuf_puts(&out, "]}\n");
    }
    flush(&out);
}
