"""loops carry the names that their bodies rebind; a number becomes a scalar first; counting down is turned round"""
import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    acc = tl.zeros((BLOCK,), tl.float32)
    count = 0
    for i in tl.range(0, n, BLOCK, num_stages=2):
        fresh = tl.load(p + i + tl.arange(0, BLOCK))
        acc += fresh
        count += 1
    for j in range(n, 0, -1):
        count = count + j
    while count > 100:
        count = count // 2
    for s in tl.static_range(1, 4):
        if s == 2:
            continue
        acc = acc * s
    tl.store(p + tl.arange(0, BLOCK), acc + count)

# spec: k(p: *f32:16, n: i32, BLOCK=16)
