import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    a = tl.zeros((64, 64), tl.float16)
    b = tl.zeros((64, 64), tl.bfloat16)
    y = tl.dot(a, b)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 11:9: error[E0417]: operands of `tl.dot` must have the same element type, got float16 and bfloat16
# help: `b.to(tl.float16)`
