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

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 11:13: error[E0901]: not supported yet: `break` in a run-time loop
# expect: 14:13: error[E0901]: not supported yet: `return` inside a run-time loop
# expect: 15:9: error[E0901]: not supported yet: `tl.make_block_ptr`
# expect: 16:5: error[E0901]: not supported yet: `with`
# expect: 18:9: error[E0901]: not supported yet: `tl.rand`
