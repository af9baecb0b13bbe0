import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    tl.static_assert(BLOCK == 64, f"BLOCK is {BLOCK}")

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:5: error[E0308]: static assertion failed: BLOCK is 128
