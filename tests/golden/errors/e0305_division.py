import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    c: tl.constexpr = 4 // 0
    d: tl.constexpr = 1.0 % 0

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:23: error[E0305]: division by zero
# expect: 10:23: error[E0305]: division by zero
