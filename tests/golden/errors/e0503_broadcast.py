import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.arange(0, 64) + tl.arange(0, 128)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0503]: cannot broadcast shapes (64) and (128): axis 0 is 64 on the left and 128 on the right
