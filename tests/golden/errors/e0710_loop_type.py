import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    acc = 0
    for k in range(n):
        acc += 1.5

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 11:9: error[E0710]: `acc` is int32 before the loop but float32 at the end of its body
# help: start with `0.0`
