import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x ** 2.5

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:14: error[E0411]: `**` on run-time values needs a compile-time integer exponent, got 2.5
# help: use `libdevice.pow`
