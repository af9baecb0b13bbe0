import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    for i in range(n):
        if i > 3:
            break
    for j in range(n):
        if j > 3:
            return
    b = tl.make_block_ptr(p, (n,), (1,), (0,), (16,), (0,))
    with open(p):
        pass
    r = tl.rand(n, o)

