"""shapes: broadcasting, subscripts, transposes, joins, reductions along axes; nothing is computed twice"""
import triton
import triton.language as tl


# kiln: k(p: *f32:16, q: *f32:16, s0: i32:16, M=4, N=16)
@triton.jit
def k(p, q, s0, M: tl.constexpr, N: tl.constexpr):
    m = tl.arange(0, M)[:, None]
    n = tl.arange(0, N)[None, :]
    x = tl.load(p + m * s0 + n, mask=(m < 3) & (n < 5), other=0.0)
    rows = tl.sum(x, axis=1)
    top = tl.max(x, axis=0, keep_dims=True)
    d = tl.dot(x.to(tl.float16), tl.trans(x).to(tl.float16), out_dtype=tl.float16)
    a, b = tl.split(tl.reshape(x, (M, N // 2, 2)))
    e = tl.interleave(a, b)
    value, at = tl.max(e, axis=1, return_indices=True)
    tl.store(q + m * s0 + n, x - top)
    tl.store(q + tl.arange(0, M), rows + value + at + tl.sum(d))
