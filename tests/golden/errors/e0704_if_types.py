import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    if n > 0:
        y = 1
    else:
        y = 1.0

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:5: error[E0704]: `y` is int32 on one path and float32 on the other
