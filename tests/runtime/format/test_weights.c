// tests/runtime/format/test_weights.c - one table of weights from whatever holds them, and what is
// said when it cannot be.
#include "runtime/format/weights.h"

#include <criterion/criterion.h>
#include <math.h>

#include "runtime/token/tokenizer.h"
#include "tests/support/fixture.h"
#include "tests/support/shared_data.h"
#include "tests/support/toy_model.h"

TestSuite(weights, .init = fixture_up, .fini = fixture_down, .timeout = 120);

static KilnStatus open_path(const char *path, ModelFile **m)
{
    diag_reset(&diag);
    KilnStatus st = model_file_open(path, &heap, m, &diag);
    cr_expect_eq(st == KILN_OK, *m != NULL);
    cr_expect_eq(diag.n_errors, st == KILN_OK ? 0 : 1, "%d messages", diag.n_errors);
    return st;
}

static KilnStatus open_gguf(const StrBuf *dir, const ToyOptions *o, ModelFile **m)
{
    StrBuf bytes = {0}, path = {0};
    toy_gguf(o, &bytes);
    toy_put(dir, "toy.gguf", (Str){bytes.data, bytes.len});
    strbuf_printf(&path, "%s/toy.gguf", dir->data);
    KilnStatus st = open_path(path.data, m);
    strbuf_free(&bytes);
    strbuf_free(&path);
    return st;
}

static void put_text(const StrBuf *dir, const char *name, const char *text)
{
    toy_put(dir, name, str_of(text));
}

/// config.json, tokenizer.json and the weights in one file or in two with an index.
static void put_hf(const StrBuf *dir, const ToyOptions *o, bool sharded)
{
    StrBuf config = {0}, tokenizer = {0}, a = {0}, b = {0};
    toy_config(o, &config);
    toy_tokenizer_json(&tokenizer);
    toy_put(dir, "config.json", (Str){config.data, config.len});
    toy_put(dir, "tokenizer.json", (Str){tokenizer.data, tokenizer.len});
    if (!sharded) {
        toy_safetensors(o, 0, TOY_LAYERS, true, &a);
        toy_put(dir, "model.safetensors", (Str){a.data, a.len});
    } else {
        toy_safetensors(o, 0, 1, true, &a);
        toy_safetensors(o, 1, 2, false, &b);
        toy_put(dir, "model-00001-of-00002.safetensors", (Str){a.data, a.len});
        toy_put(dir, "model-00002-of-00002.safetensors", (Str){b.data, b.len});
        static const char *const layer[] = {
            "input_layernorm",  "post_attention_layernorm", "self_attn.q_proj", "self_attn.k_proj",
            "self_attn.v_proj", "self_attn.o_proj",         "mlp.gate_proj",    "mlp.up_proj",
            "mlp.down_proj"};
        StrBuf index = {0};
        strbuf_puts(&index, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": "
                            "{\"model.embed_tokens.weight\": \"model-00001-of-00002.safetensors\", "
                            "\"model.norm.weight\": \"model-00001-of-00002.safetensors\"");
        for (int32_t l = 0; l < 2; l++)
            for (int32_t k = 0; k < COUNT_OF(layer); k++)
                strbuf_printf(
                    &index,
                    ",\n\"model.layers.%d.%s.weight\": \"model-0000%d-of-00002.safetensors\"", l,
                    layer[k], l + 1);
        strbuf_puts(&index, "}}");
        toy_put(dir, "model.safetensors.index.json", (Str){index.data, index.len});
        strbuf_free(&index);
    }
    strbuf_free(&config);
    strbuf_free(&tokenizer);
    strbuf_free(&a);
    strbuf_free(&b);
}

static double value(const WeightTensor *t, int64_t i)
{
    float row[32];
    const BlockFacts *f = block_facts(t->type);
    f->read((const char *)t->data + i / f->block * f->bytes, row, f->block);
    return (double)row[i % f->block];
}

/// Same tensors, same shapes, values within `tolerance`.
static void expect_same_weights(const ModelFile *a, const ModelFile *b, double tolerance,
                                bool skip_qk)
{
    cr_assert_eq(model_file_n_tensors(a), model_file_n_tensors(b));
    for (int32_t i = 0; i < model_file_n_tensors(a); i++) {
        const WeightTensor *x = model_file_tensor_at(a, i), *y = model_file_tensor(b, x->name);
        cr_assert_not_null(y, "%s", x->name);
        cr_assert(x->rank == y->rank && x->shape[0] == y->shape[0] && x->shape[1] == y->shape[1],
                  "%s", x->name);
        cr_expect_eq((uintptr_t)x->data %
                         (block_facts(x->type)->dtype ? (uintptr_t)block_facts(x->type)->bytes : 2),
                     0);
        if (skip_qk && (strstr(x->name, "attn_q.") || strstr(x->name, "attn_k.")))
            continue; // rows are in another order
        int64_t n = x->shape[0] * x->shape[1];
        for (int64_t k = 0; k < n; k++)
            if (fabs(value(x, k) - value(y, k)) > tolerance)
                cr_assert(false, "%s[%lld]: %g and %g", x->name, (long long)k, value(x, k),
                          value(y, k));
    }
}

Test(weights, gguf_and_directory_and_shards_hold_the_same_model)
{
    ToyOptions o = {.matrices = BLOCK_F32};
    StrBuf dir = toy_directory(), one = toy_directory(), two = toy_directory();
    ModelFile *a, *b, *c;
    cr_assert_eq(open_gguf(&dir, &o, &a), KILN_OK, "%s", diag_first(&diag));
    put_hf(&one, &o, false);
    put_hf(&two, &o, true);
    cr_assert_eq(open_path(one.data, &b), KILN_OK, "%s", diag_first(&diag));
    cr_assert_eq(open_path(two.data, &c), KILN_OK, "%s", diag_first(&diag));
    cr_expect_eq(model_file_n_tensors(a), 2 + 9 * TOY_LAYERS);
    expect_same_weights(a, b, 0, false);
    expect_same_weights(a, c, 0, false);
    cr_expect_eq(model_file_tensor(a, "output.weight"), model_file_tensor(a, "token_embd.weight"),
                 "a tied output is the embedding");
    cr_expect_eq(model_file_layer_tensor(a, 1, "ffn_up"),
                 model_file_tensor(a, "blk.1.ffn_up.weight"));
    cr_expect_null(model_file_layer_tensor(a, TOY_LAYERS, "ffn_up"));
    cr_expect_null(model_file_tensor(a, "rope_freqs.weight"));
    model_file_close(a);
    model_file_close(b);
    model_file_close(c);
    toy_remove(&dir), toy_remove(&one), toy_remove(&two);
    strbuf_free(&dir), strbuf_free(&one), strbuf_free(&two);
}

Test(weights, every_type_that_runs_is_accepted_and_close)
{
    static const struct {
        BlockType type;
        double tolerance; ///< of values near 1: f16 2^-11, bf16 2^-9, q8_0 half a step of 1/127
    } cases[] = {{BLOCK_F16, 0x1p-11}, {BLOCK_BF16, 0x1p-8}, {BLOCK_Q8_0, 0.006}};
    StrBuf dir = toy_directory(), other = toy_directory();
    ToyOptions exact = {.matrices = BLOCK_F32, .untied = true};
    ModelFile *a, *b;
    cr_assert_eq(open_gguf(&dir, &exact, &a), KILN_OK, "%s", diag_first(&diag));
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        ToyOptions o = {.matrices = cases[i].type, .untied = true};
        cr_assert_eq(open_gguf(&other, &o, &b), KILN_OK, "%s", diag_first(&diag));
        expect_same_weights(a, b, cases[i].tolerance, false);
        cr_expect_neq(model_file_tensor(b, "output.weight"),
                      model_file_tensor(b, "token_embd.weight"));
        model_file_close(b);
    }
    model_file_close(a);
    toy_remove(&dir), toy_remove(&other);
    strbuf_free(&dir), strbuf_free(&other);
}

Test(weights, what_is_missing_or_misshapen_is_named)
{
    StrBuf dir = toy_directory(), hf = toy_directory();
    ModelFile *m;
    ToyOptions o = {.matrices = BLOCK_F32, .skip = "blk.1.ffn_up.weight"};
    cr_expect_eq(open_gguf(&dir, &o, &m), KILN_ERR_INPUT);
    expect_says(
        "blk.1.ffn_up.weight is missing: llama needs it in every layer (checked 19 tensors)");
    put_hf(&hf, &o, false);
    cr_expect_eq(open_path(hf.data, &m), KILN_ERR_INPUT);
    expect_says("model.layers.1.mlp.up_proj.weight is missing: llama needs it in every layer "
                "(checked 1 file, 19 tensors)");
    o = (ToyOptions){.matrices = BLOCK_F32, .reshape = "blk.0.attn_k.weight"};
    cr_expect_eq(open_gguf(&dir, &o, &m), KILN_ERR_INPUT);
    expect_says("blk.0.attn_k.weight: found shape [15, 32], expected [16, 32]");
    o = (ToyOptions){.matrices = BLOCK_F32, .reshape = "output_norm.weight"};
    cr_expect_eq(open_gguf(&dir, &o, &m), KILN_ERR_INPUT);
    expect_says("found shape [31], expected [32]");
    toy_remove(&dir), toy_remove(&hf);
    strbuf_free(&dir), strbuf_free(&hf);
}

Test(weights, types_and_tensors_that_would_be_ignored_wrongly_are_refused)
{
    static const float zeros[512] = {0};
    StrBuf dir = toy_directory(), bytes = {0}, path = {0};
    ToyOptions o = {.matrices = BLOCK_F32, .skip = "blk.0.attn_q.weight"};
    GgufWriter w = {0};
    ModelFile *m;
    strbuf_printf(&path, "%s/a.gguf", dir.data);
    toy_gguf_metadata(&w, &o);
    toy_gguf_tensors(&w, &o);
    gw_tensor(&w, "blk.0.attn_q.weight", BLOCK_Q4_1, 2, (int64_t[]){32, 32}, zeros, 32 * 20);
    gw_finish(&w, &bytes);
    toy_put(&dir, "a.gguf", (Str){bytes.data, bytes.len});
    cr_expect_eq(open_path(path.data, &m), KILN_ERR_UNSUPPORTED);
    expect_says("blk.0.attn_q.weight has the unsupported type Q4_1");
    strbuf_free(&bytes);

    o.skip = NULL;
    toy_gguf_metadata(&w, &o);
    toy_gguf_tensors(&w, &o);
    gw_tensor(&w, "blk.0.attn_q.bias", BLOCK_F32, 1, (int64_t[]){32}, zeros, 128);
    gw_finish(&w, &bytes);
    toy_put(&dir, "a.gguf", (Str){bytes.data, bytes.len});
    cr_expect_eq(open_path(path.data, &m), KILN_ERR_UNSUPPORTED);
    expect_says("biases");
    strbuf_free(&bytes);

    toy_gguf_metadata(&w, &o);
    toy_gguf_tensors(&w, &o);
    gw_tensor(&w, "something.else", BLOCK_F32, 1, (int64_t[]){32}, zeros, 128);
    gw_finish(&w, &bytes);
    toy_put(&dir, "a.gguf", (Str){bytes.data, bytes.len});
    cr_expect_eq(open_path(path.data, &m), KILN_OK);
    cr_expect_eq(diag.n_warnings, 1, "an unused tensor is worth a warning");
    model_file_close(m);
    strbuf_free(&bytes);
    strbuf_free(&path);
    toy_remove(&dir);
    strbuf_free(&dir);
}

Test(weights, rope_freqs_divide_the_steps)
{
    StrBuf dir = toy_directory(), bytes = {0}, path = {0};
    ToyOptions o = {.matrices = BLOCK_F32};
    GgufWriter w = {0};
    ModelFile *m;
    float divisors[4] = {1, 2, 4, 8}, steps[4], bad[4] = {1, 0, 1, 1};
    strbuf_printf(&path, "%s/a.gguf", dir.data);
    for (int32_t round = 0; round < 2; round++) {
        toy_gguf_metadata(&w, &o);
        toy_gguf_tensors(&w, &o);
        gw_tensor(&w, "rope_freqs.weight", BLOCK_F32, 1, (int64_t[]){4}, round ? bad : divisors,
                  16);
        gw_finish(&w, &bytes);
        toy_put(&dir, "a.gguf", (Str){bytes.data, bytes.len});
        strbuf_free(&bytes);
        if (round) {
            cr_expect_eq(open_path(path.data, &m), KILN_ERR_INPUT);
            expect_says("rope_freqs.weight[1] is not above 0");
            break;
        }
        cr_assert_eq(open_path(path.data, &m), KILN_OK, "%s", diag_first(&diag));
        model_file_rope_steps(m, steps);
        for (int32_t i = 0; i < 4; i++)
            cr_expect_float_eq(steps[i], (float)(pow(10000, -2.0 * i / 8) / (double)divisors[i]),
                               1e-9, "pair %d", i);
        model_file_close(m);
    }
    toy_remove(&dir);
    strbuf_free(&dir);
    strbuf_free(&path);
}

Test(weights, paths_that_hold_no_model_are_explained)
{
    ModelFile *m;
    StrBuf dir = toy_directory(), text = {0};
    cr_expect_eq(open_path("meta-llama/Llama-3.2-1B", &m), KILN_ERR_IO);
    expect_says("it looks like a name on the Hugging Face Hub");
    diag_render(&diag, &text);
    cr_expect(strstr(text.data, "huggingface-cli download meta-llama/Llama-3.2-1B") != NULL, "%s",
              text.data);
    strbuf_free(&text);
    cr_expect_eq(open_path("./models/none.gguf", &m), KILN_ERR_IO);
    expect_says("no such file or directory");
    cr_expect_eq(open_path(dir.data, &m), KILN_ERR_INPUT);
    expect_says("config.json is missing");
    ToyOptions o = {0};
    toy_config(&o, &text);
    toy_put(&dir, "config.json", (Str){text.data, text.len});
    cr_expect_eq(open_path(dir.data, &m), KILN_ERR_INPUT);
    expect_says("neither model.safetensors nor");
    strbuf_free(&text);
    toy_remove(&dir);
    strbuf_free(&dir);
}

Test(weights, an_index_can_name_only_plain_files_of_its_directory)
{
    static const struct {
        const char *index, *says;
    } cases[] = {
        {"{}", "weight_map is missing"},
        {"{\"weight_map\": {}}", "weight_map is missing, empty"},
        {"{\"weight_map\": {\"a\": 1}}", "no plain *.safetensors name"},
        {"{\"weight_map\": {\"a\": \"../x.safetensors\"}}", "no plain *.safetensors name"},
        {"{\"weight_map\": {\"a\": \"/x.safetensors\"}}", "no plain *.safetensors name"},
        {"{\"weight_map\": {\"a\": \"..\"}}", "no plain *.safetensors name"},
        {"{\"weight_map\": {\"a\": \"\"}}", "no plain *.safetensors name"},
        {"{\"weight_map\": {\"a\": \"a\\u0000.safetensors\"}}", "no plain *.safetensors name"},
        {"{\"weight_map\": {\"a\": \"pytorch_model.bin\"}}", "no plain *.safetensors name"},
        {"{\"weight_map\": {\"a\": \"missing.safetensors\"}}", "cannot be opened"},
        {"{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\"}}", "tensor a is missing"},
        {"{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\", \"a\": \"b\"}}",
         "duplicate"},
    };
    StrBuf dir = toy_directory();
    ToyOptions o = {.matrices = BLOCK_F16};
    ModelFile *m;
    put_hf(&dir, &o, true);
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        put_text(&dir, "model.safetensors.index.json", cases[i].index);
        cr_expect_neq(open_path(dir.data, &m), KILN_OK, "case %d", i);
        expect_says(cases[i].says);
    }
    toy_remove(&dir);
    strbuf_free(&dir);
}

Test(weights, a_tokenizer_with_more_ids_than_the_embedding_has_rows_is_refused)
{
    StrBuf dir = toy_directory(), text = {0};
    ToyOptions o = {.matrices = BLOCK_F32};
    ModelFile *m;
    Tokenizer *tok;
    put_hf(&dir, &o, false);
    cr_assert_eq(open_path(dir.data, &m), KILN_OK, "%s", diag_first(&diag));
    cr_expect_eq(tokenizer_open(m, &heap, &tok, &diag), KILN_OK, "%s", diag_first(&diag));
    tokenizer_close(tok);
    toy_tokenizer_json(&text);
    char *hit = strstr(text.data, "\"the\": 267");
    memcpy(hit, "\"the\": 271", 10);
    toy_put(&dir, "tokenizer.json", (Str){text.data, text.len});
    cr_expect_eq(tokenizer_open(m, &heap, &tok, &diag), KILN_ERR_INPUT);
    expect_says("the tokenizer has 272 ids, the embedding only 271 rows");
    cr_expect_null(tok);
    model_file_close(m);
    strbuf_free(&text);
    toy_remove(&dir);
    strbuf_free(&dir);
}

Test(weights, each_failing_allocation_of_a_load_is_reported)
{
    StrBuf dir = toy_directory(), hf = toy_directory(), gguf = {0};
    ToyOptions o = {.matrices = BLOCK_F32};
    ModelFile *m;
    cr_assert_eq(open_gguf(&dir, &o, &m), KILN_OK);
    model_file_close(m);
    put_hf(&hf, &o, true);
    strbuf_printf(&gguf, "%s/toy.gguf", dir.data);
    const char *const paths[] = {gguf.data, hf.data};
    for (int32_t k = 0; k < 2; k++) {
        int32_t n_failed = 0;
        for (int64_t fail_at = 1;; fail_at++) {
            heap.fail_at = fail_at;
            KilnStatus st = open_path(paths[k], &m);
            bool reached = heap.fail_at <= 0;
            heap.fail_at = 0;
            if (!reached) {
                model_file_close(m);
                break;
            }
            cr_assert_eq(st, KILN_ERR_NOMEM, "allocation %lld of %s", (long long)fail_at, paths[k]);
            cr_assert_eq(heap.n_live, 0);
            n_failed++;
        }
        cr_expect_geq(n_failed, 4);
    }
    toy_remove(&dir), toy_remove(&hf);
    strbuf_free(&dir), strbuf_free(&hf), strbuf_free(&gguf);
}

// ---- the published toy and the shipped model ---------------------------------------------------

Test(weights, stories260K_is_the_same_model_in_all_its_files)
{
    static const struct {
        const char *name;
        double tolerance;
        bool skip_qk;
    } others[] = {
        {"stories260K/gguf/stories260K-f16.gguf", 0.002, false}, // 2^-11 of values up to 4
        {"stories260K/gguf/stories260K-q8_0.gguf", 0.02, false},
        {"stories260K/hf", 0, true}};
    StrBuf path = shared_path("stories260K/gguf/stories260K-f32.gguf");
    ModelFile *a, *b;
    cr_assert_eq(open_path(path.data, &a), KILN_OK, "%s", diag_first(&diag));
    const ModelConfig *x = model_file_config(a);
    cr_expect(x->n_layers == 5 && x->d_model == 64 && x->n_heads == 8 && x->n_kv_heads == 4 &&
              x->head_dim == 8 && x->d_ff == 172);
    cr_expect(x->vocab == 512 && x->context == 512 && x->tied && x->n_eos == 2 && x->eos[0] == 1 &&
              x->eos[1] == 2);
    for (int32_t i = 0; i < COUNT_OF(others); i++) {
        StrBuf other = shared_path(others[i].name);
        cr_assert_eq(open_path(other.data, &b), KILN_OK, "%s", diag_first(&diag));
        const ModelConfig *y = model_file_config(b);
        cr_expect(x->n_layers == y->n_layers && x->d_model == y->d_model &&
                  x->n_heads == y->n_heads && x->n_kv_heads == y->n_kv_heads);
        cr_expect(x->head_dim == y->head_dim && x->d_ff == y->d_ff && x->vocab == y->vocab &&
                  x->context == y->context);
        cr_expect((float)x->rms_eps == (float)y->rms_eps && x->rope_theta == y->rope_theta &&
                  x->rope_dim == y->rope_dim);
        cr_expect(x->tied == y->tied && x->bos == y->bos && x->n_eos == y->n_eos &&
                  x->eos[1] == y->eos[1]);
        expect_same_weights(a, b, others[i].tolerance, others[i].skip_qk);
        model_file_close(b);
        strbuf_free(&other);
    }
    model_file_close(a);
    strbuf_free(&path);
}

// The half-split file's row i + s*D/2 of a head is the interleaved file's row 2i + s.
Test(weights, the_two_rotary_layouts_of_stories260K_are_one_permutation_apart)
{
    StrBuf path = shared_path("stories260K/gguf/stories260K-f32.gguf"),
           other = shared_path("stories260K/hf");
    ModelFile *a, *b;
    cr_assert_eq(open_path(path.data, &a), KILN_OK, "%s", diag_first(&diag));
    cr_assert_eq(open_path(other.data, &b), KILN_OK, "%s", diag_first(&diag));
    cr_expect(model_file_config(a)->rope_kind == ROPE_INTERLEAVED &&
              model_file_config(b)->rope_kind == ROPE_HALF_SPLIT);
    const WeightTensor *q = model_file_layer_tensor(a, 2, "attn_q"),
                       *p = model_file_layer_tensor(b, 2, "attn_q");
    for (int32_t row = 0; row < 64; row++) {
        int32_t head = row / 8, i = row % 8 / 2, s = row % 2, there = head * 8 + i + s * 4;
        cr_expect_arr_eq((const float *)q->data + row * 64, (const float *)p->data + there * 64,
                         256, "row %d", row);
    }
    model_file_close(a);
    model_file_close(b);
    strbuf_free(&path);
    strbuf_free(&other);
}

Test(weights, the_shipped_model_loads_and_round_trips_text)
{
    static const char path[] = KILN_SOURCE_DIR "/models/data/kiln-tiny.gguf";
    if (!file_exists(path)) cr_skip("models/data/kiln-tiny.gguf is not here");
    ModelFile *m;
    Tokenizer *tok;
    TokenIds ids = {0};
    StrBuf out = {0};
    cr_assert_eq(open_path(path, &m), KILN_OK, "%s", diag_first(&diag));
    cr_assert_eq(tokenizer_open(m, &heap, &tok, &diag), KILN_OK, "%s", diag_first(&diag));
    static const char text[] =
        "What is the special number for Lisbon? \xC3\xA9\xF0\x9F\x98\x80\n\n12345";
    cr_assert_eq(tokenizer_encode(tok, STR(text), ENCODE_PLAIN, &arena, &ids, &diag), KILN_OK);
    tokenizer_decode(tok, ids.data, ids.len, true, &out);
    cr_expect_str_eq(out.data, text);
    strbuf_free(&out);
    tokenizer_close(tok);
    model_file_close(m);
}
