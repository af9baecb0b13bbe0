// tests/fuzz/config.c - any bytes as config.json, and as generation_config.json beside a sound one.
#include <stdlib.h>

#include "runtime/format/config.h"
#include "runtime/format/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char sound[] = "{\"model_type\": \"llama\", \"hidden_size\": 32, "
                            "\"num_hidden_layers\": 2, \"intermediate_size\": 64,"
                            " \"num_attention_heads\": 4, \"vocab_size\": 300}";

static void check(const ModelConfig *c)
{
    static float steps[CONFIG_HEAD_DIM_MAX / 2];
    if (c->n_heads < 1 || c->n_kv_heads < 1 || c->n_heads % c->n_kv_heads || c->head_dim % 2 ||
        c->rope_dim > c->head_dim)
        abort();
    if (c->n_layers < 1 || c->vocab < 1 || c->context < 1 || c->rope_dim < 2 ||
        c->n_eos > CONFIG_EOS_MAX)
        abort();
    for (int32_t i = 0; i < c->n_eos; i++)
        if (c->eos[i] < 0 || c->eos[i] >= c->vocab) abort();
    config_rope_steps(c, NULL, steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Heap heap;
    Diag diag;
    ModelConfig config;
    Str text = {(const char *)data, size};
    heap_init(&heap);
    diag_init(&diag, heap_default());
    if (config_from_hf(text, "config.json", (Str){0}, "", &heap, &config, &diag) == KILN_OK)
        check(&config);
    else if (diag.n_errors == 0)
        abort();
    if (config_from_hf(STR(sound), "config.json", text, "generation_config.json", &heap, &config,
                       &diag) == KILN_OK)
        check(&config);
    diag_reset(&diag);
    if (heap.n_live) abort();
    return 0;
}
