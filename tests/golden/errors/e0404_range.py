import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    u = o.to(tl.uint8)
    y = u * 300

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:13: error[E0404]: 300 does not fit in uint8, the type of this operation
