import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    z = tl.zeros((4096, 4096), tl.float32)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:18: error[E0502]: a tile may have at most 1048576 elements, this one has 16777216
