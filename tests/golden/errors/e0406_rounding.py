import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x.to(tl.float32, fp_downcast_rounding="rtz")

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0406]: `fp_downcast_rounding` is for narrowing float casts, not float16 to float32
