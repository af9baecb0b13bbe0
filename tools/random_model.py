"""Writes a GGUF file of a Llama shape with seeded random weights: for benches, where only sizes matter.

    python3 tools/random_model.py OUT.gguf [--shape 1b|qwen3-0.6b|15m|15m-256] [--type TYPE] [--seed 1] [--as-f32]

The 1b shape is the one of Llama-3.2-1B (16 layers, width 2048, 32 query and 8 key/value heads of 64,
feed-forward 8192, 128,256 tokens, tied output); qwen3-0.6b has the sizes of that model (28 layers, width 1024, 16
query and 8 key/value heads of 128) and no norms of queries and keys; 15m is that of
stories15M, 15m-256 about as large with rows of whole blocks of 256, which Q4_K, Q5_K and Q6_K need.
Types are q8_0 q4_0 q4_k q5_k q6_k bf16 f16 f32; in a file of a K type, rows that are no multiple of 256 are q8_0. Needs NumPy only. The tokenizer is byte-level BPE whose
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
#        GGML's number, weights per block, bytes per block
TYPES = {"f32": (0, 1, 4), "f16": (1, 1, 2), "q4_0": (2, 32, 18), "q8_0": (8, 32, 34), "q4_k": (12, 256, 144),
         "q5_k": (13, 256, 176), "q6_k": (14, 256, 210), "bf16": (30, 1, 2)}
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


def kind_of(dims, kind):
    """What a tensor is stored as in a file of type `kind`."""
    if len(dims) == 1:
        return "f32"
    return kind if dims[-1] % TYPES[kind][1] == 0 else "q8_0"


def size_of(dims, kind):
    _, block, size = TYPES[kind]
    return int(np.prod(dims)) // block * size


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


def nearest(x, most):
    return np.clip(np.floor(x + np.float32(0.5)), 0, most)


def over(x, step):
    """x / step, 0 where the step is."""
    return np.divide(x, step, out=np.zeros_like(x), where=np.broadcast_to(step != 0, x.shape))


def half(x):
    """x as f16, and its two bytes."""
    h = x.astype("<f2")
    return h.astype(np.float32), h.view(np.uint8).reshape(-1, 2)


def packed_with_mins(x, most):
    """Blocks of 256: f16 d and dmin, 6-bit scale and minimum of eight blocks of 32, codes 0 .. `most` of 4 or 5 bits."""
    block = x.reshape(-1, 8, 32)
    low = np.minimum(block.min(2), 0)
    step = (np.maximum(block.max(2), 0) - low) / np.float32(most)
    d, d_raw = half(step.max(1) / np.float32(63))
    dmin, dmin_raw = half(-low.min(1) / np.float32(63))
    scale = nearest(over(step, d[:, None]), 63).astype(np.uint8)
    least = nearest(over(-low, dmin[:, None]), 63).astype(np.uint8)
    each, shift = d[:, None] * scale, dmin[:, None] * least
    codes = nearest(over(block + shift[:, :, None], each[:, :, None]), most).astype(np.uint8)
    sixes = np.concatenate([scale[:, :4] | scale[:, 4:] >> 4 << 6, least[:, :4] | least[:, 4:] >> 4 << 6,
                            (scale[:, 4:] & 15) | (least[:, 4:] & 15) << 4], 1)
    pairs = codes.reshape(-1, 4, 2, 32) & 15
    parts = [d_raw, dmin_raw, sixes, (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)]
    if most > 15:
        parts.insert(3, sum((codes[:, b] >> 4 << b for b in range(8)), np.zeros_like(codes[:, 0])))
    return np.concatenate(parts, 1), each[:, :, None] * codes - shift[:, :, None]


def packed_q6_k(x):
    """Blocks of 256: low nibbles, high bits, an int8 scale for every 16, f16 d; value d * scale * (code - 32)."""
    block = x.reshape(-1, 16, 16)
    at = np.abs(block).argmax(2)
    step = np.take_along_axis(block, at[:, :, None], 2)[:, :, 0] / np.float32(-32)
    d, d_raw = half(np.abs(step).max(1) / np.float32(127))
    scale = (np.sign(step) * nearest(over(np.abs(step), d[:, None]), 127)).astype(np.int8)
    each = d[:, None] * scale
    codes = nearest(over(block, each[:, :, None]) + 32, 63).astype(np.uint8)
    quarter = codes.reshape(-1, 2, 4, 32)  # halves of 128: four runs of 32
    low = (quarter & 15)[:, :, :2] | (quarter & 15)[:, :, 2:] << 4
    high = sum((quarter[:, :, j] >> 4 << 2 * j for j in range(4)), np.zeros_like(quarter[:, :, 0]))
    raw = np.concatenate([low.reshape(-1, 128), high.reshape(-1, 64), scale.view(np.uint8), d_raw], 1)
    return raw, each[:, :, None] * (codes.astype(np.float32) - 32)


def packed_bf16(x):
    """Nearest even, of numbers."""
    bits = x.view("<u4").astype(np.uint64)
    top = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
    return top, (top.astype("<u4") << 16).view("<f4")


PACKED = {"q8_0": packed_q8_0, "q4_0": packed_q4_0, "q4_k": lambda x: packed_with_mins(x, 15),
          "q5_k": lambda x: packed_with_mins(x, 31), "q6_k": packed_q6_k, "bf16": packed_bf16,
          "f16": lambda x: (x.astype("<f2"), x.astype("<f2")), "f32": lambda x: (x, x)}


def random_bytes(dims, kind, as_f32, rng):
    """Normal weights of deviation 1/sqrt(inputs), in pieces of a million."""
    total, deviation = int(np.prod(dims)), dims[-1] ** -0.5
    if len(dims) == 1:
        yield np.ones(dims, "<f4").tobytes()
        return
    for begin in range(0, total, 1 << 20):
        n = min(1 << 20, total - begin)
        x = rng.standard_normal(n, np.float32) * np.float32(deviation)
        raw, value = PACKED[kind](x)
        yield value.astype("<f4").tobytes() if as_f32 else raw.tobytes()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("out")
    p.add_argument("--shape", choices=SHAPES, default="1b")
    p.add_argument("--type", choices=TYPES, default="q8_0")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--as-f32", action="store_true", help="write what the packed weights stand for, in F32")
    a = p.parse_args()
    shape, rng = SHAPES[a.shape], np.random.default_rng(a.seed)
    fields = metadata(shape, f"random {a.shape} {a.type} seed {a.seed}")
    table, offset, listed = b"", 0, list(tensors(shape))
    for name, dims in listed:
        kind = "f32" if a.as_f32 else kind_of(dims, a.type)
        table += text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", n) for n in reversed(dims))
        table += struct.pack("<IQ", TYPES[kind][0], offset)
        offset += -(-size_of(dims, kind) // ALIGNMENT) * ALIGNMENT
    with open(a.out, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(fields)) + b"".join(fields) + table)
        f.write(b"\0" * (-f.tell() % ALIGNMENT))
        for _, dims in listed:
            for piece in random_bytes(dims, kind_of(dims, a.type), a.as_f32, rng):
                f.write(piece)
            f.write(b"\0" * (-f.tell() % ALIGNMENT))
        print(f"{a.out}: {f.tell() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
