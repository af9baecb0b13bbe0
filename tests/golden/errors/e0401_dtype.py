import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x.to(float)
    z = tl.zeros((4,), 3)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:14: error[E0401]: expected an element type such as `tl.float32`, got the function `float`
# help: use `tl.int1`, `tl.int32` or `tl.float32`
# expect: 10:24: error[E0401]: `tl.zeros` needs an element type such as `tl.float32`, got 3
