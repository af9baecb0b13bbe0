import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.expand_dims(x, 3)
    z = tl.cumsum(x, 1)
    w = tl.max(x, return_indices=True)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:27: error[E0508]: axis 3 is out of range for a tile of rank 2
# expect: 10:22: error[E0508]: axis 1 is out of range for a tile of rank 1
# expect: 11:9: error[E0508]: `tl.max` with `return_indices` needs an axis
