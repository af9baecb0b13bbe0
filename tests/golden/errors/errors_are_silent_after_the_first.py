import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = zz + 1
    z = y * 2
    w = tl.exp(z)
    for i in range(n):
        w = w + z
    if w > 3:
        v = w
    tl.store(p + o, v)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0201]: name `zz` is not defined
