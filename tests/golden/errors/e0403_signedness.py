import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    pid = tl.program_id(0)
    y = pid.to(tl.uint32) // n

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 10:9: error[E0403]: `//` on uint32 and int32 mixes signedness
# help: cast one side
