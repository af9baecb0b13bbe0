import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    u = o.to(tl.uint8)
    y = u + (-1)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:14: error[E0405]: negative constant -1 in an operation of type uint8
# help: cast the tile to a signed type
