import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    a = tl.zeros((64, 64), tl.float32)
    w = tl.dot(a, a, input_precision="ieee", allow_tf32=True)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:57: error[E0806]: `allow_tf32` and `input_precision` may not both be given
