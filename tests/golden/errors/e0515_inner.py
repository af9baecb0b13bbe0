import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    a = tl.zeros((128, 64), tl.float16)
    y = tl.dot(a, a)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:9: error[E0515]: inner dimensions of `tl.dot` differ: left is (128, 64), right is (128, 64)
# help: `tl.trans` the right operand
