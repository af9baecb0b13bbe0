// models/record.c - one forward step as launches of kernels.dsl/.
#include <stdio.h>

#include "models/record.h"

// ---- the kernels of a layer ---------------------------------------------------------------------------

static KilnStatus record_embed(Recorder *r, Place x)
{
    const Matrix *e = &r->t->embedding;
    int32_t block = (int32_t)MIN(next_pow2(e->cols), 1024);
    Call c = call_begin("embed.py", e->is_panels ? "embed_panel" : "embed");
    pass_place(&c, "y", x);
    if (e->is_panels) {
        pass_planes(&c, e, true);
    } else {
        pass_place(&c, "table", place_weight(e));
        pass_place(&c, "scale", place_scales(e));
    }
    pass_place(&c, "token", place_at(DTYPE_I32, r->step->tokens));
    pass_place(&c, "rows", r->tokens);
    pass_int(&c, "vocab", e->rows);
    pass_int(&c, "n", e->cols);
    pass_int(&c, "sy", e->cols);
    pass_const(&c, "BLOCK", block);
    return call_launch(r, &c, grid_of(r->shape->n_tokens, div_up(e->cols, block), 1), 4);
}

/// Blocks of kernels that write where they read. An element that two threads of a GPU held would be read by one
/// after the other has written it.
static int32_t at_least_threads(const Recorder *r, int64_t block)
{
    return (int32_t)(r->is_gpu ? MAX(block, 128) : block);
}

/// x += add (none: nothing); y = rms(x) * gain. `ends`: only the last rows of sequences, densely in y.
static KilnStatus record_norm(Recorder *r, Place y, Place x, Place add, const Matrix *gain,
                              Place ends, Place rows, int32_t n_rows)
{
    int32_t n = r->t->config.d_model, block = at_least_threads(r, next_pow2(n));
    Call c = call_begin("rmsnorm.py", "rmsnorm");
    pass_place(&c, "y", y);
    pass_place(&c, "x", x);
    pass_place(&c, "r", add);
    pass_place(&c, "g", place_weight(gain));
    pass_place(&c, "rows", rows);
    pass_place(&c, "ends", ends);
    pass_int(&c, "n", n);
    pass_float(&c, "eps", r->t->config.rms_eps);
    pass_int(&c, "sy", n);
    pass_int(&c, "sx", n);
    pass_int(&c, "sr", n);
    pass_const(&c, "BLOCK", block);
    return call_launch(r, &c, grid_of(n_rows, 1, 1), block >= 4096 ? 8 : 4);
}

static KilnStatus record_silu_mul(Recorder *r, Place y, Slice gate, Slice up)
{
    int32_t n = r->t->config.d_ff, block = at_least_threads(r, MIN(next_pow2(n), 1024));
    Call c = call_begin("silu_mul.py", "silu_mul");
    pass_place(&c, "y", y);
    pass_place(&c, "gate", gate.at);
    pass_place(&c, "up", up.at);
    pass_place(&c, "rows", r->tokens);
    pass_int(&c, "n", n);
    pass_int(&c, "sy", n);
    pass_int(&c, "sg", gate.stride);
    pass_int(&c, "su", up.stride);
    pass_const(&c, "BLOCK", block);
    return call_launch(r, &c, grid_of(r->shape->n_tokens, div_up(n, block), 1), 4);
}

static KilnStatus record_sample(Recorder *r)
{
    const StepBuffers *s = r->step;
    int32_t vocab = r->t->config.vocab;
    Call c = call_begin("sample.py", "sample");
    pass_place(&c, "token", place_at(DTYPE_I32, s->out_ids));
    pass_place(&c, "logits", place_at(DTYPE_F32, s->logits));
    pass_place(&c, "ends", r->shape->all_logits ? place_at(DTYPE_I32, s->q_start + 1) : place_none);
    pass_place(&c, "rows", r->seqs);
    pass_place(&c, "temperature", place_at(DTYPE_F32, s->temperature));
    pass_place(&c, "top_k", place_at(DTYPE_I32, s->top_k));
    pass_place(&c, "top_p", place_at(DTYPE_F32, s->top_p));
    pass_place(&c, "min_p", place_at(DTYPE_F32, s->min_p));
    pass_place(&c, "seed", place_at(DTYPE_I64, s->seed));
    pass_place(&c, "step", place_at(DTYPE_I32, s->draw));
    pass_int(&c, "vocab", vocab);
    pass_int(&c, "sx", vocab);
    pass_bool(&c, "TEMPERATURE_LAST", true);
    pass_const(&c, "BLOCK",
               tile_up_to(vocab, r->is_gpu ? 1024 : 64)); // small blocks are skipped more often
    return call_launch(r, &c, grid_of(r->shape->n_seqs, 1, 1), 4);
}

// ---- the step -----------------------------------------------------------------------------------------

static Rows rows_of(const Recorder *r, Place x)
{
    return (Rows){.x = x, .count = r->tokens, .n = r->shape->n_tokens};
}

/// One layer: `add` is what the layer before adds to x, and becomes what this one adds.
static KilnStatus record_layer(Recorder *r, int32_t l, Place x, Place *add)
{
    KilnStatus st = KILN_OK;
    const ModelConfig *m = &r->t->config;
    const Layer *w = &r->t->layers[l];
    int32_t rows = r->shape->n_tokens;
    int64_t q_width = (int64_t)m->n_heads * m->head_dim;
    char section[32];
    snprintf(section, sizeof section, "layer %d", (int)l);
    graph_section(r->g, section);

    Rows h = rows_of(r, place_activation(r, "h", m->d_model));
    Slice qkv[3], gate_up[2];
    TRY(record_norm(r, h.x, x, *add, &w->attn_norm, place_none, h.count, rows));
    TRY(record_codes(r, &h, &w->qkv.part[0]));
    TRY(record_stack(r, "qkv", &h, &w->qkv, qkv));
    TRY(record_rope(r, l, qkv[0], qkv[1], qkv[2]));
    Rows a = rows_of(r, place_activation(r, "a", q_width));
    Place o = place_activation(r, "o", m->d_model);
    TRY(record_attention(r, l, a.x, qkv[0]));
    TRY(record_codes(r, &a, &w->o));
    TRY(record_linear(r, slice_of(o, 0, m->d_model), &a, &w->o));

    Rows f = rows_of(r, place_activation(r, "f", m->d_model));
    TRY(record_norm(r, f.x, x, o, &w->ffn_norm, place_none, f.count, rows));
    TRY(record_codes(r, &f, &w->gate_up.part[0]));
    TRY(record_stack(r, "gate_up", &f, &w->gate_up, gate_up));
    Rows act = rows_of(r, place_activation(r, "act", m->d_ff));
    TRY(record_silu_mul(r, act.x, gate_up[0], gate_up[1]));
    *add = place_activation(r, "down", m->d_model);
    TRY(record_codes(r, &act, &w->down));
    TRY(record_linear(r, slice_of(*add, 0, m->d_model), &act, &w->down));
done:
    return st;
}

KilnStatus transformer_record(Model *model, Graph *g, const StepBuffers *step,
                              const StepShape *shape, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Transformer *t = (Transformer *)model;
    TargetKind kind = t->dev->facts.target.kind;
    Recorder r = {.t = t,
                  .g = g,
                  .step = step,
                  .shape = shape,
                  .diag = diag,
                  .heap = model->heap,
                  .act = t->act};
    r.is_gpu = kind == TARGET_SM || kind == TARGET_EMU;
    r.tokens = place_at(DTYPE_I32, step->counts);
    r.seqs = place_at(DTYPE_I32, step->counts + 1);

    bool all = shape->all_logits;
    Place x = place_activation(&r, "x", t->config.d_model), add = place_none;
    graph_section(g, "embedding");
    TRY(record_embed(&r, x));
    for (int32_t l = 0; l < t->config.n_layers; l++)
        TRY(record_layer(&r, l, x, &add));

    graph_section(g, "output");
    int32_t rows = all ? shape->n_tokens : shape->n_seqs;
    Rows last = {.x = place_activation(&r, "last", t->config.d_model),
                 .count = all ? r.tokens : r.seqs,
                 .n = rows};
    Place ends = all ? place_none : place_at(DTYPE_I32, step->q_start + 1);
    TRY(record_norm(&r, last.x, x, add, &t->output_norm, ends, last.count, rows));
    TRY(record_codes(&r, &last, &t->output));
    TRY(record_linear(&r, slice_of(place_at(DTYPE_F32, step->logits), 0, t->config.vocab), &last,
                      &t->output));
    TRY(record_sample(&r));
done:
    return st;
}

size_t transformer_activation_bytes(const Model *m, const StepShape *shape)
{
    const Transformer *t = (const Transformer *)m;
    const ModelConfig *c = &t->config;
    int64_t q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
    // Alive at once: x, and of a layer either h qkv a o or f gate_up act down; and codes of one of them, with a scale and
    // a sum per 32.
    int64_t attention = 2 * c->d_model + 2 * q + 2 * kv,
            feed = 2 * c->d_model + 3 * (int64_t)c->d_ff;
    int64_t width = (c->d_model + MAX(attention, feed)) * dtype_bytes(t->act) +
                    MAX(c->d_ff, c->d_model) * 5 / 4 + 64;
    size_t bytes = (size_t)width * (size_t)round_up(shape->n_tokens, ROWS_READABLE);
    if (shape->phase == PHASE_DECODE)
        bytes += (size_t)shape->n_tokens * (size_t)(c->n_heads * (c->head_dim + 1)) * 32 * 4;
    return bytes + 4096;
}
