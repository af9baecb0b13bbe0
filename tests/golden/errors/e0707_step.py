import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    for i in range(0, 4, 0):
        pass

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:26: error[E0707]: the step of a range may not be 0
