import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    for i in range(n):
        x = x + x
    tl.store(p, i)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 11:17: error[E0705]: loop variable `i` has no value after the loop
