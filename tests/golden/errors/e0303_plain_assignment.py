import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    m = 64
    tl.store(p + tl.arange(0, m), 1.0)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:31: error[E0303]: `tl.arange` needs a compile-time `end`, but `m` is a run-time int32
# help: `m: tl.constexpr = 64`
