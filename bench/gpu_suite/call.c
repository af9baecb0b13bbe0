// bench/gpu_suite/call.c - launches written down once, and device memory with numbers in it.
#include <stdlib.h>

#include "bench/gpu_suite/suite.h"

// ---- launches -----------------------------------------------------------------------------------

Call call_of(const char *file, const char *func, Grid grid)
{
    Call c = {.file = file, .func = func, .grid = grid};
    strbuf_printf(&c.words, "%s(", func);
    return c;
}

static void comma(Call *c)
{
    if (c->words.data[c->words.len - 1] != '(') strbuf_puts(&c->words, ", ");
}

void call_ptr(Call *c, const char *name, DType t, const void *at)
{
    comma(c);
    if (!at) {
        strbuf_printf(&c->words, "%s: None", name);
        return;
    }
    strbuf_printf(&c->words, "%s: *%s%s", name, dtype_facts[t].name,
                  (uintptr_t)at % 16 ? "" : ":16");
    c->args[c->n_args++] = arg_ptr(name, t, at);
}

void call_int(Call *c, const char *name, int64_t v)
{
    comma(c);
    strbuf_printf(&c->words, "%s: i32%s", name, v % 16 ? "" : ":16");
    c->args[c->n_args++] = arg_int(name, v);
}

void call_float(Call *c, const char *name, double v)
{
    comma(c);
    strbuf_printf(&c->words, "%s: f32", name);
    c->args[c->n_args++] = arg_float(name, v);
}

void call_const(Call *c, const char *name, int64_t v)
{
    comma(c);
    strbuf_printf(&c->words, "%s=%lld", name, (long long)v);
}

void call_bool(Call *c, const char *name, bool v)
{
    comma(c);
    strbuf_printf(&c->words, "%s=%s", name, v ? "True" : "False");
}

KilnStatus call_kernel(Suite *s, Call *c, Kernel **out)
{
    if (c->words.data[c->words.len - 1] != ']')
        strbuf_printf(&c->words, ")[num_warps=%d, num_stages=%d]", c->warps ? c->warps : 4,
                      c->stages ? c->stages : 3);
    return kernel_find(s->kernels, c->file, (Str){c->words.data, c->words.len}, out, &s->diag);
}

void call_free(Call *c)
{
    strbuf_free(&c->words);
}

KilnStatus call_run(Suite *s, Call *c)
{
    Kernel *k;
    KilnStatus st = call_kernel(s, c, &k);
    if (st == KILN_OK) st = kernel_launch(k, c->grid, c->n_args, c->args, &s->diag);
    call_free(c);
    return st;
}

// ---- memory -------------------------------------------------------------------------------------

int32_t suite_mark(const Suite *s)
{
    return s->dev->n_ranges;
}

/// Ranges are sorted by address, so what is new is told by name: every one of ours is "suite".
void suite_release(Suite *s, int32_t mark)
{
    for (int32_t i = s->dev->n_ranges - 1; i >= 0 && s->dev->n_ranges > mark; i--) {
        const MemRange *r = &s->dev->ranges[i].range;
        if (r->name && !strcmp(r->name, "suite")) device_free(s->dev, r->begin);
    }
}

KilnStatus suite_numbers(Suite *s, DType t, int64_t n, double scale, void **out)
{
    static const int32_t block = 1024;
    KilnStatus st =
        device_alloc(s->dev, (size_t)n * (size_t)dtype_bytes(t), "suite", out, &s->diag);
    if (st != KILN_OK) return st;
    bool is_float = dtype_is_float(t);
    int64_t piece = (int64_t)1 << 30; // positions are 32 bit
    for (int64_t first = 0; st == KILN_OK && first < n; first += piece) {
        int64_t len = MIN(piece, n - first);
        Call c = call_of("suite.py", is_float ? "fill" : "fill_codes",
                         grid_of(div_up(len, block), 1, 1));
        call_ptr(&c, "y", t, (char *)*out + first * dtype_bytes(t));
        call_int(&c, "seed", 1 + s->dev->counters.allocations * 31 + first / piece);
        call_int(&c, "n", len);
        if (is_float)
            call_float(&c, "scale", scale);
        else
            call_int(&c, "lo", (int64_t)-scale), call_int(&c, "span", 2 * (int64_t)scale + 1);
        call_const(&c, "BLOCK", block);
        st = call_run(s, &c);
    }
    return st;
}

KilnStatus suite_ints(Suite *s, int64_t n, const int32_t *values, void **out)
{
    KilnStatus st = device_alloc(s->dev, (size_t)n * 4, "suite", out, &s->diag);
    if (st == KILN_OK) device_upload(s->dev, *out, values, (size_t)n * 4);
    return st;
}

KilnStatus suite_iota(Suite *s, int64_t n, int32_t first, int32_t step, void **out)
{
    int32_t *values = calloc((size_t)n + 1, 4);
    if (!values)
        return fail(&s->diag, KILN_ERR_NOMEM, "K102", "no memory for %lld numbers", (long long)n);
    for (int64_t i = 0; i < n; i++)
        values[i] = first + (int32_t)i * step;
    KilnStatus st = suite_ints(s, n, values, out);
    free(values);
    return st;
}

KilnStatus suite_one(Suite *s, int32_t value, void **out)
{
    return suite_ints(s, 1, &value, out);
}
