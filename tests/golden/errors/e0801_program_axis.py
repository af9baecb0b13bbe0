import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.program_id(3)
    z = tl.num_programs(n)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:23: error[E0801]: the axis of `tl.program_id` must be 0, 1 or 2, got 3
# expect: 10:25: error[E0303]: `tl.num_programs` needs a compile-time `axis`, but `n` is a run-time int32
# help: declare it `n: tl.constexpr`
