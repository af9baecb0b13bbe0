import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    if "a":
        pass
    if (1, 2):
        pass
    if 1.5:
        pass

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:8: error[E0703]: a condition known at compile time must be bool, int or None, got the string "a"
# expect: 11:8: error[E0703]: a condition known at compile time must be bool, int or None, got a tuple (1, 2)
# expect: 13:8: error[E0703]: a condition known at compile time must be bool, int or None, got 1.5
