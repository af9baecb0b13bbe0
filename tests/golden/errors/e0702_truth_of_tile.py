import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    if x > 0:
        tl.store(p, 1.0)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:8: error[E0702]: the truth value of int1[128] is ambiguous
# help: `tl.where`, a mask, or reduce with `tl.max`
