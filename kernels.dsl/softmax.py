"""softmax   y = exp(x - max x) / sum exp(x - max x) over each row of its own length

y, x    [rows, BLOCK at most]   rows `sy`, `sx` apart; y may be x
cols    [rows] i32              length of each row; columns past it are neither read nor written
rows    [1] i32                 how many rows there are, read on the device
grid    (upper bound of rows,); BLOCK is a power of two >= every length
sums    f32; within 4 ulp and the term of exp. A row of length 0 writes nothing; one that is -inf
        throughout gives NaN, as the formula does
bound   memory: a row in, a row out
source  Milakov and Gimelshein 2018, Online normalizer calculation for softmax, section 2
"""
import triton
import triton.language as tl


# kiln: softmax(y: *f32:16, x: *f32:16, cols: *i32, rows: *i32, sy: i32, sx: i32, BLOCK={16,256,1024})[num_warps=4]
# kiln:+ grid=(R+1,) R={0,1,6} sy=BLOCK+1 sx=BLOCK cols=ints(0,BLOCK+1,R+1) rows=full(R,1) y=randn((R+1)*sy) x=uniform(-30,30,(R+1)*sx)
# kiln: softmax(y: *f16, x: *f16, cols: *i32, rows: *i32, sy: i32, sx: i32, BLOCK=128)[num_warps=4]
# kiln:+ grid=(R,) R={1,4} sy=BLOCK sx=BLOCK+2 cols=ints(1,BLOCK+1,R) rows=full(R,1) y=zeros(R*sy) x=randn(R*sx)
# kiln: softmax(y: *bf16:16, x: *bf16:16, cols: *i32, rows: *i32, sy: i32:16, sx: i32:16, BLOCK=512)[num_warps=4]
# kiln:+ grid=(R,) R={1,4} sy=BLOCK sx=BLOCK cols=ints(1,BLOCK+1,R) rows=full(R,1) y=zeros(R*sy) x=randn(R*sx)
@triton.jit
def softmax(y, x, cols, rows, sy, sx, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    if row >= tl.load(rows):
        return
    at = row.to(tl.int64)
    col = tl.arange(0, BLOCK)
    live = col < tl.load(cols + row)

    v = tl.load(x + at * sx + col, mask=live, other=float("-inf")).to(tl.float32)
    e = tl.exp(v - tl.max(v, axis=0))
    out = e * (1.0 / tl.sum(e, axis=0))  # one division per row
    tl.store(y + at * sy + col, out.to(y.dtype.element_ty), mask=live)
