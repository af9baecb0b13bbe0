import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = 1 << 100
    z = 1 << 200
    w = tl.arange(0, 1 << 40)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:5: error[E0306]: the integer 1267650600228229401496703205376 fits in no integer type
# expect: 10:9: error[E0306]: this integer constant needs more than 128 bits
# expect: 11:22: error[E0306]: the bounds of `tl.arange` must fit in int32, got 1099511627776
