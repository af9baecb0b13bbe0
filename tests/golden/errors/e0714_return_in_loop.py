import triton
import triton.language as tl


@triton.jit
def f(n):
    for i in range(n):
        if i > 3:
            return 1.0
    return 0.0


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    tl.store(p, f(n))

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:13: error[E0714]: `return` inside a run-time loop is not supported in a helper
