import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.load(p + o, boundary_check=(0,))

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:39: error[E0606]: `boundary_check` is for block pointers, not for a plain pointer
