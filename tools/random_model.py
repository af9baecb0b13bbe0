"""Writes a GGUF file of a Llama shape with seeded random weights: for benches, where only sizes matter.

    python3 tools/random_model.py OUT.gguf [--shape 1b|qwen3-0.6b|15m|15m-256] [--type q8_0|q4_0|f16|f32] [--seed 1] [--as-f32]

The 1b shape is the one of Llama-3.2-1B (16 layers, width 2048, 32 query and 8 key/value heads of 64,
feed-forward 8192, 128,256 tokens, tied output); qwen3-0.6b has the sizes of that model (28 layers, width 1024, 16
query and 8 key/value heads of 128) and no norms of queries and keys; 15m is that of
stories15M, 15m-256 about as large with rows of whole blocks of 256, which Q4_K, Q5_K and Q6_K need. Needs NumPy only. The tokenizer is byte-level BPE whose
first 256 pieces are the bytes; the rest are never produced by encoding.
"""
import argparse
import struct

import numpy as np

SHAPES = {
    "1b": dict(layers=16, width=2048, heads=32, kv_heads=8, ff=8192, vocab=128256, context=131072, theta=500000.0),
    "qwen3-0.6b": dict(layers=28, width=1024, heads=16, kv_heads=8, head_dim=128, ff=3072, vocab=151936, context=40960, theta=1000000.0),
    "15m-256": dict(layers=6, width=256, heads=4, kv_heads=2, ff=1024, vocab=32000, context=2048, theta=10000.0),
    "15m": dict(layers=6, width=288, heads=6, kv_heads=6, ff=768, vocab=32000, context=2048, theta=10000.0),
}
GGML = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8}
U32, F32, STRING, ARRAY, BOOL, I32 = 4, 6, 8, 9, 7, 5
ALIGNMENT = 32


def text(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def field(key, kind, value):
    head = text(key) + struct.pack("<I", kind)
    if kind == STRING:
        return head + text(value)
    return head + struct.pack({U32: "<I", F32: "<f", BOOL: "<?"}[kind], value)


def array(key, kind, values):
    head = text(key) + struct.pack("<IIQ", ARRAY, kind, len(values))
    if kind == STRING:
        return head + b"".join(text(v) for v in values)
    return head + np.asarray(values, "<i4").tobytes()


def byte_alphabet():
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for b in range(256):
        if b in plain:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return [table[b] for b in range(256)]


def head_dim_of(shape):
    return shape.get("head_dim", shape["width"] // shape["heads"])


def metadata(shape, name):
    head_dim = head_dim_of(shape)
    tokens = byte_alphabet() + [f"<{i}>" for i in range(256, shape["vocab"])]
    kinds = [1] * 256 + [3] * (shape["vocab"] - 256)
    a, b = tokens[ord("t")], tokens[ord("h")]
    tokens[256], kinds[256] = a + b, 1
    return [
        field("general.architecture", STRING, "llama"),
        field("general.name", STRING, name),
        field("general.alignment", U32, ALIGNMENT),
        field("llama.block_count", U32, shape["layers"]),
        field("llama.context_length", U32, shape["context"]),
        field("llama.embedding_length", U32, shape["width"]),
        field("llama.feed_forward_length", U32, shape["ff"]),
        field("llama.attention.head_count", U32, shape["heads"]),
        field("llama.attention.head_count_kv", U32, shape["kv_heads"]),
        field("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        field("llama.attention.key_length", U32, head_dim),
        field("llama.attention.value_length", U32, head_dim),
        field("llama.rope.dimension_count", U32, head_dim),
        field("llama.rope.freq_base", F32, shape["theta"]),
        field("llama.vocab_size", U32, shape["vocab"]),
        field("tokenizer.ggml.model", STRING, "gpt2"),
        field("tokenizer.ggml.pre", STRING, "llama-bpe"),
        array("tokenizer.ggml.tokens", STRING, tokens),
        array("tokenizer.ggml.token_type", I32, kinds),
        array("tokenizer.ggml.merges", STRING, [f"{a} {b}"]),
        field("tokenizer.ggml.bos_token_id", U32, 257),
        field("tokenizer.ggml.eos_token_id", U32, 258),
        field("tokenizer.ggml.add_bos_token", BOOL, True),
    ]


def tensors(shape):
    d, head_dim = shape["width"], head_dim_of(shape)
    q, kv = shape["heads"] * head_dim, shape["kv_heads"] * head_dim
    yield "token_embd.weight", (shape["vocab"], d)
    yield "output_norm.weight", (d,)
    for i in range(shape["layers"]):
        for base, dims in (("attn_norm", (d,)), ("ffn_norm", (d,)), ("attn_q", (q, d)), ("attn_k", (kv, d)), ("attn_v", (kv, d)),
                           ("attn_output", (d, q)), ("ffn_gate", (shape["ff"], d)), ("ffn_up", (shape["ff"], d)), ("ffn_down", (d, shape["ff"]))):
            yield f"blk.{i}.{base}.weight", dims


def size_of(dims, kind):
    n = int(np.prod(dims))
    return {"f32": 4 * n, "f16": 2 * n, "q4_0": n // 32 * 18, "q8_0": n // 32 * 34}[kind]


def packed_q8_0(x):
    """Blocks of 32: f16 scale, 32 codes; and what they stand for."""
    block = x.reshape(-1, 32)
    scale = np.abs(block).max(1) / 127
    codes = np.rint(block / np.where(scale, scale, 1)[:, None]).astype(np.int8)
    half = scale.astype("<f2")
    raw = np.concatenate([half.view(np.uint8).reshape(-1, 2), codes.view(np.uint8)], 1)
    return raw, half.astype(np.float32)[:, None] * codes


def packed_q4_0(x):
    """Blocks of 32: f16 scale, 16 bytes; byte i holds weight i low and weight i + 16 high, each code - 8."""
    block = x.reshape(-1, 32)
    at = np.abs(block).argmax(1)
    scale = block[np.arange(len(block)), at] / np.float32(-8)
    codes = np.clip(np.floor(block / np.where(scale, scale, 1)[:, None] + 8.5), 0, 15).astype(np.uint8)
    half = scale.astype("<f2")
    raw = np.concatenate([half.view(np.uint8).reshape(-1, 2), codes[:, :16] | codes[:, 16:] << 4], 1)
    return raw, half.astype(np.float32)[:, None] * (codes.astype(np.float32) - 8)


def random_bytes(dims, kind, as_f32, rng):
    """Normal weights of deviation 1/sqrt(inputs), in pieces of a million."""
    total, deviation = int(np.prod(dims)), dims[-1] ** -0.5
    if len(dims) == 1:
        yield np.ones(dims, "<f4").tobytes()
        return
    for begin in range(0, total, 1 << 20):
        n = min(1 << 20, total - begin)
        x = rng.standard_normal(n, np.float32) * np.float32(deviation)
        if kind == "f32":
            yield x.astype("<f4").tobytes()
        elif kind == "f16":
            yield x.astype("<f2").tobytes()
        else:
            raw, value = (packed_q4_0 if kind == "q4_0" else packed_q8_0)(x)
            yield value.astype("<f4").tobytes() if as_f32 else raw.tobytes()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("out")
    p.add_argument("--shape", choices=SHAPES, default="1b")
    p.add_argument("--type", choices=GGML, default="q8_0")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--as-f32", action="store_true", help="write what the packed weights stand for, in F32")
    a = p.parse_args()
    shape, rng = SHAPES[a.shape], np.random.default_rng(a.seed)
    fields = metadata(shape, f"random {a.shape} {a.type} seed {a.seed}")
    table, offset, listed = b"", 0, list(tensors(shape))
    for name, dims in listed:
        kind = "f32" if len(dims) == 1 or a.as_f32 else a.type
        table += text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", n) for n in reversed(dims))
        table += struct.pack("<IQ", GGML[kind], offset)
        offset += -(-size_of(dims, kind) // ALIGNMENT) * ALIGNMENT
    with open(a.out, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(fields)) + b"".join(fields) + table)
        f.write(b"\0" * (-f.tell() % ALIGNMENT))
        for _, dims in listed:
            for piece in random_bytes(dims, a.type, a.as_f32, rng):
                f.write(piece)
            f.write(b"\0" * (-f.tell() % ALIGNMENT))
        print(f"{a.out}: {f.tell() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
