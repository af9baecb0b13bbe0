import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    tl.store(p, tl.arange(0, 16))

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:17: error[E0603]: cannot store int32[16] through a scalar pointer
# help: `p + tl.arange(0, 16)`
