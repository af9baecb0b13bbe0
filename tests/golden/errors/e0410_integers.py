import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x // 2
    z = tl.cdiv(x, 2)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0410]: `//` needs integers, got float16[128] and 2
# help: `tl.floor(a / b)`
# expect: 10:17: error[E0410]: `tl.cdiv` needs integers, got float16[128]
