// models/mistral.c - Mistral 7B and its relatives: Llama with a sliding window in the first version.
//
// A window of w tokens changes nothing in the first w, so the context is capped to it (format/config.c).
#include "models/transformer.h"

const Architecture arch_mistral = {
    .name = "mistral",
    .about = "Mistral family: Llama's layers, context capped to the sliding window",
    .attn_norm = "attn_norm",
    .attn_q = "attn_q",
    .attn_k = "attn_k",
    .attn_v = "attn_v",
    .attn_output = "attn_output",
    .ffn_norm = "ffn_norm",
    .ffn_gate = "ffn_gate",
    .ffn_up = "ffn_up",
    .ffn_down = "ffn_down",
    .embedding = "token_embd",
    .output_norm = "output_norm",
    .output = "output",
};
