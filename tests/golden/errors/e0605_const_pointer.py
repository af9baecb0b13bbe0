import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    tl.store(p, 1.0)

# spec: k(p: *kf16, n: i32, BLOCK=128)
# expect: 9:14: error[E0605]: `tl.store` through a pointer to constant memory
