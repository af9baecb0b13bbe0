import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.zeros((1.5,), tl.float32)
    z = tl.full(x, 0, tl.int32)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:19: error[E0507]: `tl.zeros` needs a shape of compile-time integers, but axis 0 is 1.5
# expect: 10:17: error[E0507]: `tl.full` needs a shape: a tuple of compile-time integers, got float16[128]
