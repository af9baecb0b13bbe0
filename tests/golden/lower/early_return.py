"""what follows an `if` that returned is the other arm; with returns on some paths only, a flag guards the rest"""
import triton
import triton.language as tl


@triton.jit
def clip(x, n):
    if n > 0:
        if n > 9:
            return 9.0
        x = x + 1.0
    return x * 2.0


@triton.jit
def k(p, n):
    if n < 0:
        return
    x = tl.load(p)
    if n == 0:
        tl.store(p, x)
    else:
        tl.store(p, clip(x, n))

# spec: k(p: *f32, n: i32)
