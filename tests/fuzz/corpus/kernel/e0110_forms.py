import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = lambda a: a
    z = {1: 2}
    w = [i for i in (1, 2)]
    v = x @ x
    global p
    del x
    import os
    try:
        pass
    except E:
        pass
    def g():
        pass

