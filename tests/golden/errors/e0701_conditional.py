import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = 1 if n > 0 else 2.0

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0701]: the arms of this conditional are int32 and float32
