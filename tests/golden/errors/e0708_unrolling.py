import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    for i in tl.static_range(5000):
        pass

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:14: error[E0708]: a static loop may have at most 4096 iterations, this one has 5000
