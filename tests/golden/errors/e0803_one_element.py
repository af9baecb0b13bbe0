import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.full((4,), x, tl.float32)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:23: error[E0803]: `tl.full` needs one value, got float16[128]
