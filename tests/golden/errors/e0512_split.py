import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.split(x)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0512]: `tl.split` needs a last axis of length 2, got float16[128]
