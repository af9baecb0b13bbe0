// models/transformer.c - opening a transformer: shapes checked, facts counted, nothing loaded yet.
#include "models/transformer.h"

#include <stdio.h>

#include "runtime/token/tokenizer.h"

KilnStatus transformer_tensor(const Transformer *t, int32_t layer, const char *name, int32_t rows,
                              int32_t cols, const WeightTensor **out, Diag *diag)
{
    char full[128];
    if (layer >= 0)
        snprintf(full, sizeof full, "blk.%d.%s.weight", (int)layer, name);
    else
        snprintf(full, sizeof full, "%s.weight", name);
    const WeightTensor *w = model_file_tensor(t->file, full);
    const char *path = model_file_path(t->file);
    *out = w;
    if (!w)
        return fail(diag, KILN_ERR_INPUT, "K204",
                    "%s: tensor %s is missing: architecture %s needs it", path, full,
                    t->arch->name);
    bool is_vector = rows == 1 && w->rank == 1;
    int64_t found_rows = is_vector ? 1 : w->shape[0],
            found_cols = is_vector ? w->shape[0] : w->shape[1];
    if (found_rows == rows && found_cols == cols) return KILN_OK;
    return fail(diag, KILN_ERR_INPUT, "K204", "%s: tensor %s: found %lld x %lld, expected %d x %d",
                path, full, (long long)found_rows, (long long)found_cols, (int)rows, (int)cols);
}

// ---- facts --------------------------------------------------------------------------------------------

/// The type of most bytes.
static const char *main_type(const ModelFile *file)
{
    size_t bytes[BLOCK_TYPE_END] = {0};
    int32_t best = 0;
    for (int32_t i = 0; i < model_file_n_tensors(file); i++) {
        const WeightTensor *w = model_file_tensor_at(file, i);
        bytes[w->type] += w->size_bytes;
        if (bytes[w->type] > bytes[best]) best = (int32_t)w->type;
    }
    return block_facts((uint32_t)best)->name;
}

static void name_model(ModelFacts *f, const ModelFile *file)
{
    Str name = {0};
    const Gguf *g = model_file_gguf(file);
    if (g && gguf_str(g, "general.name", &name, NULL) != KILN_OK) name = (Str){0};
    if (!name.len) {
        const char *path = model_file_path(file), *slash = strrchr(path, '/');
        name = str_of(slash && slash[1] ? slash + 1 : path);
    }
    snprintf(f->name, sizeof f->name, "%.*s", STR_ARG(name));
}

static void fill_facts(Transformer *t)
{
    ModelFacts *f = &t->model.facts;
    const ModelConfig *c = &t->config;
    name_model(f, t->file);
    snprintf(f->arch, sizeof f->arch, "%s", t->arch->name);
    snprintf(f->weight_type, sizeof f->weight_type, "%s", main_type(t->file));
    f->n_layers = c->n_layers;
    f->n_heads = c->n_heads;
    f->n_kv_heads = c->n_kv_heads;
    f->head_dim = c->head_dim;
    f->hidden = c->d_model;
    f->vocab = c->vocab;
    f->max_context = c->context;
    for (int32_t i = 0; i < model_file_n_tensors(t->file); i++) {
        const WeightTensor *w = model_file_tensor_at(t->file, i);
        int64_t n = 1;
        for (int32_t d = 0; d < w->rank; d++)
            n *= w->shape[d];
        f->n_params += n;
        f->weight_bytes += w->size_bytes;
        f->token_bytes += w->size_bytes;
    }
    // Of an embedding that is not the output matrix too, one token reads one row.
    const WeightTensor *e = c->tied ? NULL : model_file_tensor(t->file, "token_embd.weight");
    if (e) f->token_bytes -= e->size_bytes - e->size_bytes / (size_t)MAX(e->shape[0], 1);
}

// ---- shapes -------------------------------------------------------------------------------------------

static KilnStatus check_shapes(const Transformer *t, Diag *diag)
{
    KilnStatus st = KILN_OK;
    const Architecture *a = t->arch;
    const ModelConfig *c = &t->config;
    const WeightTensor *w;
    int32_t q_rows = c->n_heads * c->head_dim, kv_rows = c->n_kv_heads * c->head_dim;
    TRY(transformer_tensor(t, -1, a->embedding, c->vocab, c->d_model, &w, diag));
    TRY(transformer_tensor(t, -1, a->output_norm, 1, c->d_model, &w, diag));
    if (!c->tied) TRY(transformer_tensor(t, -1, a->output, c->vocab, c->d_model, &w, diag));
    for (int32_t l = 0; l < c->n_layers; l++) {
        TRY(transformer_tensor(t, l, a->attn_norm, 1, c->d_model, &w, diag));
        TRY(transformer_tensor(t, l, a->attn_q, q_rows, c->d_model, &w, diag));
        TRY(transformer_tensor(t, l, a->attn_k, kv_rows, c->d_model, &w, diag));
        TRY(transformer_tensor(t, l, a->attn_v, kv_rows, c->d_model, &w, diag));
        TRY(transformer_tensor(t, l, a->attn_output, c->d_model, q_rows, &w, diag));
        TRY(transformer_tensor(t, l, a->ffn_norm, 1, c->d_model, &w, diag));
        TRY(transformer_tensor(t, l, a->ffn_gate, c->d_ff, c->d_model, &w, diag));
        TRY(transformer_tensor(t, l, a->ffn_up, c->d_ff, c->d_model, &w, diag));
        TRY(transformer_tensor(t, l, a->ffn_down, c->d_model, c->d_ff, &w, diag));
    }
done:
    return st;
}

static void transformer_close(Model *m)
{
    Transformer *t = (Transformer *)m;
    Heap *heap = m->heap;
    transformer_unload(t);
    tokenizer_close(m->tokenizer);
    model_file_close(t->file);
    heap_free(heap, t);
}

static const ModelOps transformer_ops = {
    .load = transformer_load,
    .record = transformer_record,
    .activation_bytes = transformer_activation_bytes,
    .close = transformer_close,
};

KilnStatus transformer_open(const Architecture *arch, ModelFile *file, const ModelOptions *options,
                            Model **out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Heap *heap = options->heap ? options->heap : heap_default();
    *out = NULL;
    Transformer *t = heap_new(heap, Transformer);
    if (!t)
        return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for the model",
                    model_file_path(file));
    t->model = (Model){.ops = &transformer_ops, .heap = heap};
    t->arch = arch;
    t->file = file;
    t->config = *model_file_config(file);
    t->wanted_act = options->activations;
    t->act = t->wanted_act == DTYPE_VOID ? DTYPE_F32 : t->wanted_act;
    t->use_mmap = options->use_mmap;
    t->log = options->log;
    TRY(check_shapes(t, diag));
    fill_facts(t);
    TRY(tokenizer_open(file, heap, &t->model.tokenizer, diag));
    *out = &t->model;
    t = NULL;
done:
    if (t) {
        t->file = NULL; // still the caller's
        transformer_close(&t->model);
    }
    return st;
}
