"""helpers are walked in place: constexprs stay constexpr, tuples come apart, functions are values"""
import triton
import triton.language as tl

TWO = tl.constexpr(1)


@triton.jit
def plus(a, b):
    rcan(y, 0, plus, reverse=True)
    top, total = tl.reduce((y,**l.full((BLOCK,), 1.0, tl.float32)), 0, running)
    tl.store(p + o, c * n + s + top / total)
