import triton
import triton.language as tl


@triton.jit
def f(a, b):
    return a + b


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = f(x)
    z = f(x, 1, 2)
    w = f(x, b=1, c=2)
    v = tl.load()
    u = tl.arange(0, 1, 2, 3)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 14:9: error[E0716]: `f` needs an argument for `b`
# expect: 15:17: error[E0716]: `f` takes 2 arguments, more are given
# expect: 16:19: error[E0716]: `f` has no parameter `c`
# expect: 17:9: error[E0716]: `tl.load` needs an argument for `pointer`
# expect: 18:25: error[E0716]: `tl.arange` takes at most 2 arguments
