import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    while True:
        x += 1.0

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:11: error[E0709]: this loop never ends
# help: the condition is known to be true at compile time
