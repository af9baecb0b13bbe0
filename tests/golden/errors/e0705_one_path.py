import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    if n > 0:
        y = 1
    tl.store(p, y)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 11:17: error[E0705]: `y` is assigned on only one path of the `if` at line 9
