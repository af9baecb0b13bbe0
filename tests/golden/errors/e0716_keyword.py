import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    m = o < n
    y = tl.load(p, masks=m)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:20: error[E0716]: `tl.load` has no parameter `masks`; did you mean `mask`?
