import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.load(n + o)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:17: error[E0601]: `tl.load` needs a pointer, got int32[128]
