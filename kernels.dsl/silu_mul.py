"""silu_mul   y = gate / (1 + exp(-gate)) * up, the gated activation of a feed-forward layer

y, gate, up   [rows, n]   rows `sy`, `sg`, `su` apart; y may be gate
rows          [1] i32     how many rows there are, read on the device
grid          (upper bound of rows, ceil(n / BLOCK))
accuracy      f32 inside; 4 ulp and the term of exp, then one rounding to the dtype of y
bound         memory: 2 n elements in, n out per row
source        Shazeer 2020, GLU Variants Improve Transformer (arXiv:2002.05202), SwiGLU
"""
import triton
import triton.language as tl


# kiln: silu_mul(y: *f32:16, gate: *f32:16, up: *f32:16, rows: *i32, n: i32, sy: i32, sg: i32, su: i32, BLOCK={32,512})[num_warps=4]
# kiln:+ grid=(R+1,cdiv(n,BLOCK)) R={0,1,5} n={1,172,BLOCK,2*BLOCK+1} sy=n+1 sg=n su=n+2 rows=full(R,1)
# kiln:+ y=randn((R+1)*sy) gate=uniform(-20,20,(R+1)*sg) up=randn((R+1)*su)
# kiln: silu_mul(y: *f16, gate: *f16, up: *f16, rows: *i32, n: i32, sy: i32, sg: i32, su: i32, BLOCK=128)[num_warps=4]
# kiln:+ grid=(R,cdiv(n,BLOCK)) R={1,3} n={1,172,256} sy=n sg=n su=n rows=full(R,1) y=zeros(R*sy) gate=randn(R*sg) up=randn(R*su)
# kiln: silu_mul(y: *bf16:16, gate: *bf16:16, up: *bf16:16, rows: *i32, n: i32:16, sy: i32:16, sg: i32:16, su: i32:16, BLOCK=256)[num_warps=4]
# kiln:+ grid=(R,cdiv(n,BLOCK)) R={1,3} n={16,256,512} sy=n sg=n su=n rows=full(R,1) y=zeros(R*sy) gate=randn(R*sg) up=randn(R*su)
@triton.jit
def silu_mul(y, gate, up, rows, n, sy, sg, su, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    if row >= tl.load(rows):
        return
    at = row.to(tl.int64)
    col = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = col < n

    z = tl.load(gate + at * sg + col, mask=live, other=0.0).to(tl.float32)
    u = tl.load(up + at * su + col, mask=live, other=0.0).to(tl.float32)
    out = z / (1.0 + tl.exp(-z)) * u
    tl.store(y + at * sy + col, out.to(y.dtype.element_ty), mask=live)
