import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.load(p, mask=o < n)
    z = tl.load(p + o, mask=(o < n)[:, None])

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:25: error[E0603]: the mask has shape (128) but the pointer has shape ()
# expect: 10:30: error[E0603]: the mask has shape (128, 1) but the pointer has shape (128)
