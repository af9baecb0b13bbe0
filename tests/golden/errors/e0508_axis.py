import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.sum(x, axis=1)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:24: error[E0508]: axis 1 is out of range for a tile of rank 1
