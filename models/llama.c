// models/llama.c - Llama 2, 3, 3.1, 3.2, 3.3 and what is built like them.
//
// Differences from transformer.h: none; it is where the picture comes from. GGUF files rotate pairs
// (2i, 2i + 1), Hugging Face checkpoints (i, i + half): the configuration says which.
#include "models/transformer.h"

const Architecture arch_llama = {
    .name = "llama",
    .about = "Llama family: RMS norms, rotary positions, grouped queries, gated feed-forward",
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
