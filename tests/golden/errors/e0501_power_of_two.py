import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    tl.store(p + tl.arange(0, 96), 1.0)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:18: error[E0501]: the length of a tile axis must be a power of two, got 96
# help: use 128 and mask
