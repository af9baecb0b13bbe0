import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    if BLOCK == 64:
        y = undefined(1) @ {1: 2}
        import os
    else:
        y = x
    tl.store(p + o, y)

# spec: k(p: *f16, n: i32, BLOCK=128)

