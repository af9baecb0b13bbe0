// runtime/format/weights.c - walks tensors.def over whichever file it is.
#include "runtime/format/weights.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/map.h"
#include "runtime/format/guard.h"
#include "runtime/format/hfdir.h"

struct ModelFile {
    Heap *heap;
    Arena arena;
    const char *path;
    Gguf *gguf; ///< exactly one of the two
    HfDir *dir;
    ModelConfig config;
    WeightTensor *tensors;
    int32_t n_tensors;
    Map names;                      ///< canonical name to WeightTensor
    const WeightTensor *rope_freqs; ///< NULL unless the file divides its rotary steps
};

typedef enum Scope { SCOPE_MODEL, SCOPE_LAYER } Scope;
typedef enum Dim { DIM_NONE, DIM_VOCAB, DIM_D_MODEL, DIM_Q_ROWS, DIM_KV_ROWS, DIM_D_FF } Dim;

static const struct TensorSpec {
    Scope scope;
    const char *name, *hf;
    Dim rows, cols;
} specs[] = {
#define TENSOR(scope, name, hf, rows, cols) {SCOPE_##scope, name, hf, DIM_##rows, DIM_##cols},
#include "runtime/format/tensors.def"
#undef TENSOR
};

static int64_t dim_of(const ModelConfig *c, Dim d)
{
    switch (d) {
    case DIM_NONE:
        return 1;
    case DIM_VOCAB:
        return c->vocab;
    case DIM_D_MODEL:
        return c->d_model;
    case DIM_Q_ROWS:
        return (int64_t)c->n_heads * c->head_dim;
    case DIM_KV_ROWS:
        return (int64_t)c->n_kv_heads * c->head_dim;
    case DIM_D_FF:
        return c->d_ff;
    }
    return 0;
}

/// What a file says about one tensor, before anyone believes it.
typedef struct Found {
    const char *name;
    BlockType type;
    bool has_type;
    const char *type_name;
    int32_t rank;
    int64_t shape[SAFETENSORS_RANK_MAX]; ///< row-major
    const void *data;
    size_t size;
} Found;

static Found from_gguf(const GgufTensor *t)
{
    Found f = {t->name, t->type, true, block_facts(t->type)->name, t->rank, {0}, t->data, t->size};
    for (int32_t i = 0; i < t->rank; i++)
        f.shape[i] = t->ne[t->rank - 1 - i];
    return f;
}

static Found from_safetensor(const SafeTensor *t)
{
    Found f = {.name = t->name,
               .type_name = t->dtype_name,
               .rank = t->rank,
               .data = t->data,
               .size = t->size};
    memcpy(f.shape, t->shape, sizeof f.shape);
    f.has_type = block_of_dtype(t->dtype, &f.type);
    return f;
}

static bool look_up(const ModelFile *m, const char *name, Found *out)
{
    const GgufTensor *g = m->gguf ? gguf_find_tensor(m->gguf, name) : NULL;
    const SafeTensor *s = m->dir ? hfdir_find(m->dir, name) : NULL;
    if (g) *out = from_gguf(g);
    if (s) *out = from_safetensor(s);
    return g || s;
}

// ---- checks ------------------------------------------------------------------------------------

static KilnStatus missing_tensor(const ModelFile *m, const char *name, bool per_layer, Diag *diag)
{
    char where[64];
    if (m->dir)
        snprintf(where, sizeof where, "%d file%s, %d tensors", hfdir_n_shards(m->dir),
                 hfdir_n_shards(m->dir) == 1 ? "" : "s", hfdir_n_tensors(m->dir));
    else
        snprintf(where, sizeof where, "%d tensors", gguf_n_tensors(m->gguf));
    return fail(diag, KILN_ERR_INPUT, "K204", "%s: %s is missing: %s needs it%s (checked %s)",
                m->path, name, m->config.arch, per_layer ? " in every layer" : "", where);
}

static void print_shape(StrBuf *out, const int64_t *shape, int32_t rank)
{
    strbuf_putc(out, '[');
    for (int32_t i = 0; i < rank; i++)
        strbuf_printf(out, "%s%lld", i ? ", " : "", (long long)shape[i]);
    strbuf_putc(out, ']');
}

static KilnStatus wrong_shape(const ModelFile *m, const Found *f, const WeightTensor *want,
                              Diag *diag)
{
    StrBuf found = {0}, expected = {0};
    print_shape(&found, f->shape, f->rank);
    print_shape(&expected, want->shape, want->rank);
    KilnStatus st = fail(diag, KILN_ERR_INPUT, "K206",
                         "%s: %s: found shape %s, expected %s by the configuration", m->path,
                         f->name, found.data ? found.data : "", expected.data ? expected.data : "");
    strbuf_free(&found);
    strbuf_free(&expected);
    return st;
}

static bool same_shape(const Found *f, const WeightTensor *want)
{
    bool same = f->rank == want->rank;
    for (int32_t i = 0; i < want->rank && same; i++)
        same = f->shape[i] == want->shape[i];
    return same;
}

/// Vectors are read element by element, so they must be plain; matrices may be of any type that
/// runs.
static bool type_runs(const Found *f, int32_t rank)
{
    const BlockFacts *facts = f->has_type ? block_facts(f->type) : NULL;
    return facts && facts->read && (rank > 1 || facts->dtype != DTYPE_VOID);
}

static const void *aligned_data(ModelFile *m, const Found *f)
{
    const BlockFacts *facts = block_facts(f->type);
    size_t align = facts->dtype == DTYPE_VOID ? 2 : (size_t)facts->bytes;
    if ((uintptr_t)f->data % align == 0) return f->data;
    void *copy = arena_alloc(&m->arena, f->size, 64);
    memcpy(copy, f->data, f->size);
    return copy;
}

static KilnStatus take(ModelFile *m, const Found *f, WeightTensor *t, Diag *diag)
{
    t->file_name = f->name;
    if (!same_shape(f, t)) return wrong_shape(m, f, t, diag);
    if (!type_runs(f, t->rank))
        return fail_hint(diag, KILN_ERR_UNSUPPORTED, "K207",
                         "supported: F32, F16, BF16, and Q8_0 and Q4_0 for matrices",
                         "%s: %s has the unsupported type %s", m->path, f->name, f->type_name);
    t->type = f->type;
    t->size_bytes = f->size;
    t->data = aligned_data(m, f);
    return KILN_OK;
}

// ---- the table ---------------------------------------------------------------------------------

static void put(ModelFile *m, WeightTensor *t)
{
    map_put(&m->arena, &m->names, str_of(t->name), t);
}

static KilnStatus add_tensor(ModelFile *m, const struct TensorSpec *spec, int32_t layer, Diag *diag)
{
    Arena *a = &m->arena;
    WeightTensor *t = &m->tensors[m->n_tensors];
    bool per_layer = spec->scope == SCOPE_LAYER;
    t->name = per_layer ? arena_printf(a, "blk.%d.%s.weight", layer, spec->name)
                        : arena_printf(a, "%s.weight", spec->name);
    const char *file_name = t->name;
    if (m->dir)
        file_name = per_layer ? arena_printf(a, "model.layers.%d.%s.weight", layer, spec->hf)
                              : arena_printf(a, "%s.weight", spec->hf);
    t->rank = spec->cols == DIM_NONE ? 1 : 2;
    t->shape[0] = dim_of(&m->config, spec->rows);
    t->shape[1] = dim_of(&m->config, spec->cols);
    t->shape[2] = t->shape[3] = 1;
    Found f;
    if (!look_up(m, file_name, &f)) return missing_tensor(m, file_name, per_layer, diag);
    KilnStatus st = take(m, &f, t, diag);
    if (st != KILN_OK) return st;
    put(m, t);
    m->n_tensors++;
    return KILN_OK;
}

static KilnStatus add_rope_freqs(ModelFile *m, Diag *diag)
{
    Found f;
    if (m->config.rope_scaling != ROPE_SCALING_DIVISORS || !look_up(m, "rope_freqs.weight", &f))
        return KILN_OK;
    WeightTensor *t = &m->tensors[m->n_tensors];
    *t = (WeightTensor){
        .name = "rope_freqs.weight", .rank = 1, .shape = {m->config.rope_dim / 2, 1, 1, 1}};
    KilnStatus st = take(m, &f, t, diag);
    if (st != KILN_OK) return st;
    if (t->type != BLOCK_F32)
        return fail(diag, KILN_ERR_UNSUPPORTED, "K207",
                    "%s: rope_freqs.weight has type %s, expected F32", m->path, f.type_name);
    for (int32_t i = 0; i < m->config.rope_dim / 2; i++)
        if (!(((const float *)t->data)[i] > 0))
            return fail(diag, KILN_ERR_INPUT, "K208", "%s: rope_freqs.weight[%d] is not above 0",
                        m->path, i);
    put(m, t);
    m->n_tensors++;
    m->rope_freqs = t;
    return KILN_OK;
}

/// A bias that nobody adds would change every answer: tensors the table does not know are looked at
/// once.
static KilnStatus check_unused(const ModelFile *m, const Map *used, Diag *diag)
{
    int32_t n = m->gguf ? gguf_n_tensors(m->gguf) : hfdir_n_tensors(m->dir), n_unused = 0;
    const char *first = NULL;
    for (int32_t i = 0; i < n; i++) {
        const char *name = m->gguf ? gguf_tensor(m->gguf, i)->name : hfdir_tensor(m->dir, i)->name;
        Str s = str_of(name);
        if (map_find(used, s) >= 0 || str_is(s, "lm_head.weight")) continue;
        if (str_ends(s, ".rotary_emb.inv_freq") || str_ends(s, ".attn.bias") ||
            str_ends(s, ".masked_bias"))
            continue;
        bool layer = str_starts(s, "blk.") || str_starts(s, "model.layers.");
        if (layer && str_ends(s, ".bias"))
            return fail(diag, KILN_ERR_UNSUPPORTED, "K205",
                        "%s: %s: %s with biases is not supported", m->path, name, m->config.arch);
        if (n_unused++ == 0) first = name;
    }
    if (n_unused)
        diag_add(diag, DIAG_WARNING, "", NO_SPAN, "%s: %d tensor%s not used, the first is %s",
                 m->path, n_unused, n_unused == 1 ? " is" : "s are", first);
    return KILN_OK;
}

static KilnStatus read_tensors(ModelFile *m, Diag *diag)
{
    KilnStatus st = KILN_OK;
    m->tensors =
        arena_array(&m->arena, WeightTensor, (m->config.n_layers + 1) * COUNT_OF(specs) + 1);
    bool layers_done = false;
    for (int32_t i = 0; i < COUNT_OF(specs); i++) {
        const struct TensorSpec *spec = &specs[i];
        if (spec->scope == SCOPE_MODEL) {
            if (!(m->config.tied && strcmp(spec->name, "output") == 0))
                TRY(add_tensor(m, spec, 0, diag));
            continue;
        }
        if (layers_done) continue;
        for (int32_t layer = 0; layer < m->config.n_layers; layer++)
            for (int32_t j = i; j < COUNT_OF(specs) && specs[j].scope == SCOPE_LAYER; j++)
                TRY(add_tensor(m, &specs[j], layer, diag));
        layers_done = true;
    }
    TRY(add_rope_freqs(m, diag));

    Map used = {0};
    for (int32_t i = 0; i < m->n_tensors; i++)
        map_put(&m->arena, &used, str_of(m->tensors[i].file_name), m);
    TRY(check_unused(m, &used, diag));
    if (m->config.tied)
        map_put(&m->arena, &m->names, STR("output.weight"),
                map_get(&m->names, STR("token_embd.weight")));
done:
    return st;
}

// ---- life cycle --------------------------------------------------------------------------------

/// owner/name, as models are called on the Hub.
static bool looks_like_hub_name(const char *path)
{
    const char *slash = strchr(path, '/');
    if (!slash || slash == path || !slash[1] || strchr(slash + 1, '/') || path[0] == '.' ||
        path[0] == '~')
        return false;
    for (const char *p = path; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              strchr("-_./", *p)))
            return false;
    return !str_ends(str_of(path), ".gguf") && !str_ends(str_of(path), ".safetensors");
}

static KilnStatus no_such_path(const char *path, Diag *diag)
{
    if (!looks_like_hub_name(path))
        return fail(diag, KILN_ERR_IO, "K211",
                    "%s: no such file or directory, expected a .gguf file or a model directory",
                    path);
    StrBuf hint = {0};
    strbuf_printf(&hint, "to download it: huggingface-cli download %s --local-dir %s", path,
                  strchr(path, '/') + 1);
    KilnStatus st = fail_hint(
        diag, KILN_ERR_IO, "K211", hint.data ? hint.data : "",
        "%s: no such file or directory; it looks like a name on the Hugging Face Hub", path);
    strbuf_free(&hint);
    return st;
}

typedef struct Opening {
    ModelFile *m;
    const char *path;
} Opening;

static KilnStatus open_guarded(void *cx, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Opening *o = cx;
    ModelFile *m = o->m;
    m->path = arena_strdup(&m->arena, o->path);
    if (file_is_dir(m->path)) {
        TRY(hfdir_open(m->path, m->heap, &m->dir, diag));
        m->config = *hfdir_config(m->dir);
    } else {
        TRY(gguf_open(m->path, m->heap, &m->gguf, diag));
        TRY(config_from_gguf(m->gguf, &m->config, diag));
    }
    TRY(read_tensors(m, diag));
done:
    return st;
}

KilnStatus model_file_open(const char *path, Heap *heap, ModelFile **out, Diag *diag)
{
    *out = NULL;
    if (!file_exists(path)) return no_such_path(path, diag);
    ModelFile *m = heap_new(heap, ModelFile);
    if (!m) return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory to open it", path);
    m->heap = heap;
    arena_init(&m->arena, heap);
    Opening o = {m, path};
    KilnStatus st = guard_run(&m->arena, open_guarded, &o, path, diag);
    if (st == KILN_OK)
        *out = m;
    else
        model_file_close(m);
    return st;
}

void model_file_close(ModelFile *m)
{
    if (!m) return;
    Heap *heap = m->heap;
    gguf_close(m->gguf);
    hfdir_close(m->dir);
    arena_reset(&m->arena);
    heap_free(heap, m);
}

// ---- access ------------------------------------------------------------------------------------

const ModelConfig *model_file_config(const ModelFile *m)
{
    return &m->config;
}

const char *model_file_path(const ModelFile *m)
{
    return m->path;
}

const WeightTensor *model_file_tensor(const ModelFile *m, const char *name)
{
    return map_get(&m->names, str_of(name));
}

const WeightTensor *model_file_layer_tensor(const ModelFile *m, int32_t layer, const char *base)
{
    char name[96];
    snprintf(name, sizeof name, "blk.%d.%.64s.weight", layer, base);
    return model_file_tensor(m, name);
}

int32_t model_file_n_tensors(const ModelFile *m)
{
    return m->n_tensors;
}

const WeightTensor *model_file_tensor_at(const ModelFile *m, int32_t i)
{
    return &m->tensors[i];
}

int64_t model_file_bytes(const ModelFile *m)
{
    int64_t bytes = 0;
    for (int32_t i = 0; i < m->n_tensors; i++)
        bytes += (int64_t)m->tensors[i].size_bytes;
    return bytes;
}

void model_file_rope_steps(const ModelFile *m, float *out)
{
    config_rope_steps(&m->config, m->rope_freqs ? m->rope_freqs->data : NULL, out);
}

const Gguf *model_file_gguf(const ModelFile *m)
{
    return m->gguf;
}
