import triton
import triton.language as tl


@triton.jit
def f(a, b):
    tl.debug_barrier()
    return a + b


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.reduce(x, 0, f)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 7:5: error[E0719]: `tl.debug_barrier` may not be used in a combine function
