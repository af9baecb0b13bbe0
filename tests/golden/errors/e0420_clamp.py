import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.clamp(o, 0, 4)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0420]: `tl.clamp` needs floats, got int32[128]
# help: `tl.minimum` and `tl.maximum`
