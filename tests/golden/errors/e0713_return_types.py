import triton
import triton.language as tl


@triton.jit
def f(n):
    if n > 0:
        return 1
    return 1.0


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = f(n)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:5: error[E0713]: `f` returns float32 here and int32 elsewhere
