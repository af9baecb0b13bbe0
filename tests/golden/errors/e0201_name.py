import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x + zz
    z = BLOK + 1

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:13: error[E0201]: name `zz` is not defined
# expect: 10:9: error[E0201]: name `BLOK` is not defined
# help: did you mean `BLOCK`?
