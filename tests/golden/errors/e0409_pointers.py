import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = p * 2
    z = p + p
    w = p + 1.5
    v = 3 - p

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0409]: `*` is not defined for *float16 and 2
# expect: 10:9: error[E0409]: `+` is not defined for *float16 and *float16
# expect: 11:9: error[E0409]: a pointer offset must be an integer, got 1.5
# expect: 12:9: error[E0409]: `-` is not defined for 3 and *float16
