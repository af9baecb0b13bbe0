import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    for i in tl.static_range(4):
        if n > i:
            break

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 11:13: error[E0711]: `break` out of a static loop needs a compile-time condition
