"""quantize   q = round(x / s) per block of 32: rows of activations as int8 codes for products with packed weights

q       [rows, n] i8          rows `sq` apart: codes -127 .. 127, x = q * s; halves round up
s       [rows, n / 32] f32    scale of a block: its largest magnitude / 127; a block of zeros has scale 0
c       [rows, n / 32] i32    sum of the codes of a block: what a product owes for weights that are stored with an offset
x       [rows, n]             rows `sx` apart
rows    [1] i32               how many rows there are, read on the device
n       a multiple of 32
grid    (upper bound of rows, ceil(n / BLOCK))
error   half a step: |x - q s| <= s / 2
bound   memory: n elements in, n bytes out per row
source  Dettmers et al. 2022, LLM.int8() (arXiv:2208.07339), vector-wise absmax; blocks of 32 as in GGUF's Q8_0
"""
import triton
import triton.language as tl


# kiln: quantize(q: *i8:16, s: *f32:16, c: *i32:16, x: *{f32,f16,bf16}:16, rows: *i32, n: i32:16, sq: i32, sx: i32, BLOCK={32,64,256})[num_warps=4]
# kiln:+ grid=(R+1,cdiv(n,BLOCK)) R={0,1,5} n={32,96,288} sq=n sx=n+16 rows=full(R,1) q=ints(-9,9,(R+1)*sq) s=randn((R+1)*n//32) c=ints(-9,9,(R+1)*n//32)
# kiln:+ x=randn((R+1)*sx)
# kiln: quantize(q: *i8, s: *f32, c: *i32, x: *f32, rows: *i32, n: i32, sq: i32, sx: i32, BLOCK=128)[num_warps=4]
# kiln:+ grid=(R,cdiv(n,BLOCK)) R={1,3} n={32,160} sq=n+1 sx=n+3 rows=full(R,1) q=ints(-9,9,R*sq) s=randn(R*n//32) c=ints(-9,9,R*n//32)
# kiln:+ x=sometimes(0,0.9,randn(R*sx))
@triton.jit
def quantize(q, s, c, x, rows, n, sq, sx, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    if row >= tl.load(rows):
        return
    at = row.to(tl.int64)
    b = tl.program_id(1) * (BLOCK // 32) + tl.arange(0, BLOCK // 32)
    col = b[:, None] * 32 + tl.arange(0, 32)[None, :]
    live = (b < n // 32)[:, None] & (tl.arange(0, 32) >= 0)[None, :]

    v = tl.load(x + at * sx + col, mask=live, other=0.0).to(tl.float32)
    amax = tl.max(tl.abs(v), axis=1)
    inverse = 127.0 / tl.where(amax > 0.0, amax, 1.0)
    codes = tl.floor(v * inverse[:, None] + 0.5)
    tl.store(q + at * sq + col, codes.to(tl.int8), mask=live)
    blocks = at * (n // 32) + b
    tl.store(s + blocks, amax / 127.0, mask=b < n // 32)
    tl.store(c + blocks, tl.sum(codes.to(tl.int32), axis=1), mask=b < n // 32)
