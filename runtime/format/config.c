// runtime/format/config.c - one table of fields, two spellings, the same limits.
#include "runtime/format/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/format/json.h"

// Architectures, as files spell them. A row here says that the files can be read; models/ says how
// to run them.
static const struct {
    const char *name;
    const char *gguf; ///< general.architecture; NULL: no such files
    const char *hf;   ///< model_type
    RopeKind gguf_rope;
} archs[] = {
    {"llama", "llama", "llama", ROPE_INTERLEAVED},
    {"mistral", NULL, "mistral", ROPE_INTERLEAVED}, // in GGUF it is called llama
};
#define SUPPORTED "supported: llama, mistral"

// Integer fields. `needed` ones have no default; the others keep what set_defaults() or finish()
// gives. clang-format off
static const struct Field {
    const char *gguf; ///< after "llama."; NULL: not a key
    const char *hf;
    size_t offset;
    int32_t max;
    bool needed_gguf, needed_hf;
} fields[] = {
    {"block_count", "num_hidden_layers", offsetof(ModelConfig, n_layers), CONFIG_LAYERS_MAX, true,
     true},
    {"embedding_length", "hidden_size", offsetof(ModelConfig, d_model), CONFIG_WIDTH_MAX, true,
     true},
    {"feed_forward_length", "intermediate_size", offsetof(ModelConfig, d_ff), CONFIG_WIDTH_MAX,
     true, true},
    {"attention.head_count", "num_attention_heads", offsetof(ModelConfig, n_heads),
     CONFIG_HEADS_MAX, true, true},
    {"attention.head_count_kv", "num_key_value_heads", offsetof(ModelConfig, n_kv_heads),
     CONFIG_HEADS_MAX, false, false},
    {"attention.key_length", "head_dim", offsetof(ModelConfig, head_dim), CONFIG_HEAD_DIM_MAX,
     false, false},
    {"context_length", "max_position_embeddings", offsetof(ModelConfig, context),
     CONFIG_CONTEXT_MAX, true, false},
    {"rope.dimension_count", NULL, offsetof(ModelConfig, rope_dim), CONFIG_HEAD_DIM_MAX, false,
     false},
    {NULL, "vocab_size", offsetof(ModelConfig, vocab), CONFIG_VOCAB_MAX, false, true},
};
// clang-format on

static int32_t *field_of(ModelConfig *c, const struct Field *f)
{
    return (int32_t *)((char *)c + f->offset);
}

static void set_defaults(ModelConfig *c)
{
    *c = (ModelConfig){.rms_eps = 0, .rope_theta = 10000, .rope_factor = 1, .bos = -1};
}

static KilnStatus missing(const char *path, const char *key, Diag *diag)
{
    return fail_in(diag, "K208", path, "%s is missing", key);
}

static KilnStatus unsupported(const char *path, Diag *diag, const char *what, Str found)
{
    return fail_hint(diag, KILN_ERR_UNSUPPORTED, "K205", SUPPORTED,
                     "%s: %s \"%.*s\" is not supported", path, what,
                     (int)MIN(found.len, (size_t)60), found.data ? found.data : "");
}

/// Fields that follow from others, and the checks that involve more than one.
static KilnStatus finish(ModelConfig *c, const char *path, Diag *diag)
{
    if (!c->n_kv_heads) c->n_kv_heads = c->n_heads;
    if (c->n_heads % c->n_kv_heads)
        return fail_in(diag, "K208", path,
                       "%d query heads, expected a multiple of the %d key-value heads", c->n_heads,
                       c->n_kv_heads);
    if (!c->head_dim && c->d_model % c->n_heads)
        return fail_in(diag, "K208", path,
                       "width %d is no multiple of %d heads, and no head width is given",
                       c->d_model, c->n_heads);
    if (!c->head_dim) c->head_dim = c->d_model / c->n_heads;
    if (c->head_dim % 2 || c->head_dim < 2 || c->head_dim > CONFIG_HEAD_DIM_MAX)
        return fail_in(diag, "K208", path, "head width %d, expected an even number up to %d",
                       c->head_dim, CONFIG_HEAD_DIM_MAX);
    if (!c->rope_dim) c->rope_dim = c->head_dim;
    if (c->rope_dim % 2 || c->rope_dim > c->head_dim)
        return fail_in(diag, "K208", path,
                       "%d rotated elements per head, expected an even number up to %d",
                       c->rope_dim, c->head_dim);
    if (!(c->rms_eps > 0 && c->rms_eps <= 0.1))
        return fail_in(diag, "K208", path, "rms epsilon %g, expected above 0 and at most 0.1",
                       c->rms_eps);
    if (!(c->rope_theta >= 1) || !isfinite(c->rope_theta))
        return fail_in(diag, "K208", path, "rope theta %g, expected a finite number of at least 1",
                       c->rope_theta);
    if (!(c->rope_factor > 0) || !isfinite(c->rope_factor))
        return fail_in(diag, "K208", path,
                       "rope scaling factor %g, expected a finite number above 0", c->rope_factor);
    return KILN_OK;
}

static int by_value(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

static KilnStatus add_eos(ModelConfig *c, int64_t id, const char *path, Diag *diag)
{
    if (id < 0 || id >= c->vocab)
        return fail_in(diag, "K208", path, "end token %lld, expected an id below %d", (long long)id,
                       c->vocab);
    for (int32_t i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id) return KILN_OK;
    if (c->n_eos == CONFIG_EOS_MAX)
        return fail_in(diag, "K208", path, "more than %d end tokens", CONFIG_EOS_MAX);
    c->eos[c->n_eos++] = (int32_t)id;
    qsort(c->eos, (size_t)c->n_eos, sizeof c->eos[0], by_value);
    return KILN_OK;
}

// ---- GGUF --------------------------------------------------------------------------------------

/// A scalar, or an array with one equal entry per layer.
static KilnStatus gguf_uniform(const Gguf *g, const char *key, int32_t max, int32_t n_layers,
                               int32_t *io, Diag *diag)
{
    const GgufValue *v = gguf_find(g, key);
    if (!v || v->type != GGUF_ARRAY) return gguf_int32(g, key, 1, max, io, diag);
    int64_t first, x;
    if (v->count != n_layers)
        return fail_in(diag, "K208", gguf_path(g), "%s has %lld entries, expected %d", key,
                       (long long)v->count, n_layers);
    if (!gguf_value_int(v, 0, &first) || first < 1 || first > max)
        return fail_in(diag, "K208", gguf_path(g), "%s: expected integers from 1 to %d", key, max);
    for (int64_t i = 1; i < v->count; i++)
        if (!gguf_value_int(v, i, &x) || x != first)
            return fail(diag, KILN_ERR_UNSUPPORTED, "K205",
                        "%s: %s differs from layer to layer, which is not supported", gguf_path(g),
                        key);
    *io = (int32_t)first;
    return KILN_OK;
}

static KilnStatus gguf_fields(const Gguf *g, const char *arch, ModelConfig *c, Diag *diag)
{
    char key[96];
    for (int32_t i = 0; i < COUNT_OF(fields); i++) {
        if (!fields[i].gguf) continue;
        snprintf(key, sizeof key, "%s.%s", arch, fields[i].gguf);
        if (fields[i].needed_gguf && !gguf_find(g, key)) return missing(gguf_path(g), key, diag);
        KilnStatus st =
            gguf_uniform(g, key, fields[i].max, c->n_layers, field_of(c, &fields[i]), diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

static KilnStatus gguf_rope(const Gguf *g, const char *arch, ModelConfig *c, Diag *diag)
{
    KilnStatus st = KILN_OK;
    char key[96];
    Str kind = STR("linear");
    snprintf(key, sizeof key, "%s.rope.freq_base", arch);
    TRY(gguf_real(g, key, 1, 1e30, &c->rope_theta, diag));
    snprintf(key, sizeof key, "%s.rope.scale_linear", arch); // the older spelling
    TRY(gguf_real(g, key, 1e-6, 1e6, &c->rope_factor, diag));
    snprintf(key, sizeof key, "%s.rope.scaling.factor", arch);
    TRY(gguf_real(g, key, 1e-6, 1e6, &c->rope_factor, diag));
    snprintf(key, sizeof key, "%s.rope.scaling.type", arch);
    TRY(gguf_str(g, key, &kind, diag));
    if (str_is(kind, "none"))
        c->rope_factor = 1;
    else if (!str_is(kind, "linear"))
        return unsupported(gguf_path(g), diag, "rope scaling", kind);
    if (c->rope_factor != 1) c->rope_scaling = ROPE_SCALING_LINEAR;
    if (gguf_find_tensor(g, "rope_freqs.weight")) {
        if (c->rope_factor != 1)
            return fail_in(
                diag, "K208", gguf_path(g),
                "both rope_freqs.weight and a rope scaling factor, expected one of them");
        c->rope_scaling = ROPE_SCALING_DIVISORS;
    }
done:
    return st;
}

static KilnStatus gguf_ids(const Gguf *g, ModelConfig *c, Diag *diag)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    KilnStatus st = gguf_int32(g, "tokenizer.ggml.bos_token_id", 0, c->vocab - 1, &c->bos, diag);
    for (int32_t i = 0; i < COUNT_OF(ends) && st == KILN_OK; i++) {
        int64_t id = -1;
        st = gguf_int(g, ends[i], 0, c->vocab - 1, &id, diag);
        if (st == KILN_OK && id >= 0) st = add_eos(c, id, gguf_path(g), diag);
    }
    return st;
}

/// What a Llama file may hold that the plain decoder does not do.
static KilnStatus gguf_refusals(const Gguf *g, const char *arch, ModelConfig *c, Diag *diag)
{
    KilnStatus st = KILN_OK;
    char key[96];
    int64_t n_experts = 0, value_length = c->head_dim, window = 0;
    snprintf(key, sizeof key, "%s.expert_count", arch);
    TRY(gguf_int(g, key, 0, 4096, &n_experts, diag));
    if (n_experts) return unsupported(gguf_path(g), diag, "a mixture of experts:", str_of(key));
    snprintf(key, sizeof key, "%s.attention.value_length", arch);
    TRY(gguf_int(g, key, 1, CONFIG_HEAD_DIM_MAX, &value_length, diag));
    if (value_length != c->head_dim)
        return unsupported(gguf_path(g), diag,
                           "a value width other than the key width:", str_of(key));
    snprintf(key, sizeof key, "%s.attention.sliding_window", arch);
    TRY(gguf_int(g, key, 0, INT32_MAX, &window, diag));
    // A window of w tokens changes nothing in the first w.
    if (window > 0 && window < c->context) c->context = (int32_t)window;
done:
    return st;
}

KilnStatus config_from_gguf(const Gguf *g, ModelConfig *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Str arch = {0};
    const char *name = NULL;
    char key[96];
    set_defaults(out);
    TRY(gguf_str(g, "general.architecture", &arch, diag));
    if (!arch.data) return missing(gguf_path(g), "general.architecture", diag);
    for (int32_t i = 0; i < COUNT_OF(archs); i++) {
        if (!archs[i].gguf || !str_is(arch, archs[i].gguf)) continue;
        name = archs[i].gguf;
        out->arch = archs[i].name;
        out->rope_kind = archs[i].gguf_rope;
    }
    if (!name) return unsupported(gguf_path(g), diag, "architecture", arch);
    TRY(gguf_fields(g, name, out, diag));

    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", name);
    if (!gguf_find(g, key)) return missing(gguf_path(g), key, diag);
    TRY(gguf_real(g, key, 0, 0.1, &out->rms_eps, diag));
    TRY(gguf_rope(g, name, out, diag));

    const GgufTensor *embedding = gguf_find_tensor(g, "token_embd.weight");
    const GgufValue *tokens = NULL;
    TRY(gguf_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, diag));
    int64_t vocab = embedding ? embedding->ne[1] : tokens ? tokens->count : 0;
    if (vocab < 1 || vocab > CONFIG_VOCAB_MAX)
        return fail_in(diag, "K208", gguf_path(g),
                       "a vocabulary of %lld, expected 1 to %d (rows of token_embd.weight)",
                       (long long)vocab, CONFIG_VOCAB_MAX);
    out->vocab = (int32_t)vocab;
    out->tied = !gguf_find_tensor(g, "output.weight");
    TRY(gguf_ids(g, out, diag));
    TRY(finish(out, gguf_path(g), diag));
    TRY(gguf_refusals(g, name, out, diag));
done:
    return st;
}

// ---- Hugging Face ------------------------------------------------------------------------------

static KilnStatus hf_fields(const JsonDoc *doc, ModelConfig *c, Diag *diag)
{
    c->context = 2048;
    for (int32_t i = 0; i < COUNT_OF(fields); i++) {
        if (!fields[i].hf) continue;
        if (fields[i].needed_hf && !jval_get(doc->root, fields[i].hf))
            return missing(doc->path, fields[i].hf, diag);
        KilnStatus st = jval_int32(doc, doc->root, fields[i].hf, 1, fields[i].max,
                                   field_of(c, &fields[i]), diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

static KilnStatus hf_llama3(const JsonDoc *doc, const JsonValue *scaling, ModelConfig *c,
                            Diag *diag)
{
    KilnStatus st = KILN_OK;
    static const char *const needed[] = {"factor", "low_freq_factor", "high_freq_factor",
                                         "original_max_position_embeddings"};
    for (int32_t i = 0; i < COUNT_OF(needed); i++)
        if (!jval_get(scaling, needed[i])) return missing(doc->path, needed[i], diag);
    TRY(jval_real(doc, scaling, "low_freq_factor", 1e-6, 1e6, &c->rope_low_freq_factor, diag));
    TRY(jval_real(doc, scaling, "high_freq_factor", 1e-6, 1e6, &c->rope_high_freq_factor, diag));
    TRY(jval_int32(doc, scaling, "original_max_position_embeddings", 1, CONFIG_CONTEXT_MAX,
                   &c->rope_original_context, diag));
    if (c->rope_high_freq_factor <= c->rope_low_freq_factor)
        return fail_in(diag, "K208", doc->path,
                       "high_freq_factor %g, expected more than low_freq_factor %g",
                       c->rope_high_freq_factor, c->rope_low_freq_factor);
    c->rope_scaling = ROPE_SCALING_LLAMA3;
done:
    return st;
}

static KilnStatus hf_rope(const JsonDoc *doc, ModelConfig *c, Diag *diag)
{
    KilnStatus st = KILN_OK;
    TRY(jval_real(doc, doc->root, "rope_theta", 1, 1e30, &c->rope_theta, diag));
    const JsonValue *scaling = jval_get(doc->root, "rope_parameters"); // transformers 5
    if (!scaling) scaling = jval_get(doc->root, "rope_scaling");
    if (scaling && jval_kind(scaling) != JKIND_OBJECT)
        return fail_in(diag, "K208", doc->path, "rope_scaling must be an object");
    Str kind = STR("default");
    TRY(jval_str(doc, scaling, "type", &kind, diag)); // the older spelling
    TRY(jval_str(doc, scaling, "rope_type", &kind, diag));
    TRY(jval_real(doc, scaling, "rope_theta", 1, 1e30, &c->rope_theta, diag));
    if (str_is(kind, "default")) return KILN_OK;
    if (!jval_get(scaling, "factor")) return missing(doc->path, "rope_scaling.factor", diag);
    TRY(jval_real(doc, scaling, "factor", 1e-6, 1e6, &c->rope_factor, diag));
    if (str_is(kind, "linear"))
        c->rope_scaling = ROPE_SCALING_LINEAR;
    else if (str_is(kind, "llama3"))
        TRY(hf_llama3(doc, scaling, c, diag));
    else
        return unsupported(doc->path, diag, "rope scaling", kind);
done:
    return st;
}

/// What a Llama checkpoint may ask for that the plain decoder does not do.
static KilnStatus hf_refusals(const JsonDoc *doc, ModelConfig *c, Diag *diag)
{
    KilnStatus st = KILN_OK;
    bool attention_bias = false, mlp_bias = false;
    double partial = 1;
    Str act = STR("silu");
    int64_t window = strcmp(c->arch, "mistral") == 0 ? 4096 : 0;
    if (jval_find(doc->root, STR("quantization_config")))
        return fail(diag, KILN_ERR_UNSUPPORTED, "K205",
                    "%s: quantization_config is not supported in safetensors", doc->path);
    TRY(jval_bool(doc, doc->root, "attention_bias", &attention_bias, diag));
    TRY(jval_bool(doc, doc->root, "mlp_bias", &mlp_bias, diag));
    if (attention_bias || mlp_bias)
        return unsupported(doc->path, diag,
                           "a bias:", str_of(attention_bias ? "attention_bias" : "mlp_bias"));
    TRY(jval_str(doc, doc->root, "hidden_act", &act, diag));
    if (!str_is(act, "silu")) return unsupported(doc->path, diag, "activation", act);
    TRY(jval_real(doc, doc->root, "partial_rotary_factor", 0, 1, &partial, diag));
    c->rope_dim = (int32_t)(partial * c->head_dim);
    if (c->rope_dim < 2)
        return fail_in(diag, "K208", doc->path, "partial_rotary_factor %g rotates nothing",
                       partial);
    if (jval_has_null(doc->root, "sliding_window")) window = 0;
    TRY(jval_int(doc, doc->root, "sliding_window", 0, INT32_MAX, &window, diag));
    // A window of w tokens changes nothing in the first w.
    if (window > 0 && window < c->context) c->context = (int32_t)window;
done:
    return st;
}

/// eos_token_id: an id or a list of them.
static KilnStatus hf_eos(const JsonDoc *doc, ModelConfig *c, Diag *diag)
{
    const JsonValue *v = jval_get(doc->root, "eos_token_id");
    int64_t id = -1;
    if (jval_kind(v) != JKIND_ARRAY) {
        KilnStatus st = jval_int(doc, doc->root, "eos_token_id", 0, c->vocab - 1, &id, diag);
        return st != KILN_OK || id < 0 ? st : add_eos(c, id, doc->path, diag);
    }
    for (int32_t i = 0; i < jval_len(v); i++) {
        if (!jval_as_int(jval_at(v, i), &id))
            return fail_in(diag, "K208", doc->path, "eos_token_id: expected ids");
        KilnStatus st = add_eos(c, id, doc->path, diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

static KilnStatus hf_arch(const JsonDoc *doc, ModelConfig *c, Diag *diag)
{
    Str type = {0};
    KilnStatus st = jval_str(doc, doc->root, "model_type", &type, diag);
    if (st != KILN_OK) return st;
    if (!type.data) return missing(doc->path, "model_type", diag);
    for (int32_t i = 0; i < COUNT_OF(archs); i++)
        if (str_is(type, archs[i].hf)) c->arch = archs[i].name;
    c->rope_kind = ROPE_HALF_SPLIT;
    return c->arch ? KILN_OK : unsupported(doc->path, diag, "architecture", type);
}

static KilnStatus read_hf(const JsonDoc *doc, const JsonDoc *generation, ModelConfig *c, Diag *diag)
{
    KilnStatus st = KILN_OK;
    if (jval_kind(doc->root) != JKIND_OBJECT)
        return fail_in(diag, "K208", doc->path, "expected an object");
    set_defaults(c);
    TRY(hf_arch(doc, c, diag));
    ASSERT(c->arch);
    TRY(hf_fields(doc, c, diag));
    if (strcmp(c->arch, "mistral") == 0 && !c->n_kv_heads) c->n_kv_heads = 8;
    c->rms_eps = 1e-6;
    TRY(jval_real(doc, doc->root, "rms_norm_eps", 0, 0.1, &c->rms_eps, diag));
    TRY(hf_rope(doc, c, diag));
    TRY(jval_bool(doc, doc->root, "tie_word_embeddings", &c->tied, diag));
    TRY(finish(c, doc->path, diag));
    TRY(hf_refusals(doc, c, diag));
    TRY(finish(c, doc->path, diag));
    TRY(jval_int32(doc, doc->root, "bos_token_id", 0, c->vocab - 1, &c->bos, diag));
    if (generation->root) TRY(hf_eos(generation, c, diag));
    if (!c->n_eos) TRY(hf_eos(doc, c, diag));
done:
    return st;
}

KilnStatus config_from_hf(Str config, const char *path, Str generation, const char *generation_path,
                          Heap *heap, ModelConfig *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    JsonDoc doc = {0}, extra = {0};
    TRY(jsondoc_read(config, path, JSON_PYTHON, heap, &doc, diag));
    if (generation.data)
        TRY(jsondoc_read(generation, generation_path, JSON_PYTHON, heap, &extra, diag));
    TRY(read_hf(&doc, &extra, out, diag));
done:
    jsondoc_close(&extra);
    jsondoc_close(&doc);
    return st;
}

// ---- rotary steps ------------------------------------------------------------------------------

/// Llama 3.1: wavelengths below context/high stay, above context/low are divided, between them a
/// ramp.
static double llama3_step(const ModelConfig *c, double f)
{
    double wavelength = 2 * 3.14159265358979323846 / f, context = c->rope_original_context;
    if (wavelength < context / c->rope_high_freq_factor) return f;
    if (wavelength > context / c->rope_low_freq_factor) return f / c->rope_factor;
    double s = (context / wavelength - c->rope_low_freq_factor) /
               (c->rope_high_freq_factor - c->rope_low_freq_factor);
    return (1 - s) * f / c->rope_factor + s * f;
}

void config_rope_steps(const ModelConfig *c, const float *divisors, float *out)
{
    for (int32_t i = 0; i < c->rope_dim / 2; i++) {
        double f = pow(c->rope_theta, -2.0 * i / c->rope_dim);
        switch (c->rope_scaling) {
        case ROPE_SCALING_NONE:
            break;
        case ROPE_SCALING_LINEAR:
            f /= c->rope_factor;
            break;
        case ROPE_SCALING_LLAMA3:
            f = llama3_step(c, f);
            break;
        case ROPE_SCALING_DIVISORS:
            f = divisors ? f / (double)divisors[i] : f;
            break;
        }
        out[i] = (float)f;
    }
}
