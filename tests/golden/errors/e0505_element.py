import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x[0]

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0505]: a tile cannot be indexed by element
# help: `tl.sum(tl.where(tl.arange(0, 128) == 0, x, 0), 0)` or `tl.gather`
