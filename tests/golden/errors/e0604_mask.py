import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    tl.store(p + o, 1.0, mask=n)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:31: error[E0604]: `mask` must be int1, got int32
# help: write a comparison
