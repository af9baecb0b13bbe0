import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    tl.atomic_add((p + o).to(tl.pointer_type(tl.int8)), 1)
    tl.atomic_and(p, 1)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:20: error[E0612]: `tl.atomic_add` does not exist for int8
# expect: 10:19: error[E0612]: `tl.atomic_and` does not exist for float16
