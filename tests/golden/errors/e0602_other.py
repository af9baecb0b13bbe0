import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.load(p + o, other=0.0)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:30: error[E0602]: `other` has no effect without `mask`
