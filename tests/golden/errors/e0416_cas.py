import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.atomic_cas(p + o, o, o)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:30: error[E0416]: `tl.atomic_cas` needs float16 here, got int32[128]
