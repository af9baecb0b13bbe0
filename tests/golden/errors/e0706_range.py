import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    for i in range(1.5):
        pass
    for i in range(o):
        pass

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:20: error[E0706]: the end of a range must be an integer scalar, got 1.5
# expect: 11:20: error[E0706]: the end of a range must be an integer scalar, got int32[128]
