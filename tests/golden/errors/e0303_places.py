import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.zeros((n,), tl.float32)
    z = float(n)
    for i in tl.static_range(n):
        pass
    tl.static_assert(n > 3)
    w = tl.sum(x, axis=n)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:19: error[E0507]: `tl.zeros` needs a shape of compile-time integers, but axis 0 is int32
# help: declare it `n: tl.constexpr`
# expect: 10:15: error[E0303]: `float` needs a compile-time value, but `n` is a run-time int32
# help: `.to(tl.float32)`
# expect: 11:30: error[E0303]: `tl.static_range` needs a compile-time `end`, got int32
# help: declare it `n: tl.constexpr`
# expect: 13:22: error[E0303]: `tl.static_assert` needs a condition known at compile time, got int1
# expect: 14:24: error[E0303]: `tl.sum` needs a compile-time `axis`, but `n` is a run-time int32
# help: declare it `n: tl.constexpr`
