import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.histogram(x, 16)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:22: error[E0807]: `tl.histogram` needs a tile of rank 1 of 32-bit integers, got float16[128]
