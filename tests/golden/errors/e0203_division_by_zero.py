import triton
import triton.language as tl
A = 1 // 0
B = A + 1
@triton.jit
def k(p):
    tl.store(p, B)

# spec: k(p: *f32)
# expect: 7:17: error[E0203]: `B` was bound by a statement the compiler does not evaluate
# help: pass it as an argument or write `B = tl.constexpr(...)`
