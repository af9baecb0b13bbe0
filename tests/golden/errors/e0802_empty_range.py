import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.arange(4, 4)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0802]: `tl.arange` needs an end greater than its start, got 4 to 4
