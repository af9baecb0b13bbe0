import triton
import triton.language as tl


@triton.jit
def f(a, b):
    return a + b


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = f(x)
    z = f(x, 1, 2)
    w = f(x, b=1, c=2)
    v = tl.load()
    u = tl.arange(0, 1, 2, 3)

