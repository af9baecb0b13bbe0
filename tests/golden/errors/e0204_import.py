import triton
import triton.language as tl


from mylib.kernels import helper


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = helper(x)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 12:9: error[E0204]: `helper` was imported from a module that was not found
