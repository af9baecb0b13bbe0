import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    a = tl.zeros((64, 64), tl.float32)
    acc = tl.zeros((64, 64), tl.float16)
    y = tl.dot(a, a, acc=acc)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 11:26: error[E0419]: `acc` is float16 but this dot produces float32
