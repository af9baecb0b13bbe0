import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    tl.assume(n)
    y = p and n
    tl.device_assert(x)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:15: error[E0413]: `tl.assume` needs int1, got int32
# expect: 10:9: error[E0413]: `and` and `or` need int1, got *float16
# expect: 11:22: error[E0413]: `tl.device_assert` needs int1, got float16[128]
