"""Loops for the pipeliner: each is run with several numbers of stages, warps and iterations. No kernel here is of use
to anybody else."""
import triton
import triton.language as tl


@triton.jit
def gemm(y, x, w, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """Pointers are carried, masks cut K at any multiple of 8."""
    m = tl.arange(0, BM)
    n = tl.arange(0, BN)
    k = tl.arange(0, BK)
    xp = x + m[:, None] * K + k[None, :]
    wp = w + k[:, None] * BN + n[None, :]
    acc = tl.zeros((BM, BN), tl.float32)
    for k0 in range(0, K, BK):
        a = tl.load(xp, mask=(k0 + k < K)[None, :], other=0.0)
        b = tl.load(wp, mask=(k0 + k < K)[:, None], other=0.0)
        acc = tl.dot(a, b, acc, input_precision="ieee")
        xp += BK
        wp += BK * BN
    tl.store(y + m[:, None] * BN + n[None, :], acc)


@triton.jit
def downward(y, x, w, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """From the end, the weights transposed and widened on the way; K in multiples of BK."""
    m = tl.arange(0, BM)
    n = tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for k0 in range(K - BK, -1, -BK):
        a = tl.load(x + m[:, None] * K + (k0 + k)[None, :])
        b = tl.load(w + n[:, None] * K + (k0 + k)[None, :])
        acc = tl.dot(a, tl.trans(b.to(tl.float16) * 0.5), acc)
    tl.store(y + m[:, None] * BN + n[None, :], acc)


@triton.jit
def attention(y, q, kp, vp, bias, table, n, BM: tl.constexpr, D: tl.constexpr, P: tl.constexpr):
    """Pages through a table: what an address needs is itself loaded, and wanted in the body too."""
    m = tl.arange(0, BM)
    d = tl.arange(0, D)
    t = tl.arange(0, P)
    qv = tl.load(q + m[:, None] * D + d[None, :])
    acc = tl.zeros((BM, D), tl.float32)
    top = tl.full((BM,), -1e30, tl.float32)
    total = tl.zeros((BM,), tl.float32)
    for i in range(0, n):
        page = tl.load(table + i).to(tl.int64)
        k = tl.load(kp + page * (P * D) + d[:, None] + t[None, :] * D)
        v = tl.load(vp + page * (P * D) + t[:, None] * D + d[None, :])
        s = tl.dot(qv, k) + tl.load(bias + page * P + t)[None, :] - (page % 2).to(tl.float32)
        higher = tl.maximum(top, tl.max(s, axis=1))
        p = tl.exp2(s - higher[:, None])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(p, axis=1)
        acc = tl.dot(p.to(qv.dtype), v, acc * shrink[:, None])
        top = higher
    tl.store(y + m[:, None] * D + d[None, :], acc / tl.where(total > 0.0, total, 1.0)[:, None])


@triton.jit
def batched(y, q, kp, table, n, S: tl.constexpr, D: tl.constexpr, P: tl.constexpr):
    """S pages at a time: their places are a tile, looked up under a mask, and each is one dot of a batch."""
    s = tl.arange(0, S)
    d = tl.arange(0, D)
    t = tl.arange(0, P)
    m = tl.arange(0, 16)
    qt = tl.broadcast_to(tl.load(q + m[None, :] * D + d[:, None])[None, :, :], (S, D, 16))
    acc = tl.zeros((S, P, 16), tl.float32)
    for i in range(0, n, S):
        at = i + s
        page = tl.load(table + at, mask=at < n, other=0)
        k = tl.load(kp + (page * (P * D))[:, None, None] + t[None, :, None] * D + d[None, None, :],
                    mask=(at < n)[:, None, None], other=0)
        acc = tl.dot(k, qt, acc)
    tl.store(y + s[:, None, None] * (P * 16) + t[None, :, None] * 16 + m[None, None, :], acc)


@triton.jit
def gemv(y, x, w, K, ROWS: tl.constexpr, BK: tl.constexpr):
    """No dot: rows stream through threads that keep what they copied. Elements behind K read as 1."""
    n = tl.arange(0, ROWS)
    k = tl.arange(0, BK)
    acc = tl.zeros((ROWS, BK), tl.float32)
    for k0 in range(0, K, BK):
        a = tl.load(w + n[:, None] * K + (k0 + k)[None, :], mask=(k0 + k < K)[None, :], other=1.0)
        b = tl.load(x + k0 + k, mask=k0 + k < K, other=1.0)
        acc += a.to(tl.float32) * b.to(tl.float32)[None, :]
    tl.store(y + n, tl.sum(acc, axis=1))


@triton.jit
def stream(y, w, K, ROWS: tl.constexpr, BK: tl.constexpr):
    """Every thread sums what it copies itself."""
    n = tl.arange(0, ROWS)
    k = tl.arange(0, BK)
    acc = tl.zeros((ROWS, BK), tl.float32)
    for k0 in range(0, K, BK):
        acc += tl.load(w + n[:, None] * K + (k0 + k)[None, :])
    tl.store(y + n[:, None] * BK + k[None, :], acc)


@triton.jit
def asked(y, x, n, step, BLOCK: tl.constexpr, STAGES: tl.constexpr):
    """The loop says its stages, its step is not known; a narrow load is left alone."""
    at = tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), tl.float32)
    for i in tl.range(0, n, step, num_stages=STAGES):
        acc = acc * 0.5 + tl.load(x + i * BLOCK + at)
    tl.store(y + at, acc)


@triton.jit
def nested(y, x, w, rows, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """A pipelined loop inside another: its buffers are filled afresh in every round."""
    m = tl.arange(0, BM)
    n = tl.arange(0, BN)
    k = tl.arange(0, BK)
    for r in range(0, rows):
        acc = tl.zeros((BM, BN), tl.float32)
        for k0 in range(0, K, BK):
            a = tl.load(x + (r * BM + m)[:, None] * K + (k0 + k)[None, :])
            b = tl.load(w + (k0 + k)[:, None] * BN + n[None, :])
            acc = tl.dot(a, b, acc)
        tl.store(y + (r * BM + m)[:, None] * BN + n[None, :], acc)


@triton.jit
def twice(y, x, w, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """Two loops, the second behind the first."""
    m = tl.arange(0, BM)
    n = tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for k0 in range(0, K, BK):
        a = tl.load(x + m[:, None] * K + (k0 + k)[None, :])
        b = tl.load(w + (k0 + k)[:, None] * BN + n[None, :])
        acc = tl.dot(a, b, acc)
    for k0 in range(0, K, BK):
        a = tl.load(w + m[:, None] * K + (k0 + k)[None, :])
        b = tl.load(x + (k0 + k)[:, None] * BN + n[None, :])
        acc = tl.dot(a, b, acc)
    tl.store(y + m[:, None] * BN + n[None, :], acc)


@triton.jit
def shifted(y, x, n, BLOCK: tl.constexpr):
    """Arguments may be the same tensor: each round may read what the one before wrote."""
    at = tl.arange(0, BLOCK)
    for i in range(0, n):
        tl.store(y + i * BLOCK + at, tl.load(x + i * BLOCK + at) + 1.0)


@triton.jit
def in_place(y, x, n, BLOCK: tl.constexpr, STAGES: tl.constexpr):
    """Each round reads what the one before wrote: nothing may run ahead."""
    at = tl.arange(0, BLOCK)
    for i in tl.range(0, n, num_stages=STAGES):
        v = tl.load(y + i * BLOCK + at)
        u = tl.load(x + i * BLOCK + at)
        tl.store(y + (i + 1) * BLOCK + at, v + u)
