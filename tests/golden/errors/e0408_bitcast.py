import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x.to(tl.int32, bitcast=True)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0408]: a bitcast needs equal widths, got float16 to int32
