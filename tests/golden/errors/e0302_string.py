import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    s = "name"
    t: tl.constexpr = "name"

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0302]: the string "name" cannot be assigned to a run-time name
# help: annotate the name: `name: tl.constexpr = ...`
