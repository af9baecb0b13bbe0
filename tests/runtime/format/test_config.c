// tests/runtime/format/test_config.c - hyperparameters from both containers, and each limit from
// both sides.
#include "runtime/format/config.h"

#include <criterion/criterion.h>
#include <math.h>

#include "tests/support/fixture.h"
#include "tests/support/toy_model.h"

TestSuite(config, .init = fixture_up, .fini = fixture_down, .timeout = 60);

static KilnStatus read_hf(const char *text, const char *generation, ModelConfig *c)
{
    diag_reset(&diag);
    return config_from_hf(str_of(text), "config.json", str_of(generation), "generation_config.json",
                          &heap, c, &diag);
}

/// The toy's config.json with `extra` (", \"key\": value") added; a key given twice is replaced by
/// hand below.
static StrBuf with(const char *drop, const char *extra)
{
    ToyOptions o = {0};
    StrBuf text = {0}, out = {0};
    toy_config(&o, &text);
    char *begin = drop ? strstr(text.data, drop) : NULL;
    if (begin) {
        char *end = begin + strcspn(begin, ",}");
        if (*end == ',') end++;
        strbuf_add(&out, text.data, (size_t)(begin - text.data));
        strbuf_puts(&out, end);
    } else {
        strbuf_add(&out, text.data, text.len);
    }
    out.data[strrchr(out.data, '}') - out.data] = 0;
    out.len = strlen(out.data);
    while (strchr(", \n", out.data[out.len - 1]))
        out.len--;
    strbuf_puts(&out, extra);
    strbuf_puts(&out, "}");
    strbuf_free(&text);
    return out;
}

Test(config, both_containers_say_the_same)
{
    ToyOptions o = {0};
    GgufWriter w = {0};
    StrBuf bytes = {0}, text = {0};
    Gguf *g;
    ModelConfig a, b;
    toy_gguf(&o, &bytes);
    (void)w;
    cr_assert_eq(gguf_read((Str){bytes.data, bytes.len}, "toy.gguf", &heap, &g, &diag), KILN_OK,
                 "%s", diag_first(&diag));
    cr_assert_eq(config_from_gguf(g, &a, &diag), KILN_OK, "%s", diag_first(&diag));
    toy_config(&o, &text);
    cr_assert_eq(read_hf(text.data, NULL, &b), KILN_OK, "%s", diag_first(&diag));
    cr_expect_str_eq(a.arch, b.arch);
    cr_expect(a.n_layers == 2 && b.n_layers == 2);
    cr_expect(a.d_model == b.d_model && a.n_heads == b.n_heads && a.n_kv_heads == b.n_kv_heads &&
              a.head_dim == b.head_dim);
    cr_expect(a.d_ff == b.d_ff && a.vocab == b.vocab && a.context == b.context &&
              a.rope_dim == b.rope_dim);
    cr_expect_eq((float)a.rms_eps, (float)b.rms_eps);
    cr_expect(a.rope_theta == b.rope_theta && a.rope_scaling == b.rope_scaling &&
              a.tied == b.tied && a.bos == b.bos);
    cr_expect(a.n_eos == 1 && b.n_eos == 1 && a.eos[0] == b.eos[0]);
    cr_expect_eq(a.rope_kind, ROPE_INTERLEAVED);
    cr_expect_eq(b.rope_kind, ROPE_HALF_SPLIT);
    gguf_close(g);
    strbuf_free(&bytes);
    strbuf_free(&text);
}

// clang-format off
static const struct {
    const char *drop, *extra;
    KilnStatus st;
    const char *says;
} json_cases[] = {
    {NULL, "", KILN_OK, ""},
    {"\"model_type\"", ", \"model_type\": \"mamba\"", KILN_ERR_UNSUPPORTED,
     "architecture \"mamba\" is not supported"},
    {"\"model_type\"", "", KILN_ERR_INPUT, "model_type is missing"},
    {"\"hidden_size\"", "", KILN_ERR_INPUT, "hidden_size is missing"},
    {"\"vocab_size\"", "", KILN_ERR_INPUT, "vocab_size is missing"},
    {"\"num_hidden_layers\"", ", \"num_hidden_layers\": 1024", KILN_OK, ""},
    {"\"num_hidden_layers\"", ", \"num_hidden_layers\": 1025", KILN_ERR_INPUT,
     "found 1025, expected an integer from 1 to 1024"},
    {"\"num_hidden_layers\"", ", \"num_hidden_layers\": 0", KILN_ERR_INPUT,
     "num_hidden_layers"},
    {"\"num_hidden_layers\"", ", \"num_hidden_layers\": -1", KILN_ERR_INPUT,
     "num_hidden_layers"},
    {"\"num_hidden_layers\"", ", \"num_hidden_layers\": 2.0", KILN_ERR_INPUT,
     "num_hidden_layers"},
    {"\"num_hidden_layers\"", ", \"num_hidden_layers\": \"2\"", KILN_ERR_INPUT, "found \"2\""},
    {"\"hidden_size\"", ", \"hidden_size\": 1048577", KILN_ERR_INPUT, "hidden_size"},
    {"\"hidden_size\"", ", \"hidden_size\": 99999999999999999999", KILN_ERR_INPUT,
     "hidden_size"},
    {"\"num_attention_heads\"", ", \"num_attention_heads\": 5", KILN_ERR_INPUT,
     "multiple of the 2 key-value heads"},
    {"\"num_attention_heads\"", ", \"num_attention_heads\": 6", KILN_ERR_INPUT,
     "no multiple of 6 heads"},
    {"\"hidden_size\"", ", \"hidden_size\": 36", KILN_ERR_INPUT, "head width 9"},
    {NULL, ", \"head_dim\": 16", KILN_OK, ""},
    {NULL, ", \"head_dim\": null", KILN_OK, ""},
    {NULL, ", \"head_dim\": 7", KILN_ERR_INPUT, "head width 7"},
    {NULL, ", \"partial_rotary_factor\": 0.5", KILN_OK, ""},
    {NULL, ", \"partial_rotary_factor\": 0.4", KILN_ERR_INPUT, "rotated elements"},
    {NULL, ", \"partial_rotary_factor\": 0.1", KILN_ERR_INPUT, "rotates nothing"},
    {"\"rms_norm_eps\"", ", \"rms_norm_eps\": 0", KILN_ERR_INPUT, "epsilon"},
    {"\"rms_norm_eps\"", ", \"rms_norm_eps\": 0.1", KILN_OK, ""},
    {"\"rms_norm_eps\"", ", \"rms_norm_eps\": 0.11", KILN_ERR_INPUT, "rms_norm_eps"},
    {"\"rms_norm_eps\"", ", \"rms_norm_eps\": NaN", KILN_ERR_INPUT, "rms_norm_eps"},
    {"\"rope_theta\"", ", \"rope_theta\": 0.5", KILN_ERR_INPUT, "rope_theta"},
    {"\"rope_theta\"", ", \"rope_theta\": Infinity", KILN_ERR_INPUT, "rope_theta"},
    {NULL, ", \"rope_scaling\": null", KILN_OK, ""},
    {NULL, ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}", KILN_OK, ""},
    {NULL, ", \"rope_scaling\": {\"type\": \"linear\"}", KILN_ERR_INPUT, "factor is missing"},
    {NULL, ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}", KILN_ERR_INPUT,
     "factor"},
    {NULL, ", \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}", KILN_ERR_UNSUPPORTED,
     "rope scaling \"dynamic\""},
    {NULL, ", \"rope_scaling\": [1]", KILN_ERR_INPUT, "rope_scaling must be an object"},
    {NULL,
     ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
     "\"high_freq_factor\": 4}",
     KILN_ERR_INPUT, "original_max_position_embeddings is missing"},
    {NULL,
     ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
     "\"high_freq_factor\": 4, "
     "\"original_max_position_embeddings\": 8192}",
     KILN_ERR_INPUT, "high_freq_factor 4, expected more"},
    {"\"hidden_act\"", ", \"hidden_act\": \"gelu\"", KILN_ERR_UNSUPPORTED, "gelu"},
    {NULL, ", \"attention_bias\": true", KILN_ERR_UNSUPPORTED, "attention_bias"},
    {NULL, ", \"mlp_bias\": 1", KILN_ERR_INPUT, "mlp_bias: found 1, expected true or false"},
    {NULL, ", \"quantization_config\": {\"bits\": 4}", KILN_ERR_UNSUPPORTED,
     "quantization_config"},
    {"\"eos_token_id\"", ", \"eos_token_id\": [1, 2, 2]", KILN_OK, ""},
    {"\"eos_token_id\"", ", \"eos_token_id\": 271", KILN_ERR_INPUT, "eos_token_id"},
    {"\"eos_token_id\"", ", \"eos_token_id\": [1, 271]", KILN_ERR_INPUT, "end token 271"},
    {"\"eos_token_id\"", ", \"eos_token_id\": [\"a\"]", KILN_ERR_INPUT, "eos_token_id"},
    {"\"bos_token_id\"", ", \"bos_token_id\": 271", KILN_ERR_INPUT, "bos_token_id"},
    {"\"bos_token_id\"", ", \"bos_token_id\": null", KILN_OK, ""},
};
// clang-format on

Test(config, both_sides_of_each_limit_in_config_json)
{
    for (int32_t i = 0; i < COUNT_OF(json_cases); i++) {
        ModelConfig c;
        StrBuf text = with(json_cases[i].drop, json_cases[i].extra);
        cr_expect_eq(read_hf(text.data, NULL, &c), json_cases[i].st, "case %d, %s: %s", i,
                     json_cases[i].extra, diag_first(&diag));
        expect_says(json_cases[i].says);
        strbuf_free(&text);
    }
    ModelConfig c;
    cr_expect_eq(read_hf("[]", NULL, &c), KILN_ERR_INPUT);
    expect_says("expected an object");
}

Test(config, generation_config_decides_what_ends_a_text)
{
    ModelConfig c;
    StrBuf text = with(NULL, "");
    cr_assert_eq(read_hf(text.data, "{\"eos_token_id\": [7, 3]}", &c), KILN_OK, "%s",
                 diag_first(&diag));
    cr_expect(c.n_eos == 2 && c.eos[0] == 3 && c.eos[1] == 7);
    cr_assert_eq(read_hf(text.data, "{\"temperature\": NaN}", &c), KILN_OK, "%s",
                 diag_first(&diag));
    cr_expect(c.n_eos == 1 && c.eos[0] == 2);
    strbuf_free(&text);
}

Test(config, a_sliding_window_caps_the_context_to_where_it_changes_nothing)
{
    ModelConfig c;
    StrBuf text = with("\"max_position_embeddings\"",
                       ", \"max_position_embeddings\": 8192, \"sliding_window\": 1024");
    cr_assert_eq(read_hf(text.data, NULL, &c), KILN_OK, "%s", diag_first(&diag));
    cr_expect_eq(c.context, 1024);
    strbuf_free(&text);
    text = with("\"max_position_embeddings\"",
                ", \"max_position_embeddings\": 8192, \"sliding_window\": null");
    cr_assert_eq(read_hf(text.data, NULL, &c), KILN_OK, "%s", diag_first(&diag));
    cr_expect_eq(c.context, 8192);
    strbuf_free(&text);
}

typedef struct GgufCase {
    const char *key;
    GgufType type;
    double value;
    KilnStatus st;
    const char *says;
} GgufCase;

// One key at a time is written instead of the toy's own.
Test(config, both_sides_of_each_limit_in_gguf)
{
    static const GgufCase cases[] = {
        {"llama.block_count", GGUF_U32, 2, KILN_OK, ""},
        {"llama.block_count", GGUF_U32, 1025, KILN_ERR_INPUT, "found 1025, expected 1 to 1024"},
        {"llama.block_count", GGUF_U32, 0, KILN_ERR_INPUT, "llama.block_count"},
        {"llama.block_count", GGUF_F32, 2, KILN_ERR_INPUT, "expected an integer"},
        {"llama.block_count", GGUF_I32, -1, KILN_ERR_INPUT, "llama.block_count"},
        {"llama.attention.head_count", GGUF_U32, 3, KILN_ERR_INPUT, "multiple of the 2"},
        {"llama.attention.head_count", GGUF_U64, 4, KILN_OK, ""},
        {"llama.attention.layer_norm_rms_epsilon", GGUF_F32, 0, KILN_ERR_INPUT, "epsilon"},
        {"llama.attention.layer_norm_rms_epsilon", GGUF_F64, 0.1, KILN_OK, ""},
        {"llama.attention.layer_norm_rms_epsilon", GGUF_U32, 1, KILN_ERR_INPUT, "an f32 or f64"},
        {"llama.rope.freq_base", GGUF_F32, 0.5, KILN_ERR_INPUT, "freq_base"},
        {"llama.rope.freq_base", GGUF_F32, (double)INFINITY, KILN_ERR_INPUT, "freq_base"},
        {"llama.rope.freq_base", GGUF_F32, (double)NAN, KILN_ERR_INPUT, "freq_base"},
        {"llama.rope.dimension_count", GGUF_U32, 4, KILN_OK, ""},
        {"llama.rope.dimension_count", GGUF_U32, 10, KILN_ERR_INPUT, "10 rotated elements"},
        {"llama.rope.dimension_count", GGUF_U32, 3, KILN_ERR_INPUT, "3 rotated elements"},
        {"llama.rope.scaling.factor", GGUF_F32, 4, KILN_OK, ""},
        {"llama.rope.scaling.factor", GGUF_F32, 0, KILN_ERR_INPUT, "scaling.factor"},
        {"llama.expert_count", GGUF_U32, 0, KILN_OK, ""},
        {"llama.expert_count", GGUF_U32, 8, KILN_ERR_UNSUPPORTED, "mixture of experts"},
        {"llama.attention.key_length", GGUF_U32, 16, KILN_OK, ""},
        {"llama.attention.value_length", GGUF_U32, 16, KILN_ERR_UNSUPPORTED, "value width"},
        {"tokenizer.ggml.eot_token_id", GGUF_U32, 271, KILN_ERR_INPUT, "eot_token_id"},
    };
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        const GgufCase *c = &cases[i];
        GgufWriter w = {0}, kept = {0};
        ToyOptions o = {0};
        StrBuf bytes = {0};
        Gguf *g;
        ModelConfig config;
        toy_gguf_metadata(&w, &o);
        toy_gguf_tokenizer(&w);
        toy_gguf_tensors(&w, &o);
        char *hit = memmem(w.kv.data, w.kv.len, c->key, strlen(c->key));
        if (hit) hit[0] = 'X'; // the toy's own key becomes one that nobody reads
        kept = w;
        gw_key(&kept, c->key, c->type);
        if (c->type == GGUF_F32)
            gw_le(&kept.kv, f32_bits((float)c->value), 4);
        else if (c->type == GGUF_F64) {
            uint64_t bits;
            memcpy(&bits, &c->value, 8);
            gw_le(&kept.kv, bits, 8);
        } else
            gw_le(&kept.kv, (uint64_t)(int64_t)c->value, c->type == GGUF_U64 ? 8 : 4);
        gw_finish(&kept, &bytes);
        diag_reset(&diag);
        cr_assert_eq(gguf_read((Str){bytes.data, bytes.len}, "toy.gguf", &heap, &g, &diag), KILN_OK,
                     "%s", diag_first(&diag));
        cr_expect_eq(config_from_gguf(g, &config, &diag), c->st, "case %d, %s: %s", i, c->key,
                     diag_first(&diag));
        expect_says(c->says);
        gguf_close(g);
        strbuf_free(&bytes);
    }
}

Test(config, per_layer_arrays_must_have_one_equal_entry_per_layer)
{
    static const struct {
        int32_t n, x[3];
        KilnStatus st;
    } cases[] = {
        {2, {4, 4}, KILN_OK},     {3, {4, 4, 4}, KILN_ERR_INPUT},    {1, {4}, KILN_ERR_INPUT},
        {0, {0}, KILN_ERR_INPUT}, {2, {4, 2}, KILN_ERR_UNSUPPORTED}, {2, {0, 0}, KILN_ERR_INPUT}};
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        GgufWriter w = {0};
        ToyOptions o = {0};
        StrBuf bytes = {0};
        Gguf *g;
        ModelConfig config;
        toy_gguf_metadata(&w, &o);
        toy_gguf_tensors(&w, &o);
        char *hit = memmem(w.kv.data, w.kv.len, "llama.attention.head_count", 26);
        hit[0] = 'X';
        gw_i32s(&w, "llama.attention.head_count", cases[i].x, cases[i].n);
        gw_finish(&w, &bytes);
        diag_reset(&diag);
        cr_assert_eq(gguf_read((Str){bytes.data, bytes.len}, "toy.gguf", &heap, &g, &diag), KILN_OK,
                     "%s", diag_first(&diag));
        cr_expect_eq(config_from_gguf(g, &config, &diag), cases[i].st, "case %d: %s", i,
                     diag_first(&diag));
        gguf_close(g);
        strbuf_free(&bytes);
    }
}

// R = 128, theta 500000, factor 8: the published ratios of the unscaled to the scaled step.
Test(config, llama3_scaling_gives_the_recorded_ratios)
{
    static const struct {
        int32_t i;
        double ratio;
    } want[] = {{0, 1},         {28, 1},        {29, 1.207484}, {30, 1.553415},
                {32, 2.694530}, {34, 5.257327}, {35, 8},        {63, 8}};
    ModelConfig plain = {.rope_dim = 128, .rope_theta = 500000, .rope_factor = 1}, scaled = plain;
    float a[64], b[64], c[64], divisors[64];
    scaled.rope_scaling = ROPE_SCALING_LLAMA3;
    scaled.rope_factor = 8;
    scaled.rope_low_freq_factor = 1;
    scaled.rope_high_freq_factor = 4;
    scaled.rope_original_context = 8192;
    config_rope_steps(&plain, NULL, a);
    config_rope_steps(&scaled, NULL, b);
    for (int32_t k = 0; k < COUNT_OF(want); k++)
        cr_expect_float_eq((double)a[want[k].i] / (double)b[want[k].i], want[k].ratio, 2e-6,
                           "pair %d: %.7f", want[k].i, (double)a[want[k].i] / (double)b[want[k].i]);
    cr_expect_eq(a[0], 1);
    // GGUF writes the same scaling as divisors.
    for (int32_t i = 0; i < 64; i++)
        divisors[i] = (float)((double)a[i] / (double)b[i]);
    plain.rope_scaling = ROPE_SCALING_DIVISORS;
    config_rope_steps(&plain, divisors, c);
    for (int32_t i = 0; i < 64; i++)
        cr_expect_leq(ulps_f32(b[i], c[i]), 2, "pair %d", i);
}
