import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.sum(n)
    z = tl.sort(n)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:16: error[E0518]: `tl.sum` needs a tile, got int32
# expect: 10:9: error[E0518]: `tl.sort` needs a tile, got int32
