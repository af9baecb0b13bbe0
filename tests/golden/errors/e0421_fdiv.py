import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.fdiv(o, o)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:17: error[E0421]: `tl.fdiv` needs floats, got int32[128]
