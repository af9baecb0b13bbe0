import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x +
    z = x * * 2
    w = undefined_name

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:12: error[E0101]: expected an expression, found the end of the line
# expect: 10:13: error[E0101]: expected an expression, found `*`
