"""z = x + y, BLOCK elements per program"""
import triton
import triton.language as tl


@triton.jit
def add(x, y, z, n, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = o < n
    tl.store(z + o, tl.load(x + o, mask=live) + tl.load(y + o, mask=live), mask=live)

# spec: add(x: *f32:16, y: *f32:16, z: *f32:16, n: i32:16, BLOCK=256)
