import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    tl.device_print(n, x)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:21: error[E0809]: the prefix of `tl.device_print` must be a compile-time ASCII string, got int32
