import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    a = tl.zeros((64, 64), tl.float32)
    y = tl.dot(a, a, out_dtype=tl.bfloat16)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:32: error[E0418]: `tl.dot` of float32 cannot give bfloat16
