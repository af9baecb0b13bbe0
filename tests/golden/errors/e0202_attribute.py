import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.exq(x)
    z = x.dtyp
    w = 3(x)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0202]: `tl` has no `exq`; did you mean `exp`?
# expect: 10:9: error[E0202]: a value of type float16[128] has no `dtyp`
# expect: 11:9: error[E0202]: 3 is not callable
