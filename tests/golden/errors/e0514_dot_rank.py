import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.dot(x, x)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0514]: `tl.dot` needs two tiles of equal rank of at least 2 and equal batch axes, got float16[128] and float16[128]
