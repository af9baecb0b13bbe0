import triton
import triton.language as tl


SCALE = 3


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x << 40 if BLOCK == 64 else o << 40
    z = min(x, 2.0)
    w = tl.where(n, x, 0.0)
    v = (o < n) and (o > 2)
    tl.trans(x[None, :])
    u = SCALE
    c: tl.constexpr = n
    a = b = 3
    ok = 0 < n < 3
    q = x ** 2

