import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.reshape(x, (4, 16))

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0509]: cannot reshape float16[128] to (4, 16): 128 elements against 64
