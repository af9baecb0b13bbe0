import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = p.to(tl.int32)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0407]: cannot cast *float16 to int32
