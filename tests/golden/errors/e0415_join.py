import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.join(x, o)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0415]: `tl.join` needs equal element types, got float16[128] and int32[128]
