import triton
import triton.language as tl


@triton.jit
def f(v):
    return tl.arange(0, v)


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = f(n)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 7:25: error[E0303]: `tl.arange` needs a compile-time `end`, but `v` is a run-time int32
