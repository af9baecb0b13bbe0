import triton
import triton.language as tl


@triton.jit
def f(a):
    return a


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.reduce(x, 0, f)
    z = tl.reduce(x, 0, tl.exp)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 14:25: error[E0718]: the combine function `f` must take 2 scalars, it takes 1
# expect: 15:25: error[E0718]: `combine_fn` must be a jit function, got the function `tl.exp`
