import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    if BLOCK > 64:
        raise ValueError("too big")

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:9: error[E0715]: this `raise` is reached: too big
