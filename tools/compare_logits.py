"""Whose logits are nearer to the truth: kiln's or llama.cpp's, for every quantised type, on random models of 15M weights.

    python3 tools/compare_logits.py --llama-bench build/bin/llama-bench [--kiln KILN] [--types q8_0,q4_K] [--dir DIR] [--json F]

    file --gguf.dequantize--> weights --NumPy, f64--> logits            the truth: what the file's weights stand for, exactly
         `--kiln run --dump-logits-------------------> logits           512 tokens a step, 8 a step, 1 a step
         `--llama_peer logits | steps----------------> logits           all in one decode, one decode per token

The error is the root mean square of the difference over that of the truth about its mean, over all positions and all
ids. Both programs quantise activations, so both have one; kiln's may not be the larger: its largest over the three ways of
stepping is compared with llama.cpp's largest of two. The cache of keys and values is f32 on both sides. Ends with 1 when kiln is
further away for some type than --slack allows.

Needs NumPy and gguf from PyPI (reading and dequantising only), and a build tree of llama.cpp (bench/compare-llamacpp --help).
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "bench")
sys.path.insert(0, BENCH)
from peer import build_peer  # noqa: E402

TYPES = ["q8_0", "q4_0", "q4_K", "q5_K", "q6_K", "bf16", "f16", "f32"]
TEXT = "Anna (9) said: 'the boat is old, but 3 of us fit!' Max ran home; no wind came."


class Reference:
    """A Llama in f64: weights as the file's codes mean them, no step rounded to less."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.w = {t.name: gguf.dequantize(t.data, t.tensor_type).astype(np.float64).reshape(t.shape[::-1]) for t in reader.tensors}
        self.field = {k.removeprefix("llama."): v.contents() for k, v in reader.fields.items() if k.startswith("llama.")}

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.field["attention.layer_norm_rms_epsilon"]) * self.w[name]

    def rotate(self, x):
        """x [tokens, heads, dim]: pairs (2i, 2i + 1) by position / base^(2i / dim)"""
        n, _, dim = x.shape
        angle = np.arange(n)[:, None] * self.field["rope.freq_base"] ** (-np.arange(0, dim, 2) / dim)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        a, b = x[..., 0::2], x[..., 1::2]
        return np.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape)

    def attend(self, x, layer):
        n, dim, f = len(x), self.field["attention.key_length"], self.field
        q, k, v = ((x @ self.w[f"blk.{layer}.attn_{which}.weight"].T).reshape(n, -1, dim) for which in "qkv")
        q, k = self.rotate(q), self.rotate(k)
        group = f["attention.head_count"] // f["attention.head_count_kv"]
        k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
        score = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(dim)
        score[:, np.triu(np.ones((n, n), bool), 1)] = -np.inf
        p = np.exp(score - score.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return np.einsum("hqk,khd->qhd", p, v).reshape(n, -1) @ self.w[f"blk.{layer}.attn_output.weight"].T

    def logits(self, ids):
        x = self.w["token_embd.weight"][ids]
        for i in range(self.field["block_count"]):
            x = x + self.attend(self.norm(x, f"blk.{i}.attn_norm.weight"), i)
            y = self.norm(x, f"blk.{i}.ffn_norm.weight")
            gate = y @ self.w[f"blk.{i}.ffn_gate.weight"].T
            up = y @ self.w[f"blk.{i}.ffn_up.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ self.w[f"blk.{i}.ffn_down.weight"].T
        return self.norm(x, "output_norm.weight") @ self.w.get("output.weight", self.w["token_embd.weight"]).T


def kiln_logits(a, path, folder, chunk):
    """@return ids of the prompt, logits [ids, vocabulary]"""
    out = os.path.join(folder, "kiln.npy")
    run = subprocess.run([a.kiln, "run", path, "-p", TEXT, "-n", "1", "-c", "512", "-ub", str(chunk), "--temp", "0", "--ignore-eos", "-ctk", "f32",
                          "--json", "-q", "--dump-logits", out, *a.kiln_args.split()], capture_output=True, text=True)  # fmt: skip
    if run.returncode:
        sys.exit(f"kiln run {path}: {run.stderr.strip()}")
    return json.loads(run.stdout)["prompt_tokens"], np.load(out).astype(np.float64)


def llama_logits(a, path, folder, ids, how):
    out = os.path.join(folder, "llama.f32")
    subprocess.run([a.peer, path, "-t", str(a.threads), "-fa", "1", "-ctk", "f32", how, out, *map(str, ids)], check=True, capture_output=True)
    return np.fromfile(out, "<f4").astype(np.float64).reshape(len(ids), -1)


def error(found, truth):
    return float(np.sqrt(np.mean((found - truth) ** 2)) / truth.std())


def compare(a, kind):
    shape = "15m" if kind not in ("q4_K", "q5_K", "q6_K") else "15m-256"
    path = os.path.join(a.dir, f"{shape}-{kind}.gguf")
    subprocess.run([sys.executable, os.path.join(BENCH, "make-models"), a.dir, f"{shape}-{kind}"], check=True, stdout=subprocess.DEVNULL)
    row = {"type": kind, "file": os.path.basename(path), "kiln": {}, "llama.cpp": {}}
    with tempfile.TemporaryDirectory() as folder:
        for chunk in (512, 8, 1):
            ids, found = kiln_logits(a, path, folder, chunk)
            if chunk == 512:
                truth = Reference(path).logits(ids)
            row["kiln"][f"{chunk} a step"] = error(found, truth)
        for how in ("logits", "steps"):
            row["llama.cpp"][how] = error(llama_logits(a, path, folder, ids, how), truth)
    row["ids"] = len(ids)
    row["ok"] = max(row["kiln"].values()) <= a.slack * max(row["llama.cpp"].values())
    return row


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--llama-bench", required=True)
    p.add_argument("--kiln", default=os.path.join(HERE, "..", "build", "release", "cli", "kiln"))
    p.add_argument("--kiln-args", default="", help="more arguments of kiln run")
    p.add_argument("--types", default=",".join(TYPES))
    p.add_argument("--dir", help="where the models are kept [a temporary folder]")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--slack", type=float, default=1.05, help="kiln's error over llama.cpp's: at most this [1.05]")
    p.add_argument("--json", help="write the errors to this file")
    a = p.parse_args()
    a.peer = build_peer(a.llama_bench)
    with tempfile.TemporaryDirectory() as folder:
        a.dir = a.dir or folder
        print("| type | kiln: 512 a step | 8 | 1 | llama.cpp: one decode | one per token | kiln / llama.cpp | |")
        print("| :--- | ---: | ---: | ---: | ---: | ---: | ---: | :--- |")
        rows = []
        for kind in a.types.split(","):
            r = compare(a, kind)
            rows.append(r)
            errors = " | ".join(f"{e:.3g}" for e in [*r["kiln"].values(), *r["llama.cpp"].values()])
            ratio = max(r["kiln"].values()) / max(r["llama.cpp"].values())
            print(f"| {kind} | {errors} | {ratio:.2f} | {'no further' if r['ok'] else '**further**'} |", flush=True)
    print(f"\nRoot mean square error of logits over the deviation of the logits, {rows[0]['ids']} positions, all ids; truth: f64 on the dequantised weights.")
    if a.json:
        with open(a.json, "w") as f:
            json.dump({"schema": "kiln.logits/1", "rows": rows}, f, indent=1)
    return 0 if all(r["ok"] for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
