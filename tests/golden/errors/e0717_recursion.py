import triton
import triton.language as tl


@triton.jit
def f(a):
    return g(a)


@triton.jit
def g(a):
    return f(a)


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = f(n)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 12:12: error[E0717]: `f` calls itself; recursion is not supported
