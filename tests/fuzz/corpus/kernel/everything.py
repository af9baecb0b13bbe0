"""doc"""
import triton
import triton.language as tl
from triton.language.extra import libdevice
import math

N = tl.constexpr(4)
PLAIN = 8
LOG = math.log2(math.e)


@triton.jit
def add(a, b):
    return a + b


@triton.jit
def pick(x, flag: tl.constexpr, y=2.0):
    """docstring"""
    if flag:
        return x * y
    else:
        return x


@triton.jit
def early(x, n):
    if n > 3:
        return x + 1.0
    if n > 2:
        x = x * 2.0
        return x
    return x - 1.0


@triton.jit
def nested(x, n):
    if n > 0:
        if n > 5:
            return x
        x = x + 1.0
    x = x * 3.0
    return x


@triton.jit
def online(m, s, m2, s2):
    mm = tl.maximum(m, m2)
    return mm, s * tl.exp(m - mm) + s2 * tl.exp(m2 - mm)


# kiln: k(p: *f32:16, q: *kbf16, n: i32:16, stride: 1, m: None, eps: fp32, BLOCK={16,32})[num_warps={2,4}] grid=(n, cdiv(n,BLOCK)) target=cpu
@triton.jit
def k(p, q, n, stride, m, eps, BLOCK: tl.constexpr, FLAG: tl.constexpr = True):
    pid = tl.program_id(axis=0)
    o = pid * BLOCK + tl.arange(0, BLOCK)
    mask = o < n
    x = tl.load(q + o * stride, mask=mask).to(tl.float32)
    i = 0
    acc = tl.zeros([BLOCK], dtype=tl.float32)
    for j in range(0, n, 4):
        acc += x * j
        if j > 7:
            acc = acc * 2.0
            i += 1
    for j in range(n, 0, -2):
        acc -= 1.0
    while i < 10:
        i = i + 3
        acc = acc + i
    for c in tl.static_range(N):
        acc = acc + c * PLAIN
        if c == 2:
            break
    if m is not None:
        acc = acc + tl.load(m)
    acc = pick(acc, FLAG)
    acc = early(acc, n)
    acc = nested(acc, n)
    s = tl.reduce(acc, 0, add)
    cs = tl.associative_scan(acc, 0, add, reverse=True)
    mm, ss = tl.reduce((acc, tl.full([BLOCK], 1.0, tl.float32)), axis=0, combine_fn=online)
    a, b = s + ss, cs + mm
    t = (a, b)
    v = t[0] if n > 4 else a * 2
    w = tl.where(mask, b, 0.0) + libdevice.tanh(b) * LOG
    g = tl.max(w, axis=0, keep_dims=True)
    vals, idx = tl.max(w, axis=0, return_indices=True)
    sm = tl.softmax(w)
    srt = tl.sort(w, descending=True)
    top = tl.topk(w, 4)
    e = tl.join(w, w * 2)
    lo, hi = tl.split(e)
    inter = tl.interleave(lo, hi)
    r = tl.reshape(w, (4, BLOCK // 4))
    rt = tl.trans(r)
    d = tl.dot(r, rt, input_precision="ieee")
    h = tl.histogram(o, 16)
    old = tl.atomic_add(p + o, w, mask=mask, sem="relaxed")
    tl.static_assert(w.dtype == tl.float32, f"bad {w.dtype} {BLOCK:>4}")
    assert n > 0, "positive"
    tl.device_print("x", w)
    cc = tl.cumsum(w, 0) + tl.cumprod(w)
    ok = (n > 3 and eps > 0.0) or FLAG
    both = n > 3 and eps > 0.0
    if both:
        y = 1
        z = w
    else:
        y = 2
        z = w * 2
    tl.store(p + o, z * y + tl.sum(cc) + old + vals + idx + sm + g + v, mask)
    tl.store(p + tl.arange(0, 4), top)
    tl.debug_barrier()
    tl.store(p + tl.arange(0, 4)[:, None] * 4 + tl.arange(0, 4)[None, :], d)
    return
