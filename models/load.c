// models/load.c - weights from a mapped file to where kernels read them.
//
//   on a CPU       matrices are packed into panels, in parallel over panels, and the source pages released; several that
//                  are multiplied with the same activations become one
//   elsewhere      F32 F16 BF16   used where they lie, if the device can (and the user lets it); else copied
//                  Q8_0 Q4_0      split into planes, in parallel over rows, and the source pages released
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

/// Runs tasks 0 .. n - 1, on all threads where the device has them.
static void run_tasks(const Transformer *t, PoolTask task, void *user, int64_t n)
{
    if (t->dev->pool)
        pool_run(t->dev->pool, task, user, n);
    else
        for (int64_t i = 0; i < n; i++)
            task(user, 0, i);
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
        run_tasks(t, repack_task, &r, div_up(n_blocks, r.per_task));
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

// ---- panels ---------------------------------------------------------------------------------------------

typedef struct Packing {
    const WeightTensor *w;
    PackLayout layout;
    void *planes[PACK_PLANES]; ///< of this tensor's first panel
    bool releases;
} Packing;

/// Packs one panel and gives the pages of its rows back.
static void pack_task(void *user, int32_t thread, int64_t panel)
{
    const Packing *p = user;
    (void)thread;
    pack_rows(&p->layout, p->w->data, p->planes, panel, panel + 1);
    if (!p->releases) return;
    size_t row = p->w->size_bytes / (size_t)p->layout.rows, begin = (size_t)panel * PACK_ROWS * row;
    release_pages((const uint8_t *)p->w->data + begin,
                  MIN(PACK_ROWS * row, p->w->size_bytes - begin));
}

/// Packs `w` below row `row` of the matrix whose panels are `whole` at `planes`.
static void pack_tensor(Transformer *t, const WeightTensor *w, const PackLayout *whole,
                        void *const *planes, int64_t row)
{
    Packing p = {.w = w, .releases = t->use_mmap};
    bool fits = pack_layout(w->type, w->shape[0], whole->cols, &p.layout);
    ASSERT(fits);
    pack_planes_at(whole, planes, row, p.planes);
    run_tasks(t, pack_task, &p, p.layout.n_panels);
}

/// `n` tensors of one type and row length as one matrix of panels; all but the last have a multiple of 16 rows.
static KilnStatus load_panels(Transformer *t, int32_t n, const WeightTensor *const *w, Matrix *out,
                              Diag *diag)
{
    PackLayout whole;
    void *base;
    int64_t rows = 0;
    for (int32_t i = 0; i < n; i++)
        rows += w[i]->shape[0];
    bool fits = pack_layout(w[0]->type, rows, w[0]->shape[1], &whole);
    ASSERT(fits);
    KilnStatus st = take(t, whole.bytes, w[0]->name, &base, diag);
    if (st != KILN_OK) return st;
    *out = (Matrix){.rows = (int32_t)rows,
                    .cols = (int32_t)w[0]->shape[1],
                    .is_panels = true,
                    .type = w[0]->type};
    pack_planes(&whole, base, out->plane);
    out->dtype = whole.plane[PACK_CODES].dtype;
    for (int64_t i = 0, row = 0; i < n; row += w[i]->shape[0], i++)
        pack_tensor(t, w[i], &whole, out->plane, row);
    return KILN_OK;
}

static bool packs(const Transformer *t, const WeightTensor *w)
{
    PackLayout layout;
    return t->packs && w->rank == 2 && pack_layout(w->type, w->shape[0], w->shape[1], &layout);
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
    if (packs(t, w)) return load_panels(t, 1, &w, out, diag);
    *out = (Matrix){.rows = rows, .cols = cols, .type = w->type};
    if (w->type == BLOCK_Q8_0 || w->type == BLOCK_Q4_0) return load_packed(t, w, out, diag);
    if (block_facts(w->type)->dtype != DTYPE_VOID) return load_plain(t, w, out, diag);
    return fail_hint(diag, KILN_ERR_UNSUPPORTED, "K207",
                     "types that run: F32, F16, BF16, Q8_0, Q4_0; on a CPU, with codes of "
                     "activations, Q4_K, Q5_K and Q6_K too",
                     "%s: tensor %s has type %s", model_file_path(t->file), w->name,
                     block_facts(w->type)->name);
}

/// Matrices of one layer that meet the same activations: one matrix if they can be.
static KilnStatus load_stack(Transformer *t, int32_t layer, int32_t n, const char *const *names,
                             const int32_t *rows, int32_t cols, Stack *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    const WeightTensor *w[STACK_MAX];
    bool is_one = true;
    *out = (Stack){.n = n};
    for (int32_t i = 0; i < n; i++) {
        TRY(transformer_tensor(t, layer, names[i], rows[i], cols, &w[i], diag));
        is_one &=
            packs(t, w[i]) && w[i]->type == w[0]->type && (rows[i] % PACK_ROWS == 0 || i == n - 1);
        out->rows_of[i] = rows[i];
    }
    out->n_parts = is_one ? 1 : n;
    if (is_one) return load_panels(t, n, w, &out->part[0], diag);
    for (int32_t i = 0; i < n; i++)
        TRY(load_matrix(t, layer, names[i], rows[i], cols, &out->part[i], diag));
done:
    return st;
}

static KilnStatus load_layer(Transformer *t, int32_t l, Layer *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    const Architecture *a = t->arch;
    const ModelConfig *c = &t->config;
    int32_t d = c->d_model, q_rows = c->n_heads * c->head_dim,
            kv_rows = c->n_kv_heads * c->head_dim;
    const char *qkv[] = {a->attn_q, a->attn_k, a->attn_v}, *gate_up[] = {a->ffn_gate, a->ffn_up};
    const int32_t qkv_rows[] = {q_rows, kv_rows, kv_rows}, gate_up_rows[] = {c->d_ff, c->d_ff};
    TRY(load_matrix(t, l, a->attn_norm, 1, d, &out->attn_norm, diag));
    TRY(load_stack(t, l, 3, qkv, qkv_rows, d, &out->qkv, diag));
    TRY(load_matrix(t, l, a->attn_output, d, q_rows, &out->o, diag));
    TRY(load_matrix(t, l, a->ffn_norm, 1, d, &out->ffn_norm, diag));
    TRY(load_stack(t, l, 2, gate_up, gate_up_rows, d, &out->gate_up, diag));
    TRY(load_matrix(t, l, a->ffn_down, d, c->d_ff, &out->down, diag));
done:
    return st;
}

static bool is_gpu(const Transformer *t)
{
    TargetKind kind = t->dev->facts.target.kind;
    return kind == TARGET_SM || kind == TARGET_EMU;
}

/// Matrix units multiply 16-bit numbers. F16 has the finer ones, and packed weights are cheaper to turn into
/// them; a model in BF16 may need its range.
static DType act_of(const Transformer *t)
{
    const Target *target = &t->dev->facts.target;
    if (t->wanted_act != DTYPE_VOID) return t->wanted_act;
    if (!is_gpu(t)) return DTYPE_F32;
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
    t->packs = t->wanted_act == DTYPE_VOID && t->dev->facts.is_host_memory && !is_gpu(t);
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
