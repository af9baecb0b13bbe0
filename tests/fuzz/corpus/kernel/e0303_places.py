import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.zeros((n,), tl.float32)
    z = float(n)
    for i in tl.static_range(n):
        pass
    tl.static_assert(n > 3)
    w = tl.sum(x, axis=n)

