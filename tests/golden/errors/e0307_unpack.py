import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    a, b = (1, 2, 3)
    c, d = x

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:12: error[E0307]: expected 2 values to unpack, got 3
# expect: 10:12: error[E0307]: expected 2 values to unpack, got float16[128]
