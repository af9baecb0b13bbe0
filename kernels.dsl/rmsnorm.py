"""rmsnorm   x = x + r;  y = x / sqrt(mean(x * x) + eps) * g, one program per row

y       [rows, n]   rows `sy` apart
x       [rows, n]   rows `sx` apart; the residual stream: read, and written back when r is given
r       [rows, n]   rows `sr` apart, what the last sublayer adds; None: nothing, x stays
g       [n]         gain
rows    [1] i32     how many rows there are, read on the device
ends    [rows] i32  row i of y comes from row ends[i] - 1 of x and r (the last of sequence i), all different; None: from row i
grid    (upper bound of rows,); BLOCK is a power of two >= n, lanes past n load 0 and add nothing
sums    f32; within 3 ulp of the f64 answer rounded to the dtype of y, for n up to 8192
bound   memory: 2 n elements in and out per row; g stays in cache
source  Zhang and Sennrich 2019, Root Mean Square Layer Normalization, eq. 4
"""
import triton
import triton.language as tl


# kiln: rmsnorm(y: *f32:16, x: *f32:16, r: None, g: *f32:16, rows: *i32, ends: None, n: i32, eps: f32,
# kiln:+ sy: i32, sx: i32, sr: i32, BLOCK={64,1024})[num_warps=4] grid=(R+1,) R={0,1,7}
# kiln:+ n={1,BLOCK-3,BLOCK} eps=1e-5 sy=n+3 sx=n sr=n rows=full(R,1) y=randn((R+1)*sy) x=randn((R+1)*sx) g=uniform(0.5,1.5,n)
# kiln: rmsnorm(y: *f32, x: *f32, r: *f32, g: *f32, rows: *i32, ends: None, n: i32, eps: f32,
# kiln:+ sy: i32, sx: i32, sr: i32, BLOCK={64,512})[num_warps=4] grid=(R+2,) R={0,1,5}
# kiln:+ n={1,BLOCK//2+1,BLOCK} eps=1e-5 sy=n sx=n+1 sr=n+2 rows=full(R,1) y=zeros((R+2)*sy) x=randn((R+2)*sx) r=randn((R+2)*sr) g=randn(n)
# kiln: rmsnorm(y: *f32:16, x: *f32:16, r: *f32:16, g: *f32:16, rows: *i32, ends: *i32, n: i32:16, eps: f32,
# kiln:+ sy: i32:16, sx: i32:16, sr: i32:16, BLOCK=128)[num_warps=2] grid=(R,) R={1,4}
# kiln:+ n={16,112,128} eps=1e-6 sy=n sx=n sr=n+16 rows=full(R,1) ends=picks(3*R,R) y=zeros(R*sy) x=randn(3*R*sx) r=randn(3*R*sr) g=randn(n)
# kiln: rmsnorm(y: *f16:16, x: *f16:16, r: *f16:16, g: *f32:16, rows: *i32, ends: None, n: i32, eps: f32,
# kiln:+ sy: i32, sx: i32, sr: i32, BLOCK=256)[num_warps=4] grid=(R,) R={1,3}
# kiln:+ n={1,200,256} eps=1e-5 sy=n sx=n sr=n rows=full(R,1) y=zeros(R*sy) x=randn(R*sx) r=randn(R*sr) g=randn(n)
# kiln: rmsnorm(y: *bf16:16, x: *bf16:16, r: *bf16:16, g: *bf16:16, rows: *i32, ends: None, n: i32, eps: f32,
# kiln:+ sy: i32, sx: i32, sr: i32, BLOCK=256)[num_warps=4] grid=(R,) R={1,3}
# kiln:+ n={1,200,256} eps=1e-5 sy=n sx=n sr=n rows=full(R,1) y=zeros(R*sy) x=randn(R*sx) r=randn(R*sr) g=randn(n)
@triton.jit
def rmsnorm(y, x, r, g, rows, ends, n, eps, sy, sx, sr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    if row >= tl.load(rows):
        return
    src = row
    if ends is not None:
        src = tl.load(ends + row) - 1
    col = tl.arange(0, BLOCK)
    live = col < n

    xs = x + src.to(tl.int64) * sx
    v = tl.load(xs + col, mask=live, other=0.0).to(tl.float32)
    if r is not None:
        v += tl.load(r + src.to(tl.int64) * sr + col, mask=live, other=0.0).to(tl.float32)
        tl.store(xs + col, v.to(x.dtype.element_ty), mask=live)
    scale = 1.0 / tl.sqrt(tl.sum(v * v, axis=0) / n + eps)

    gain = tl.load(g + col, mask=live, other=0.0).to(tl.float32)
    out = v * scale * gain
    tl.store(y + row.to(tl.int64) * sy + col, out.to(y.dtype.element_ty), mask=live)
