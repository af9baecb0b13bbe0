import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x.to(tl.float8e5) + o

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0402]: `+` has no common type for float8e5 and int32
# help: cast one side
