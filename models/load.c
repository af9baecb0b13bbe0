// models/load.c - weights from a mapped file to where kernels read them.
//
//   F32 F16 BF16   used where they lie, if the device can (and the user lets it); else copied
//   Q8_0 Q4_0      repacked into planes, in parallel over rows, and the source pages released
#include <sys/mman.h>
#include <unistd.h>

#include "models/transformer.h"

static KilnStatus hold(Transformer *t, void *at, Diag *diag)
{
    if (t->n_held == t->cap_held) {
        int32_t cap = MAX(64, 2 * t->cap_held);
        void **more = heap_array(t->model.heap, void *, cap);
        if (!more) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for the list of weights");
        if (t->n_held) memcpy(more, t->held, (size_t)t->n_held * sizeof *more);
        heap_free(t->model.heap, t->held);
        t->held = more;
        t->cap_held = cap;
    }
    t->held[t->n_held++] = at;
    return KILN_OK;
}

static KilnStatus take(Transformer *t, size_t bytes, const char *name, void **out, Diag *diag)
{
    KilnStatus st = device_alloc(t->dev, bytes, name, out, diag);
    if (st != KILN_OK) return st;
    st = hold(t, *out, diag);
    if (st != KILN_OK)
        device_free(t->dev, *out);
    else
        t->copied_bytes += bytes;
    return st;
}

// ---- Q8_0 and Q4_0: blocks of an f16 scale and the codes of 32 weights ----------------------------------

typedef struct Repack {
    const uint8_t *blocks;
    uint8_t *codes, *scales;
    int64_t n_blocks, per_task;
    size_t code_bytes; ///< of a block
} Repack;

/// Splits blocks begin .. end-1 into codes and scales.
static void repack_range(const Repack *r, int64_t begin, int64_t end)
{
    for (int64_t b = begin; b < end; b++) {
        const uint8_t *at = r->blocks + (size_t)b * (2 + r->code_bytes);
        memcpy(r->scales + 2 * b, at, 2);
        memcpy(r->codes + (size_t)b * r->code_bytes, at + 2, r->code_bytes);
    }
}

static void repack_task(void *user, int32_t thread, int64_t task)
{
    const Repack *r = user;
    (void)thread;
    repack_range(r, task * r->per_task, MIN(r->n_blocks, (task + 1) * r->per_task));
}

/// The whole pages inside `bytes` at `at` are clean file pages that nobody will read again.
static void release_pages(const void *at, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)at + page - 1) / page * page,
              end = ((uintptr_t)at + bytes) / page * page;
    if (end > begin) (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static KilnStatus load_packed(Transformer *t, const WeightTensor *w, Matrix *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    const BlockFacts *facts = block_facts(w->type);
    int64_t n_blocks = (int64_t)out->rows * out->cols / facts->block;
    size_t per_block = (size_t)facts->bytes - 2, code_bytes = (size_t)n_blocks * per_block,
           scale_bytes = (size_t)n_blocks * 2;
    void *codes, *scales, *stage = NULL;
    TRY(take(t, code_bytes, w->name, &codes, diag));
    TRY(take(t, scale_bytes, w->name, &scales, diag));
    Repack r = {w->data, codes, scales, n_blocks, 1 << 14, per_block};
    if (t->dev->facts.is_host_memory) {
        if (t->dev->pool)
            pool_run(t->dev->pool, repack_task, &r, div_up(n_blocks, r.per_task));
        else
            repack_range(&r, 0, n_blocks);
    } else {
        stage = heap_alloc(t->model.heap, code_bytes + scale_bytes, 64);
        if (!stage) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory to repack it", w->name));
        r.codes = stage;
        r.scales = r.codes + code_bytes;
        repack_range(&r, 0, n_blocks);
        device_upload(t->dev, codes, r.codes, code_bytes);
        device_upload(t->dev, scales, r.scales, scale_bytes);
    }
    out->at = codes;
    out->scale = scales;
    out->dtype = w->type == BLOCK_Q4_0 ? DTYPE_U8 : DTYPE_I8;
    if (t->use_mmap) release_pages(w->data, w->size_bytes);
done:
    heap_free(t->model.heap, stage);
    return st;
}

// ---- all types ----------------------------------------------------------------------------------------

static KilnStatus load_plain(Transformer *t, const WeightTensor *w, Matrix *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    out->dtype = block_facts(w->type)->dtype;
    if (t->use_mmap && (uintptr_t)w->data % (size_t)dtype_bytes(out->dtype) == 0 &&
        device_import(t->dev, w->data, w->size_bytes, w->name) == KILN_OK) {
        out->at = w->data;
        st = hold(t, (void *)(uintptr_t)w->data, diag);
        if (st != KILN_OK) device_free(t->dev, (void *)(uintptr_t)w->data);
        t->mapped_bytes += w->size_bytes;
        return st;
    }
    void *at;
    TRY(take(t, w->size_bytes, w->name, &at, diag));
    device_upload(t->dev, at, w->data, w->size_bytes);
    out->at = at;
done:
    return st;
}

static KilnStatus load_matrix(Transformer *t, int32_t layer, const char *name, int32_t rows,
                              int32_t cols, Matrix *out, Diag *diag)
{
    const WeightTensor *w;
    KilnStatus st = transformer_tensor(t, layer, name, rows, cols, &w, diag);
    if (st != KILN_OK) return st;
    *out = (Matrix){.rows = rows, .cols = cols};
    if (w->type == BLOCK_Q8_0 || w->type == BLOCK_Q4_0) return load_packed(t, w, out, diag);
    if (block_facts(w->type)->dtype != DTYPE_VOID) return load_plain(t, w, out, diag);
    return fail_hint(diag, KILN_ERR_UNSUPPORTED, "K207",
                     "types that run: F32, F16, BF16, Q8_0, Q4_0", "%s: tensor %s has type %s",
                     model_file_path(t->file), w->name, block_facts(w->type)->name);
}

static KilnStatus load_layer(Transformer *t, int32_t l, Layer *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    const Architecture *a = t->arch;
    const ModelConfig *c = &t->config;
    int32_t d = c->d_model, q_rows = c->n_heads * c->head_dim,
            kv_rows = c->n_kv_heads * c->head_dim;
    TRY(load_matrix(t, l, a->attn_norm, 1, d, &out->attn_norm, diag));
    TRY(load_matrix(t, l, a->attn_q, q_rows, d, &out->q, diag));
    TRY(load_matrix(t, l, a->attn_k, kv_rows, d, &out->k, diag));
    TRY(load_matrix(t, l, a->attn_v, kv_rows, d, &out->v, diag));
    TRY(load_matrix(t, l, a->attn_output, d, q_rows, &out->o, diag));
    TRY(load_matrix(t, l, a->ffn_norm, 1, d, &out->ffn_norm, diag));
    TRY(load_matrix(t, l, a->ffn_gate, c->d_ff, d, &out->gate, diag));
    TRY(load_matrix(t, l, a->ffn_up, c->d_ff, d, &out->up, diag));
    TRY(load_matrix(t, l, a->ffn_down, d, c->d_ff, &out->down, diag));
done:
    return st;
}

/// Matrix units multiply 16-bit numbers. F16 has the finer ones, and packed weights are cheaper to turn into
/// them; a model in BF16 may need its range.
static DType act_of(const Transformer *t)
{
    const Target *target = &t->dev->facts.target;
    if (t->wanted_act != DTYPE_VOID) return t->wanted_act;
    if (target->kind != TARGET_SM && target->kind != TARGET_EMU) return DTYPE_F32;
    bool is_bf16 = !strcmp(t->model.facts.weight_type, "BF16") && target->sm >= 80;
    return is_bf16 ? DTYPE_BF16 : DTYPE_F16;
}

KilnStatus transformer_load(Model *m, KernelCache *kernels, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Transformer *t = (Transformer *)m;
    const ModelConfig *c = &t->config;
    float *steps = NULL;
    void *at;
    transformer_unload(t);
    t->kernels = kernels;
    t->dev = kernel_cache_device(kernels);
    t->act = act_of(t);
    t->layers = heap_array(m->heap, Layer, c->n_layers);
    steps = heap_array(m->heap, float, MAX(c->rope_dim / 2, 1));
    if (!t->layers || !steps)
        TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for the table of %d layers",
                 c->n_layers));
    TRY(load_matrix(t, -1, t->arch->embedding, c->vocab, c->d_model, &t->embedding, diag));
    for (int32_t l = 0; l < c->n_layers; l++)
        TRY(load_layer(t, l, &t->layers[l], diag));
    TRY(load_matrix(t, -1, t->arch->output_norm, 1, c->d_model, &t->output_norm, diag));
    t->output = t->embedding;
    if (!c->tied) TRY(load_matrix(t, -1, t->arch->output, c->vocab, c->d_model, &t->output, diag));
    size_t step_bytes = (size_t)(c->rope_dim / 2) * sizeof *steps;
    model_file_rope_steps(t->file, steps);
    TRY(take(t, step_bytes, "rotary steps", &at, diag));
    device_upload(t->dev, at, steps, step_bytes);
    t->steps = at;
    log_info(t->log, "model", "weights copied=%zu mapped=%zu bytes", t->copied_bytes,
             t->mapped_bytes);
done:
    heap_free(m->heap, steps);
    if (st != KILN_OK) transformer_unload(t);
    return st;
}

void transformer_unload(Transformer *t)
{
    for (int32_t i = 0; i < t->n_held; i++)
        device_free(t->dev, t->held[i]);
    heap_free(t->model.heap, t->held);
    heap_free(t->model.heap, t->layers);
    t->held = NULL;
    t->layers = NULL;
    t->steps = NULL;
    t->n_held = t->cap_held = 0;
    t->copied_bytes = t->mapped_bytes = 0;
}
