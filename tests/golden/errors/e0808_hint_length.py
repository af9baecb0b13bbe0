import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.multiple_of(x[:, None], 16)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:36: error[E0808]: `tl.multiple_of` needs 2 values for float16[128, 1], got 1
