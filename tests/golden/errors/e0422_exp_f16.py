import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.exp(x)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:16: error[E0422]: `tl.exp` needs float32 or float64, got float16[128]
# help: `tl.exp(x.to(tl.float32))`
