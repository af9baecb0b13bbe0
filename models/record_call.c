// models/record_call.c - a launch, written down: words of the specialisation and arguments side by side.
#include <stdio.h>

#include "models/record.h"

const Place place_none = {0};

Call call_begin(const char *file, const char *func)
{
    Call c = {.file = file, .func = func};
    strbuf_printf(&c.words, "%s(", func);
    return c;
}

static void comma(Call *c)
{
    if (c->words.data[c->words.len - 1] != '(') strbuf_puts(&c->words, ", ");
}

void pass_place(Call *c, const char *name, Place p)
{
    comma(c);
    if (!p.is_tensor && !p.at) {
        strbuf_printf(&c->words, "%s: None", name);
        return;
    }
    bool aligned = p.is_tensor ? p.offset % 16 == 0 : (uintptr_t)p.at % 16 == 0;
    strbuf_printf(&c->words, "%s: *%s%s", name, dtype_facts[p.dtype].name, aligned ? ":16" : "");
    ASSERT(c->n_args < CALL_MAX_ARGS);
    c->args[c->n_args++] = place_arg(name, p);
}

void pass_int(Call *c, const char *name, int64_t v)
{
    comma(c);
    strbuf_printf(&c->words, "%s: i32%s", name, v % 16 == 0 ? ":16" : "");
    ASSERT(c->n_args < CALL_MAX_ARGS);
    c->args[c->n_args++] = arg_int(name, v);
}

void pass_float(Call *c, const char *name, double v)
{
    comma(c);
    strbuf_printf(&c->words, "%s: f32", name);
    ASSERT(c->n_args < CALL_MAX_ARGS);
    c->args[c->n_args++] = arg_float(name, v);
}

void pass_const(Call *c, const char *name, int64_t v)
{
    comma(c);
    strbuf_printf(&c->words, "%s=%lld", name, (long long)v);
}

void pass_bool(Call *c, const char *name, bool v)
{
    comma(c);
    strbuf_printf(&c->words, "%s=%s", name, v ? "True" : "False");
}

KilnStatus call_launch(Recorder *r, Call *c, Grid grid, int32_t num_warps)
{
    KilnStatus st = KILN_OK;
    Kernel *k;
    strbuf_printf(&c->words, ")[num_warps=%d", (int)num_warps);
    if (c->maxnreg) strbuf_printf(&c->words, ", maxnreg=%d", (int)c->maxnreg);
    strbuf_puts(&c->words, "]");
    if (c->words.failed)
        TRY(fail(r->diag, KILN_ERR_NOMEM, "K102", "no memory to record %s", c->func));
    TRY(kernel_find(r->t->kernels, c->file, (Str){c->words.data, c->words.len}, &k, r->diag));
    TRY(graph_launch(r->g, k, grid, c->n_args, c->args, r->diag));
done:
    strbuf_free(&c->words);
    return st;
}

// ---- buffers ------------------------------------------------------------------------------------------

Place place_buffer(Recorder *r, const char *name, DType dtype, int64_t n)
{
    return (Place){.dtype = dtype,
                   .is_tensor = true,
                   .tensor = graph_tensor(r->g, name, (size_t)n * (size_t)dtype_bytes(dtype))};
}

Place place_activation(Recorder *r, const char *name, int64_t width)
{
    return place_buffer(r, name, r->act, round_up(r->shape->n_tokens, ROWS_READABLE) * width);
}

Place place_at(DType dtype, const void *address)
{
    return (Place){.dtype = dtype, .at = address};
}

Place place_weight(const Matrix *m)
{
    return place_at(m->dtype, m->at);
}

Place place_scales(const Matrix *m)
{
    return m->scale ? place_at(DTYPE_F16, m->scale) : place_none;
}

void pass_planes(Call *c, const Matrix *m, bool all)
{
    const struct {
        const char *name;
        PackPlane plane;
        bool is_passed;
    } planes[] = {{"w", PACK_CODES, true},
                  {"wh", PACK_HIGH, all},
                  {all ? "sc" : "ws", PACK_SCALE, true},
                  {"mn", PACK_MIN, all},
                  {"sd", PACK_SUPER, all}};
    PackLayout layout;
    bool fits = pack_layout(m->type, m->rows, m->cols, &layout);
    ASSERT(fits);
    for (int32_t i = 0; i < COUNT_OF(planes); i++) {
        PackPlane k = planes[i].plane;
        if (planes[i].is_passed)
            pass_place(c, planes[i].name, place_at(layout.plane[k].dtype, m->plane[k]));
    }
}

Arg place_arg(const char *name, Place p)
{
    return p.is_tensor ? arg_tensor(name, p.dtype, p.tensor, p.offset)
                       : arg_ptr(name, p.dtype, p.at);
}

int32_t tile_up_to(int64_t extent, int32_t most)
{
    return (int32_t)MIN(next_pow2(extent), most);
}

int32_t even_tile_up_to(int64_t extent, int32_t most, int32_t least)
{
    int32_t tile = most;
    while (tile > least && extent % tile)
        tile /= 2;
    return tile;
}

Slice slice_of(Place p, int64_t column, int64_t stride)
{
    p.offset += column * dtype_bytes(p.dtype);
    return (Slice){p, stride};
}
