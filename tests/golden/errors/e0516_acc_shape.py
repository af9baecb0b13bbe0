import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    a = tl.zeros((64, 64), tl.float16)
    y = tl.dot(a, a, acc=tl.zeros((32, 64), tl.float32))

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:26: error[E0516]: `acc` has shape (32, 64) but the result has shape (64, 64)
