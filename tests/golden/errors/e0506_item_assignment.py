import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    x[0] = 1
    x[o] += 1

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:5: error[E0506]: elements of a tile or tuple cannot be assigned
# expect: 10:5: error[E0506]: elements of a tile or tuple cannot be assigned
