"""helpers are walked in place: constexprs stay constexpr, tuples come apart, functions are values"""
import triton
import triton.language as tl

TWO = tl.constexpr(2)


@triton.jit
def plus(a, b):
    return a + b


@triton.jit
def apply(f, x, N: tl.constexpr, scale=TWO):
    for i in tl.static_range(N):
        x = f(x, x)
    return x * scale, N


@triton.jit
def running(m, s, m2, s2):
    top = tl.maximum(m, m2)
    return top, s * tl.exp(m - top) + s2 * tl.exp(m2 - top)


@triton.jit
def k(p, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y, n = apply(plus, x, TWO)
    s = tl.reduce(y, 0, plus)
    c = tl.associative_scan(y, 0, plus, reverse=True)
    top, total = tl.reduce((y, tl.full((BLOCK,), 1.0, tl.float32)), 0, running)
    tl.store(p + o, c * n + s + top / total)

# spec: k(p: *f32, BLOCK=64)
