"""check_triton.py   run kernels.dsl under real Triton's interpreter against NumPy

Reads the launch cards of every kernel file, expands their alternatives, makes seeded arguments as the C
tests do, runs the kernel with TRITON_INTERPRET=1 on torch CPU tensors, and compares what it wrote with a
reference in f64. Needs triton, torch and numpy; a check for kernel authors, not a part of the build.

    python tools/check_triton.py [--cases N] [--seed S] [--only NAME] [--dir kernels.dsl]

Every kernel runs in f32 and in f16: one whose cards have no f16 activations runs its f32 cards with them too; one whose activations are int8 codes, in those. A
kernel file without a card, or a card without a reference, is an error. Tolerances are those of the C tests
(tests/kernels/agree.c, whose table is read): rounding of the element type, of sums in f32 by their length, and of
the 16-bit type that a kernel rounds to on the way; exp, log and the like are within their 2 ulp there.
Dots of bf16 are left out: Triton's interpreter multiplies the bit patterns of bf16.
"""
import argparse
import importlib.util
import itertools
import math
import os
import pathlib
import re
import sys

os.environ["TRITON_INTERPRET"] = "1"
import numpy as np  # noqa: E402
import torch  # noqa: E402
import triton  # noqa: E402

TORCH = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "i8": torch.int8, "u8": torch.uint8,
         "i32": torch.int32, "i64": torch.int64}


# ---- cards -------------------------------------------------------------------------------------------

def card_texts(path):
    out, cur = [], None
    for line in path.read_text().splitlines():
        if line.startswith("# kiln: "):
            cur = [line[8:]]
            out.append(cur)
        elif line.startswith("# kiln:+ ") and cur is not None:
            cur.append(line[9:])
    return [" ".join(c) for c in out]


def split_top(text, sep):
    parts, depth, cur = [], 0, ""
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if depth == 0 and c == sep:
            parts.append(cur)
            cur = ""
        else:
            cur += c
    return [p.strip() for p in parts + [cur] if p.strip()]


def closing(text, at):
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] in "([{") - (text[i] in ")]}")
        if depth == 0:
            return i
    raise ValueError(text)


def choices(text):
    """The alternatives of `a{x,y}b`, as texts."""
    at = text.find("{")
    if at < 0:
        return [text]
    end = closing(text, at)
    return [text[:at] + alt + rest for alt in split_top(text[at + 1:end], ",") for rest in choices(text[end + 1:])]


def parse_card(text):
    """-> name, [(param, kind, [alternatives])], grid text, [(let, [alternatives])]"""
    at = text.index("(")
    end = closing(text, at)
    params = []
    for p in split_top(text[at + 1:end], ","):
        if ":" in p and ("=" not in p or p.index(":") < p.index("=")):
            name, ty = (s.strip() for s in p.split(":", 1))
            params.append((name, "arg", choices(ty)))
        else:
            name, v = (s.strip() for s in p.split("=", 1))
            params.append((name, "const", choices(v)))
    rest = text[end + 1:].strip()
    if rest.startswith("["):
        rest = rest[closing(rest, 0) + 1:].strip()
    words = dict((w.split("=", 1)[0], w.split("=", 1)[1]) for w in split_top(rest, " "))
    grid = words.pop("grid")
    return text[:at], params, grid, [(k, choices(v)) for k, v in words.items()]


# ---- generators: what stands behind the pointer arguments of a card ----------------------------------

def np_eval(text, env):
    names = dict(env, min=min, max=max, cdiv=lambda a, b: -(-a // b), inf=math.inf, nan=math.nan,
                 next_power_of_2=lambda n: 1 << max(n - 1, 0).bit_length())
    return eval(text, {"__builtins__": {}}, names)


def generators(rng, env):
    def ragged(total, parts):
        cuts = np.sort(rng.integers(0, total + 1, parts - 1)) if parts > 1 else []
        return np.array([0, *cuts, total])

    def segments(starts, n):
        out = np.zeros(n, np.int64)
        for s in range(len(starts) - 1):
            out[starts[s]:starts[s + 1]] = s
        return out

    def kv_list_of(slots, per):
        out = np.arange(slots * per)
        for s in range(slots):
            if rng.random() < 0.5:
                out[s * per:(s + 1) * per] = s * per
        return out

    def kv_spread(list_of, per):
        out = np.zeros(len(list_of), np.int64)
        for s in range(len(list_of) // per):
            if per > 1 and list_of[s * per + 1] == list_of[s * per]:
                out[s * per] = 1
        return out

    def kv_len(list_of, slot_of, q_start, per, most):
        out = rng.integers(0, most + 1, len(list_of))
        for i, slot in enumerate(slot_of):
            n = q_start[i + 1] - q_start[i]
            for j in range(slot * per, (slot + 1) * per):
                out[j] = rng.integers(n, most + 1)
        return out

    def kv_pages(list_of, spread, per, max_pages):
        out = np.zeros((len(list_of), max_pages), np.int64)
        groups = rng.permutation(len(list_of) // per * max_pages)
        for s in range(len(list_of) // per):
            for i in range(max_pages):
                base = groups[s * max_pages + i] * per
                for j in range(per):
                    out[s * per + j, i] = base if spread[s * per] else base + j
        return out.ravel()

    def visit_counts(rows, most):
        return rng.integers(0, most + 1, rows)

    def visit_lists(counts, most):
        out = np.zeros((len(counts), most), np.int64)
        for r, n in enumerate(counts):
            out[r, :n] = np.sort(rng.permutation(most)[:n])
        return out.ravel()

    def sometimes(value, share, x):
        return np.where(rng.random(len(x)) < share, float(value), np.asarray(x, np.float64))

    return dict(randn=lambda n: rng.standard_normal(n), uniform=lambda a, b, n: rng.uniform(a, b, n),
                zeros=lambda n: np.zeros(n), full=lambda v, n: np.full(n, v), ints=lambda lo, hi, n: rng.integers(lo, hi, n),
                perm=lambda n, k: rng.permutation(n)[:k], picks=lambda n, k: rng.permutation(n)[:k] + 1,
                ragged=ragged, segments=segments, kv_list_of=kv_list_of, kv_spread=kv_spread, kv_len=kv_len,
                kv_pages=kv_pages, visit_counts=visit_counts, visit_lists=visit_lists, sometimes=sometimes)


# ---- references, in f64 ------------------------------------------------------------------------------

def rows_of(flat, stride, row, n):
    return flat[row * stride:row * stride + n]


def ref_rmsnorm(a, grid):
    for i in range(min(grid[0], a.rows[0])):
        s = a.ends[i] - 1 if a.ends is not None else i
        v = rows_of(a.x, a.sx, s, a.n).copy()
        if a.r is not None:
            v += rows_of(a.r, a.sr, s, a.n)
            a.x[s * a.sx:s * a.sx + a.n] = v
        a.y[i * a.sy:i * a.sy + a.n] = v / np.sqrt(np.mean(v * v) + a.eps) * a.g[:a.n]


def ref_quantize(a, grid):
    for i in range(min(grid[0], a.rows[0])):
        v = rows_of(a.x, a.sx, i, a.n).astype(np.float32).reshape(-1, 32)
        amax = np.abs(v).max(1)
        codes = np.floor(v * (np.float32(127) / np.where(amax > 0, amax, np.float32(1)))[:, None] + np.float32(0.5))
        a.q[i * a.sq:i * a.sq + a.n] = codes.reshape(-1)
        a.s[i * (a.n // 32):(i + 1) * (a.n // 32)] = amax / np.float32(127)
        a.c[i * (a.n // 32):(i + 1) * (a.n // 32)] = codes.sum(1)


def ref_silu_mul(a, grid):
    for i in range(min(grid[0], a.rows[0])):
        z, u = rows_of(a.gate, a.sg, i, a.n), rows_of(a.up, a.su, i, a.n)
        a.y[i * a.sy:i * a.sy + a.n] = z / (1 + np.exp(-z)) * u


def ref_softmax(a, grid):
    for i in range(min(grid[0], a.rows[0])):
        n = a.cols[i]
        if n:
            e = np.exp(rows_of(a.x, a.sx, i, n) - rows_of(a.x, a.sx, i, n).max())
            a.y[i * a.sy:i * a.sy + n] = e / e.sum()


def is_packed(flat, a):
    return a.dtypes[flat] == "u8"


def unpacked(codes):
    """Q4_0: block b of a row is 16 bytes, weight i in the low nibble of byte i % 16, or in the high."""
    b = codes.reshape(-1, 16).astype(np.int64)
    return (np.concatenate([b & 15, b >> 4], axis=1) - 8).astype(np.float64).ravel()


def ref_embed(a, grid):
    table = unpacked(a.table) if is_packed("table", a) else a.table
    for i in range(min(grid[0], a.rows[0])):
        v = np.zeros(a.n)
        if 0 <= a.token[i] < a.vocab:
            v = rows_of(table, a.n, a.token[i], a.n).copy()
            if a.scale is not None:
                v *= np.repeat(rows_of(a.scale, a.n // 32, a.token[i], a.n // 32), 32)
        a.y[i * a.sy:i * a.sy + a.n] = v


def ref_linear(a, grid):
    w = (unpacked(a.w) if is_packed("w", a) else a.w).reshape(a.N, a.K).copy()
    if a.scale is not None:
        w *= np.repeat(a.scale.reshape(a.N, a.K // 32), 32, axis=1)
    for i in range(a.rows[0]):
        out = w @ rows_of(a.x, a.sx, i, a.K)
        a.y[i * a.sy:i * a.sy + a.N] = out + (a.bias if a.bias is not None else 0)


def ref_panel(a, grid):
    """Panels of 16 rows: [P, K / g, 16, g] with g weights of a row side by side; of Q4_0 the two halves of a block's nibbles."""
    P, K, blocks = -(-a.N // 16), a.K, a.K // 32

    def rows(codes, g, n):  # of n elements; what is behind the last panel belongs to none
        return codes[:P * 16 * n].reshape(P, -1, 16, g).transpose(0, 2, 1, 3).reshape(P * 16, -1)[:a.N]

    if a.ws is None:
        g = 2 if a.dtypes["w"] == "bf16" else 1
        w = rows(a.w, g, -(-K // g) * g)[:, :K]
    elif is_packed("w", a):
        byte = rows(a.w.astype(np.int64), 4, K // 2).reshape(a.N, blocks, 16)
        w = np.concatenate([byte & 15, byte >> 4], axis=2)
    else:
        w = rows(a.w, 4, K).reshape(a.N, blocks, 32)
    for i in range(a.rows[0]):
        x = rows_of(a.x, a.sx, i, K)
        if a.ws is None:
            out = w @ x
        else:
            sums = np.einsum("nbk,bk->nb", w, x.reshape(blocks, 32))
            if is_packed("w", a):
                sums = sums - 8 * a.xc[i * blocks:(i + 1) * blocks][None, :]
            out = (sums * a.xs[i * blocks:(i + 1) * blocks][None, :] * rows(a.ws, 1, blocks)).sum(axis=1)
        a.y[i * a.sy:i * a.sy + a.N] = out + (a.bias if a.bias is not None else 0)


def panel_rows(codes, N, g):
    """Panels of 16 rows, [P, K / g, 16, g], as N rows of K."""
    return codes.reshape(-(-N // 16), -1, 16, g).transpose(0, 2, 1, 3).reshape(-(-N // 16) * 16, -1)[:N]


def k_weights(a, N, K):
    """Q4_K, Q5_K, Q6_K in panels, as panel_k.py describes them: weights [N, K / 32, 32] without minima, minima [N, K / 32]."""
    blocks = K // 32
    byte = panel_rows(a.w.astype(np.int64), N, 4).reshape(N, blocks, 16)
    code = np.concatenate([byte & 15, byte >> 4], axis=2)
    if a.mn is None:
        bits = panel_rows(a.wh.astype(np.int64), N, 4).reshape(N, blocks, 2, 4)
        code += np.stack([bits >> 2 * f & 3 for f in range(4)], axis=3).reshape(N, blocks, 32) * 16 - 32
        scale = np.repeat(panel_rows(a.sc, N, 1).reshape(N, blocks, 2), 16, axis=2)
        return code * scale * np.repeat(panel_rows(a.sd, N, 1), 8, axis=1)[:, :, None], np.zeros((N, blocks))
    if a.wh is not None:
        bits = panel_rows(a.wh.astype(np.int64), N, 4).reshape(N, blocks, 4)
        code += np.stack([bits >> s & 1 for s in range(8)], axis=2).reshape(N, blocks, 32) * 16
    d, least = np.repeat(panel_rows(a.sd, N, 1).reshape(N, K // 256, 2), 8, axis=1).transpose(2, 0, 1)
    return code * (panel_rows(a.sc, N, 1) * d)[:, :, None], least * panel_rows(a.mn, N, 1)


def ref_panel_k(a, grid):
    K, blocks = a.K, a.K // 32
    w, least = k_weights(a, a.N, K)
    for i in range(a.rows[0]):
        x = rows_of(a.x, a.sx, i, K).reshape(blocks, 32)
        s, c = a.xs[i * blocks:(i + 1) * blocks], a.xc[i * blocks:(i + 1) * blocks]
        out = np.einsum("nbk,bk,b->n", w, x, s) - least @ (s * c)
        a.y[i * a.sy:i * a.sy + a.N] = out + (a.bias if a.bias is not None else 0)


def ref_embed_panel(a, grid):
    if a.sd is not None:
        w, least = k_weights(a, a.vocab, a.n)
        w = (w - least[:, :, None]).reshape(a.vocab, a.n)
    elif is_packed("w", a):
        byte = panel_rows(a.w[:-(-a.vocab // 16) * 8 * a.n].astype(np.int64), a.vocab, 4).reshape(a.vocab, -1, 16)
        w = np.concatenate([byte & 15, byte >> 4], axis=2).reshape(a.vocab, a.n) - 8
    else:
        g = {"i8": 4, "bf16": 2}.get(a.dtypes["w"], 1)
        w = panel_rows(a.w[:-(-a.vocab // 16) * 16 * -(-a.n // g) * g], a.vocab, g)[:, :a.n]
    if a.sd is None and a.sc is not None:
        w = w * np.repeat(panel_rows(a.sc, a.vocab, 1), 32, axis=1)
    for i in range(min(grid[0], a.rows[0])):
        a.y[i * a.sy:i * a.sy + a.n] = w[a.token[i]] if 0 <= a.token[i] < a.vocab else 0


def pages_of(a, seq, head):
    lst = a.list_of[a.slot_of[seq] * a.per + a.layer0 + head]
    n = a.list_len[lst]
    pages = a.list_pages[lst * a.max_pages:(lst + 1) * a.max_pages] + a.list_spread[lst] * (a.layer0 + head)
    return n, pages


def key_at(a, o):
    return o + np.arange(a.HEAD_DIM) * a.PAGE if a.DIM_MAJOR else o * a.HEAD_DIM + np.arange(a.HEAD_DIM)


def ref_rope_append(a, grid):
    D, R, G, heads = a.HEAD_DIM, a.ROPE_DIM, a.G, grid[1] * a.HEADS
    i = np.arange(R // 2)
    at_a, at_b = (2 * i, 2 * i + 1) if a.INTERLEAVED else (i, i + R // 2)

    def turn(x, t):
        angle = (np.float32(a.pos[t]) * a.steps.astype(np.float32)).astype(np.float64)
        y = x.copy()
        y[at_a] = x[at_a] * np.cos(angle) - x[at_b] * np.sin(angle)
        y[at_b] = x[at_a] * np.sin(angle) + x[at_b] * np.cos(angle)
        return y

    def quantised(x):
        s = np.abs(x).max() / 127
        return np.floor(x / (s if s else 1) + 0.5), s

    for t in range(min(grid[0], a.tokens[0])):
        seq = a.seq_of[t]
        for h in range(heads):
            for g in range(G):
                at = t * a.sq + (h * G + g) * D
                a.q[at:at + D] = turn(a.q[at:at + D], t)
            k = turn(rows_of(a.k, a.sk, t, heads * D)[h * D:(h + 1) * D], t)
            v = rows_of(a.v, a.sv, t, heads * D)[h * D:(h + 1) * D]
            n, pages = pages_of(a, seq, h)
            place = n - (a.q_start[seq + 1] - t)
            page, o = pages[place // a.PAGE], place % a.PAGE
            if a.k_scale is not None:
                k, ks = quantised(k)
                v, vs = quantised(v)
                a.k_scale[page * a.page_s + o] = ks
                a.v_scale[page * a.page_s + o] = vs
            a.k_page[page * a.page_k + key_at(a, o)] = k
            a.v_page[page * a.page_v + o * D + np.arange(D)] = v


def ref_attend(a, grid):
    D, G, heads, P = a.HEAD_DIM, a.G, grid[1], a.PAGE
    for s in range(min(grid[2], a.seqs[0])):
        q0, q1 = a.q_start[s], a.q_start[s + 1]
        for h in range(heads):
            n, pages = pages_of(a, s, h)
            keys, vals = np.zeros((n, D)), np.zeros((n, D))
            for j in range(n):
                page, o = pages[j // P], j % P
                keys[j] = a.k_page[page * a.page_k + key_at(a, o)]
                vals[j] = a.v_page[page * a.page_v + o * D + np.arange(D)]
                if a.k_scale is not None:
                    keys[j] *= a.k_scale[page * a.page_s + o]
                    vals[j] *= a.v_scale[page * a.page_s + o]
            for r in range((q1 - q0) * G):
                t, head = q0 + r // G, h * G + r % G
                sees = n - (q1 - q0) + r // G + 1
                block = r // a.BLOCK_M
                if a.visit is not None:
                    row = (s * heads + h) * a.n_blocks + block
                    visits = list(a.visit[row * a.max_visit:row * a.max_visit + a.visit_n[row]])
                else:
                    last = min(block * a.BLOCK_M + a.BLOCK_M - 1, (q1 - q0) * G - 1) // G
                    visits = list(range(-(-(n - (q1 - q0) + last + 1) // P)))
                share = -(-len(visits) // a.SPLITS)
                for split in range(a.SPLITS):
                    j = [k for p in visits[split * share:(split + 1) * share] for k in range(p * P, p * P + P) if k < sees]
                    at = ((t * heads * G + head) * a.SPLITS + split)
                    out, lse = np.zeros(D), -np.inf
                    if j:
                        score = keys[j] @ a.q[t * a.sq + head * D:t * a.sq + head * D + D] * a.scale
                        e = np.exp(score - score.max())
                        out, lse = e @ vals[j] / e.sum(), score.max() + np.log(e.sum())
                    a.o[at * D:at * D + D] = out
                    if a.lse is not None:
                        a.lse[at] = lse


def ref_attend_merge(a, grid):
    D, S = a.HEAD_DIM, a.SPLITS
    for t in range(min(grid[0], a.tokens[0])):
        for h in range(a.heads):
            row = t * a.heads + h
            logs = a.part_lse[row * S:row * S + S]
            out, lse = np.zeros(D), -np.inf
            if logs.max() > -np.inf:
                w = np.exp(logs - logs.max())
                out = w @ a.part[row * S * D:(row + 1) * S * D].reshape(S, D) / w.sum()
                lse = logs.max() + np.log(w.sum())
            a.o[row * D:row * D + D] = out
            if a.lse is not None:
                a.lse[row] = lse


def ref_argmax(a, grid):
    for i in range(min(grid[0], a.rows[0])):
        s = a.ends[i] - 1 if a.ends is not None else i
        x = np.nan_to_num(rows_of(a.logits, a.sx, s, a.vocab), nan=-np.inf, neginf=-np.inf)
        a.token[i] = x.argmax() if x.max() > -np.inf else -1


def philox_uniform(seed, step):
    m = 0xFFFFFFFF
    c, k = [step & m, 0, 0, 0], [seed & m, seed >> 32 & m]
    for _ in range(10):
        x, y = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [y >> 32 ^ c[1] ^ k[0], y & m, x >> 32 ^ c[3] ^ k[1], x & m]
        k = [k[0] + 0x9E3779B9 & m, k[1] + 0xBB67AE85 & m]
    return (c[0] >> 8) * 2.0 ** -24


def ref_sample(a, grid):
    for i in range(min(grid[0], a.rows[0])):
        s = a.ends[i] - 1 if a.ends is not None else i
        x = np.nan_to_num(rows_of(a.logits, a.sx, s, a.vocab), nan=-np.inf, neginf=-np.inf)
        order = sorted((j for j in range(a.vocab) if x[j] > -np.inf), key=lambda j: (-x[j], j))
        t = a.temperature[i]
        if not order or t <= 0:
            a.token[i] = order[0] if order else -1
            continue
        scale = 1.0 if a.TEMPERATURE_LAST else 1 / t
        if 0 < a.top_k[i] < a.vocab:
            order = order[:a.top_k[i]]
        p = np.exp((x[order] - x[order[0]]) * scale)
        if a.top_p[i] < 1:
            order = order[:int((np.cumsum(p) < a.top_p[i] * p.sum()).sum()) + 1]
        if a.min_p[i] > 0:
            least = x[order[0]] + math.log(a.min_p[i]) / scale
            order = [j for j in order if x[j] >= least]
        ids = sorted(order)
        w = np.cumsum(np.exp((x[ids] - x[order[0]]) / t))
        u = philox_uniform(int(a.seed[i]), int(a.step[i]) if a.step is not None else 0)
        a.token[i] = ids[min(int((w <= u * w[-1]).sum()), len(ids) - 1)]


REFERENCE = dict(rmsnorm=ref_rmsnorm, quantize=ref_quantize, silu_mul=ref_silu_mul, softmax=ref_softmax, embed=ref_embed, gemv=ref_linear,
                 gemv_dot=ref_linear, gemm=ref_linear, panel=ref_panel, panel_k=ref_panel_k, embed_panel=ref_embed_panel, rope_append=ref_rope_append, attend=ref_attend,
                 attend_merge=ref_attend_merge, argmax=ref_argmax, sample=ref_sample)


# ---- tolerances ----------------------------------------------------------------------------------------

ULP = {"f32": 2.0 ** -23, "f16": 2.0 ** -10, "bf16": 2.0 ** -7, "f64": 2.0 ** -52}


def read_bounds():
    """{"gemv", "K", true, NULL} of agree.c: kernel, word that is the length of its sums, product, inner argument."""
    text = (pathlib.Path(__file__).resolve().parent.parent / "tests/kernels/agree.c").read_text()
    table = text[text.index("bounds[] = {"):]
    rows = re.findall(r'\{"(\w+)", ("\w+"|NULL), (true|false), ("\w+"|NULL)\}', table[:table.index("};")])
    word = lambda w: None if w == "NULL" else w.strip('"')
    return {name: (word(terms), product == "true", word(inner)) for name, terms, product, inner in rows}


BOUNDS = read_bounds()


def tolerance(name, env, dtypes, dtype, want):
    """Absolute, for a buffer of `dtype`: a share of the largest magnitude, or of the unit of its products."""
    word, is_product, inner = BOUNDS[name]
    terms = max(float(env.get(word) or 1), 1.0) if word else 1.0
    share = ULP[dtype] + ULP["f32"] * (8 + 2 * math.sqrt(terms))
    if inner and ULP.get(dtypes.get(inner), 0) > ULP["f32"]:
        share += ULP[dtypes[inner]]
    finite = np.abs(want[np.isfinite(want)])
    return share * max(2 * math.sqrt(terms) if is_product else 1, finite.max() if len(finite) else 0)


class Bag:
    def __init__(self, d):
        self.__dict__.update(d)


# What stands for activations: the arrays that a card in f32 has in f16 as well.
ACTIVATIONS = {"x", "y", "r", "g", "gate", "up", "q", "k", "v", "o", "k_page", "v_page", "table", "logits", "w"}


def in_half(params, combo):
    """The same specialisation with f16 activations, or None when it has none in f32."""
    out = tuple(text.replace("*f32", "*f16") if p[0] in ACTIVATIONS else text for p, text in zip(params, combo))
    return out if out != combo else None


def run_case(fn, name, params, grid, lets, combo, rng):
    """-> None or what differs; the largest error as a share of its tolerance"""
    env, dtypes, worst = {}, {}, 0.0
    for (pname, kind, _), text in zip(params, combo):
        if kind == "const":
            env[pname] = None if text == "None" else np_eval(text, env)
    gens = generators(rng, env)
    for lname, alts in lets:
        env[lname] = np_eval(alts[rng.integers(len(alts))], dict(gens, **env))
    args, ref = {}, {}
    for (pname, kind, _), text in zip(params, combo):
        if kind == "const" or text == "None":
            args[pname] = ref[pname] = env.get(pname) if kind == "const" else None
        elif text.startswith("*"):
            dtype = text[1:].split(":")[0]
            t = torch.from_numpy(np.ascontiguousarray(env[pname])).to(TORCH[dtype])
            args[pname], dtypes[pname] = t, dtype
            wide = t.to(torch.float64) if t.dtype.is_floating_point else t.to(torch.int64)
            if dtype == "i8":
                wide = wide.to(torch.float64)
            ref[pname] = wide.numpy().copy()
        else:
            args[pname] = ref[pname] = env[pname]
    dims = np_eval(grid, dict(gens, **env))
    dims = tuple(int(g) for g in dims) + (1,) * (3 - len(dims))
    if min(dims) > 0:
        fn[dims](**args)
    REFERENCE[name](Bag(dict(ref, dtypes=dtypes)), dims)
    for pname, dtype in dtypes.items():
        got, want = args[pname].to(torch.float64).numpy(), np.asarray(ref[pname], np.float64)
        tol = tolerance(name, env, dtypes, dtype, want) if dtype in ULP else 0
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        with np.errstate(invalid="ignore"):
            error = np.where(same, 0, np.abs(got - want))
        if dtype == "i8":  # codes on the edge between two
            bad = (error > 1) | ((error > 0) & (np.count_nonzero(error) > 1 + len(got) // 50))
        else:
            bad = ~(error <= tol)
            worst = max(worst, error.max() / tol if tol and len(error) and not bad.any() else 0)
        if bad.any():
            j = int(np.argmax(bad))
            return f"{pname}[{j}] of {len(got)}: {got[j]!r}, expected {want[j]!r} ({bad.sum()} differ, {env_text(env)})", worst
    return None, worst


def env_text(env):
    return " ".join(f"{k}={v}" for k, v in env.items() if isinstance(v, (int, float, bool)))


def has_bf16_dot(name, types):
    return name in ("attend", "gemm", "gemv_dot", "panel") and types.get("q", types.get("x", "")).startswith("*bf16")


def activation_of(types):
    """The type that a specialisation counts as: of its activations, else of what it reads."""
    for pname in ("x", "q", "gate", "logits", "o", "y"):
        if types.get(pname, "").startswith("*"):
            return types[pname][1:].split(":")[0]
    return "other"


class Tally:
    def __init__(self):
        self.cases = self.wrong = 0
        self.worst = 0.0


def run_card(module, text, opt, tallies, serial):
    name, params, grid, lets = parse_card(text)
    if opt.only and opt.only != name:
        return 0
    if name not in REFERENCE or name not in BOUNDS:
        raise SystemExit(f"{name} has no reference here, or no row in tests/kernels/agree.c")
    skipped, seen = 0, set()
    combos = [c for c in itertools.product(*(alts for _, _, alts in params))]
    halves = [h for h in (in_half(params, c) for c in combos) if h]
    if not opt.wide:
        halves = halves[:max(1, len(halves) // 4)]
    for combo in combos + halves:
        types = dict(zip((p[0] for p in params), combo))
        if combo in seen:
            continue
        seen.add(combo)
        if has_bf16_dot(name, types):
            skipped += 1
            continue
        t = tallies.setdefault((name, activation_of(types)), Tally())
        for case in range(opt.cases):
            rng = np.random.default_rng([opt.seed, case, serial + len(seen)])
            message, worst = run_case(getattr(module, name), name, params, grid, lets, combo, rng)
            t.cases += 1
            t.worst = max(t.worst, worst)
            if message:
                t.wrong += 1
                kinds = ", ".join(f"{p[0]}={c}" for p, c in zip(params, combo) if len(p[2]) > 1 or "*" in c)
                print(f"  {name}({kinds}): {message}")
    return skipped


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--cases", type=int, default=2)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--only", default="")
    ap.add_argument("--wide", action="store_true", help="every f32 card in f16 too, not a quarter of them")
    ap.add_argument("--dir", default=str(pathlib.Path(__file__).resolve().parent.parent / "kernels.dsl"))
    opt = ap.parse_args()
    print(f"triton {triton.__version__}, torch {torch.__version__}, numpy {np.__version__}", flush=True)
    tallies, skipped, serial = {}, 0, 0
    for path in sorted(pathlib.Path(opt.dir).glob("*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        cards = card_texts(path)
        if not cards:
            raise SystemExit(f"{path} has no launch card")
        before = {k: v.cases for k, v in tallies.items()}
        for text in cards:
            skipped += run_card(module, text, opt, tallies, serial)
            serial += 1000
        for (name, dtype), t in sorted(tallies.items()):
            if t.cases != before.get((name, dtype), 0):
                print(f"{name:14} {dtype:5} {t.cases:5} cases, {t.wrong} wrong, worst {t.worst:.2f} of the tolerance", flush=True)
    kernels = {name for name, _ in tallies}
    for name in kernels:
        for dtype in ("f32", "f16"):
            if (name, dtype) not in tallies and (name, "i8") not in tallies:
                raise SystemExit(f"{name} did not run in {dtype}")
    n, bad = sum(t.cases for t in tallies.values()), sum(t.wrong for t in tallies.values())
    print(f"{len(kernels)} kernels, {n} cases, {bad} wrong under Triton {triton.__version__}; "
          f"{skipped} specialisations left out: its interpreter has no dot of bf16")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
