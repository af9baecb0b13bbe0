import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x + (1, 2)
    z = x + "a"
    w = x * tl.float32

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0414]: `+` is not defined for float16[128] and a tuple (1, 2)
# expect: 10:13: error[E0414]: `+` cannot take the string "a"
# expect: 11:13: error[E0414]: `*` cannot take the type float32
