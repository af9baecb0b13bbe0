import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    return x

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:5: error[E0712]: a kernel returns nothing, got float16[128]
# help: store the value through a pointer
