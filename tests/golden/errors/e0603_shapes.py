import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    v = tl.zeros((8, 16), tl.float16)
    tl.store(p + tl.arange(0, 16)[None, :], v)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:45: error[E0603]: the value has shape (8, 16) but the pointer has shape (1, 16)
