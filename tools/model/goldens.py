"""Reference outputs of the shipped model, for tests that must not depend on anything else.

    python3 tools/model/goldens.py models/data/kiln-tiny.gguf tests/golden/model

Independent of the trainer: it reads the GGUF bytes itself, computes in f64 with the interleaved rotation that GGUF's
"llama" means, and takes token ids from the `tokenizers` library. Only the prompts come from grammar.py.

    greedy.json   prompts with ids, 64 greedy ids, the smallest gap between best and second best logit on the way (a
                  runtime in f32 or f16 must agree where the gap is wide), top 8 logits at the first and last position
    logits.npy    every logit of a short prompt, f32 (positions, vocabulary), C order; its ids are in greedy.json: "short"
    tokens.json   texts and their ids, without BOS; "rendered" ones hold special tokens that must be recognised
"""
import json, math, pathlib, random, struct, sys

import numpy
import tokenizers
import torch

import grammar
from tokenizer import Tokenizer, hf_json

torch.set_grad_enabled(False)


# ---- GGUF, just enough ----------------------------------------------------------------------------------------------
def read_gguf(path):
    data, at = path.read_bytes(), 0

    def take(code):
        nonlocal at
        value, = struct.unpack_from("<" + code, data, at)
        at += struct.calcsize("<" + code)
        return value

    def string():
        nonlocal at
        size = take("Q")
        at += size
        return data[at - size:at].decode()

    def value(kind):
        if kind == 8:
            return string()
        if kind == 9:
            inner, count = take("I"), take("Q")
            return [value(inner) for _ in range(count)]
        return take({0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}[kind])

    assert data[:4] == b"GGUF"
    at = 4
    assert take("I") == 3
    n_tensors, n_meta = take("Q"), take("Q")
    meta = {}
    for _ in range(n_meta):
        name = string()
        meta[name] = value(take("I"))
    infos = []
    for _ in range(n_tensors):
        name, dims = string(), take("I")
        ne = [take("Q") for _ in range(dims)]
        infos.append((name, ne, take("I"), take("Q")))
    align = meta.get("general.alignment", 32)
    base = (at + align - 1) // align * align
    tensors = {}
    for name, ne, kind, offset in infos:
        dtype = {0: numpy.float32, 1: numpy.float16}[kind]
        flat = numpy.frombuffer(data, dtype, math.prod(ne), base + offset)
        tensors[name] = torch.tensor(flat.reshape(ne[::-1]).astype(numpy.float64))
    return meta, tensors


# ---- the forward pass, one sequence, with a cache -------------------------------------------------------------------
class Reference:
    def __init__(self, path):
        self.meta, self.w = read_gguf(path)
        get = lambda key: self.meta["llama." + key]
        self.layers, self.heads, self.kv_heads = get("block_count"), get("attention.head_count"), get("attention.head_count_kv")
        self.d, self.eps = get("attention.key_length"), get("attention.layer_norm_rms_epsilon")
        self.freq = torch.tensor([get("rope.freq_base") ** (-2 * i / self.d) for i in range(self.d // 2)], dtype=torch.float64)

    def norm(self, x, name):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.eps) * self.w[name]

    def turn(self, x, start):
        """x (T, heads, D): dimensions 2i and 2i+1 turn by position * freq[i]."""
        angle = torch.arange(start, start + x.shape[0], dtype=torch.float64)[:, None, None] * self.freq
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()), -1).flatten(-2)

    def forward(self, ids, cache):
        """Logits (T, vocabulary) of the new ids; cache is a list that grows to one (k, v) per layer."""
        w, T = self.w, len(ids)
        start = cache[0][0].shape[0] if cache else 0
        x = w["token_embd.weight"][torch.tensor(ids)]
        for n in range(self.layers):
            b = f"blk.{n}."
            h = self.norm(x, b + "attn_norm.weight")
            q = self.turn((h @ w[b + "attn_q.weight"].T).view(T, self.heads, self.d), start)
            k = self.turn((h @ w[b + "attn_k.weight"].T).view(T, self.kv_heads, self.d), start)
            v = (h @ w[b + "attn_v.weight"].T).view(T, self.kv_heads, self.d)
            if len(cache) <= n:
                cache.append((k, v))
            else:
                cache[n] = k, v = torch.cat((cache[n][0], k)), torch.cat((cache[n][1], v))
            visible = torch.arange(k.shape[0])[None] <= torch.arange(start, start + T)[:, None]
            out = []
            for j in range(self.heads):
                g = j // (self.heads // self.kv_heads)
                score = (q[:, j] @ k[:, g].T / math.sqrt(self.d)).masked_fill(~visible, -math.inf)
                out.append(score.softmax(-1) @ v[:, g])
            x = x + torch.cat(out, -1) @ w[b + "attn_output.weight"].T
            h = self.norm(x, b + "ffn_norm.weight")
            gate = h @ w[b + "ffn_gate.weight"].T
            x = x + (gate / (1 + torch.exp(-gate)) * (h @ w[b + "ffn_up.weight"].T)) @ w[b + "ffn_down.weight"].T
        return self.norm(x, "output_norm.weight") @ w.get("output.weight", w["token_embd.weight"]).T


def top(logits, count=8):
    values, ids = logits.topk(count)
    return [[i, round(v, 5)] for i, v in zip(ids.tolist(), values.tolist())]


def greedy(model, ids, count):
    cache = []
    logits = model.forward(ids, cache)
    first, last = top(logits[0]), top(logits[-1])
    out, gap, gaps = [], math.inf, []
    logits = logits[-1]
    while True:
        two = logits.topk(2)
        gaps.append(round((two.values[0] - two.values[1]).item(), 5))
        out.append(two.indices[0].item())
        if len(out) == count:
            return out, gaps, first, last
        logits = model.forward(out[-1:], cache)[0]


# ---- what is asked --------------------------------------------------------------------------------------------------
TEXTS = [
    "", " ", "  ", "a", " a", "Hello world", "Once upon a time", "The special number for Lisbon is 48213.",
    "What is the special number for Lisbon?", "\"Come in and sit by the fire,\" said the baker.", "12345 67890", "1 22 333",
    " 0", "3.14159", "a1b2c3", "x=y+1;", "   three blanks", "trailing   ", "two  blanks", "tab\tand\nnewline\r\n",
    "\n", "\n\n\n", " \n \n", "a\n b", "a \n\n  b", "\t\tx", "it's we'll they're I'm you've he'd don't", "IT'S WE'LL",
    "'s", "' s", "''", "caf\u00e9 na\u00efve \u00fcber", "cafe\u0301", "\u00e9", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u0645\u0631\u062d\u0628\u0627", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f525 kiln \U0001f9f1", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u00a0nbsp\u00a0", "\u2003em\u2003space", "\u200bzero",
    "\u0663\u0664\u0665", "\u2167 \u00bd \u00b2", "_under_score_", "snake_case CamelCase", "!!!???...", "(a)[b]{c}<d>",
    "<|endoftext|>", "http://example.com/a?b=c&d=%20", "\u0000\u0001\u007f", "\ufeffbom", "\u0120\u010a", "zzzzzzzzzzzzzzzz",
    "The quick brown fox jumps over the lazy dog.", "Zuckerfabrik Qxzebu Torvela", "\U00010348 \ud7ff\ue000",
]
RENDERED = [
    "<|begin_of_text|>Once upon a time", "<|user|>\nTell me a story about Anna.<|end|>\n<|assistant|>\n",
    "a<|end|>b <|end_of_text|> c", "<|system|>\nYou are kiln.<|end|>\n", "<|user|><|user|>", "<|user", "<|end|", "x<|begin_of_text|>",
]


def prompts(count):
    """(name, text): BOS is put in front of each."""
    def needle(length, needles, depth, seed):
        return grammar.needle_prompt(random.Random(grammar.TEST_SEED + 999_000_000 + seed), length, needles, depth, count)[0]
    chat = grammar.USER + "\n{}" + grammar.END + "\n" + grammar.ASSISTANT + "\n"
    return [
        ("short", "Once upon a time there was a brave"),
        ("empty", ""),
        ("one-token", " The"),
        ("story", "Anna was a brave girl who lived near the forest. One rainy morning, she walked to the"),
        ("lisbon", "The special number for Lisbon is 48213. It was a sunny day. What is the special number for Lisbon?"),
        ("needle-300", needle(300, 2, .4, 1)),
        ("needle-1000", needle(1000, 1, .25, 2)),
        ("needle-1000x4", needle(1000, 4, .6, 3)),
        ("needle-2000", needle(2000, 1, .5, 4)),
        ("needle-4000", needle(4000, 1, .3, 5)),
        ("chat-story", chat.format("Tell me a story about Lucy.")),
        ("chat-needle", chat.format(needle(200, 3, .5, 6))),
        ("ragged-0", "\"Thank you"),
        ("ragged-1", "Max"),
        ("ragged-2", "It was a foggy afternoon in spring. The fox was hiding under the"),
        ("ragged-3", needle(70, 1, .5, 7)),
        ("ragged-4", "On Monday morning, Ben woke up early. He wanted to learn to swim. \"Try again,\" said his"),
    ]


def main():
    path, folder = map(pathlib.Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    model = Reference(path)
    mine = Tokenizer.load()
    assert model.meta["tokenizer.ggml.tokens"] == mine.pieces
    hf = tokenizers.Tokenizer.from_str(json.dumps(hf_json(mine)))
    encode = lambda text: hf.encode(text, add_special_tokens=False).ids
    bos = model.meta["tokenizer.ggml.bos_token_id"]
    count = lambda part: sum(len(encode(text)) for text, _ in part)

    cases = []
    for name, text in prompts(count):
        ids = [bos] + encode(text)
        out, gaps, first, last = greedy(model, ids, 64)
        cases.append(dict(name=name, text=text, ids=ids, greedy=out, text_out=hf.decode(out, skip_special_tokens=False),
                          smallest_gap=min(gaps), gaps=gaps, first=first, last=last))
        print(f"{name}: {len(ids)} ids, smallest gap {min(gaps)}: {cases[-1]['text_out'][:100]!r}")
        if name == "short":
            numpy.save(folder / "logits.npy", model.forward(ids, []).to(torch.float32).numpy())
    lines = ",\n".join(json.dumps(case) for case in cases)
    (folder / "greedy.json").write_text('{"model": "kiln-tiny", "cases": [\n' + lines + "\n]}\n")
    vectors = [dict(text=text, ids=encode(text)) for text in TEXTS]
    for vector in vectors[1:]:
        assert hf.decode(vector["ids"], skip_special_tokens=False) == vector["text"], vector
        if vector["text"].isascii():
            assert mine.prompt(vector["text"]) == vector["ids"], vector
    vectors = dict(plain=vectors, rendered=[dict(text=text, ids=encode(text)) for text in RENDERED])
    (folder / "tokens.json").write_text(
        "{\n" + ",\n".join(f'"{kind}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]" for kind, rows in vectors.items())
        + "\n}\n")


if __name__ == "__main__":
    main()
