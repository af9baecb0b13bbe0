"""A checkpoint as GGUF (what ships) and, with --hf, as a Hugging Face directory (for comparisons; not committed).

    python3 tools/model/export.py --checkpoint build/model/checkpoint.pt --gguf models/data/kiln-tiny.gguf [--hf DIR]

Matrices are stored as F16, norms as F32. The output matrix is the embedding and is not stored twice. GGUF's "llama"
rotates neighbouring dimensions, Hugging Face and our trainer rotate (i, i + 32): rows of q and k are reordered.
"""
import argparse, json, pathlib

import gguf
import numpy
import torch

import grammar
from model import Shape
from tokenizer import CHAT_TEMPLATE, PRE, Tokenizer, hf_json

NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    name = name.removesuffix(".weight")
    if name.startswith("layers."):
        _, layer, rest = name.split(".", 2)
        return f"blk.{layer}.{NAMES[rest]}.weight"
    return {"embed_tokens": "token_embd", "norm": "output_norm"}[name] + ".weight"


def interleaved(weight, heads):
    """Rows of each head from (i, i + D/2) order to neighbours: row 2i + s comes from row i + s D/2."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(path, weights, shape, tokenizer, description):
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_name("kiln-tiny")
    out.add_description(description)
    out.add_license("apache-2.0")
    out.add_author("kiln")
    out.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    out.add_context_length(shape.context)
    out.add_embedding_length(shape.hidden)
    out.add_block_count(shape.layers)
    out.add_feed_forward_length(shape.ffn)
    out.add_head_count(shape.heads)
    out.add_head_count_kv(shape.kv_heads)
    out.add_key_length(shape.head_dim)
    out.add_value_length(shape.head_dim)
    out.add_rope_dimension_count(shape.head_dim)
    out.add_rope_freq_base(shape.theta)
    out.add_layer_norm_rms_eps(shape.eps)
    out.add_vocab_size(shape.vocab)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(PRE)
    out.add_token_list(tokenizer.pieces)
    specials = len(grammar.SPECIALS)
    out.add_token_types([gguf.TokenType.CONTROL] * specials + [gguf.TokenType.NORMAL] * (shape.vocab - specials))
    out.add_token_merges([" ".join(pair) for pair in tokenizer.merges])
    out.add_bos_token_id(tokenizer.ids[grammar.BOS])
    out.add_eos_token_id(tokenizer.ids[grammar.EOS])
    out.add_eot_token_id(tokenizer.ids[grammar.END])
    out.add_add_bos_token(True)
    out.add_add_eos_token(False)
    out.add_chat_template(CHAT_TEMPLATE)
    for name, weight in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            weight = interleaved(weight, shape.heads if "q_proj" in name else shape.kv_heads)
        kind = numpy.float16 if weight.ndim == 2 else numpy.float32
        out.add_tensor(gguf_name(name), numpy.ascontiguousarray(weight.astype(kind)))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def write_hf(folder, weights, shape, tokenizer):
    from safetensors.numpy import save_file
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"model." + name: weight.astype(numpy.float16 if weight.ndim == 2 else numpy.float32)
               for name, weight in weights.items()}
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    ids = tokenizer.ids
    stop = [ids[grammar.EOS], ids[grammar.END]]
    config = dict(
        architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=shape.vocab, hidden_size=shape.hidden,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim, intermediate_size=shape.ffn, hidden_act="silu", rms_norm_eps=shape.eps,
        rope_theta=shape.theta, max_position_embeddings=shape.context, tie_word_embeddings=True, attention_bias=False,
        mlp_bias=False, torch_dtype="float16", bos_token_id=ids[grammar.BOS], eos_token_id=stop)
    files = {
        "config.json": config,
        "generation_config.json": dict(bos_token_id=ids[grammar.BOS], eos_token_id=stop),
        "tokenizer.json": hf_json(tokenizer),
        "tokenizer_config.json": dict(
            tokenizer_class="PreTrainedTokenizerFast", bos_token=grammar.BOS, eos_token=grammar.EOS,
            add_bos_token=True, add_eos_token=False, clean_up_tokenization_spaces=False,
            model_max_length=shape.context, chat_template=CHAT_TEMPLATE),
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--checkpoint", type=pathlib.Path, required=True)
    args.add_argument("--gguf", type=pathlib.Path)
    args.add_argument("--hf", type=pathlib.Path)
    args = args.parse_args()
    state = torch.load(args.checkpoint, weights_only=False, map_location="cpu")
    shape, tokenizer = Shape(**state["shape"]), Tokenizer.load()
    weights = {name: value.numpy() for name, value in state["model"].items()}
    count = sum(weight.size for weight in weights.values())
    description = (f"A {count/1e6:.2f} M parameter Llama trained by the kiln project on generated stories and needle "
                   f"questions: seed {state['seed']}, {state['step']} steps, {state['tokens']/1e6:.1f} M tokens")
    if args.gguf:
        args.gguf.parent.mkdir(parents=True, exist_ok=True)
        write_gguf(args.gguf, weights, shape, tokenizer, description)
    if args.hf:
        write_hf(args.hf, weights, shape, tokenizer)
    print(description)


if __name__ == "__main__":
    main()
