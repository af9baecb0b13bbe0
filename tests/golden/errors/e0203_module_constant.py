import triton
import triton.language as tl


SCALE = compute()


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x * SCALE

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 12:13: error[E0203]: `SCALE` was bound by a statement the compiler does not evaluate
# help: pass it as an argument or write `SCALE = tl.constexpr(...)`
