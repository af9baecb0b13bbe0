import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    c: tl.constexpr = 4
    c = 5
    c: tl.constexpr = 6

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:5: error[E0304]: `c` is tl.constexpr and cannot be bound again
# expect: 11:5: error[E0304]: `c` is tl.constexpr and cannot be bound again
