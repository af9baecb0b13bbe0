import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.trans(x)
    z = x.T
    w = tl.trans(x[None, :], (0, 0))

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0510]: `tl.trans` without dimensions needs a tile of rank 2 or more, got float16[128]
# expect: 10:9: error[E0510]: `.T` needs a tile of rank 2, got float16[128]
# expect: 11:30: error[E0511]: a tuple (0, 0) is not a permutation of the 2 axes
