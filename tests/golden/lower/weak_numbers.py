"""numbers take the type of the other operand unless their kind is above it; comparisons and maximum do not"""
import triton
import triton.language as tl


@triton.jit
def k(h, b, u, i):
    hx = tl.load(h)
    bx = tl.load(b)
    ux = tl.load(u)
    tl.store(h, hx * 0.5 + 1)
    tl.store(b, bx * 0.5)
    tl.store(u, (ux >> 4) & 15)
    tl.store(u, i >> ux.to(tl.uint32))
    tl.store(h, hx / 2)
    tl.store(h, tl.maximum(hx, 0.0))
    tl.store(h, tl.maximum(hx, 0))
    tl.store(h, tl.where(hx > 0.1, hx, 0.0))
    tl.store(u, i * 2.5)
    half = 0.5
    tl.store(h, hx * half)

# spec: k(h: *f16, b: *bf16, u: *u8, i: i32)
