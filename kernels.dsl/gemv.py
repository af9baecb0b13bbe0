"""gemv   y = w x + bias for one or a few rows of x: the weights are read once, at memory speed

y       [rows, N]    rows `sy` apart
x       [rows, K]    rows `sx` apart
w       [N, K]       f32, f16 or bf16, or the int8 codes of Q8_0; rows K apart
scale   [N, K / 32]  f16, the scales of Q8_0: w = code * scale; None for the other types
bias    [N]          None: none
rows    [1] i32      how many rows of x there are, read on the device
grid    (upper bound of rows, ceil(N / BLOCK_N)): the programs that read one panel of w are neighbours
EVEN_N, EVEN_K   N, K is a multiple of its block: no masks. Q8_0 wants K in multiples of 32, and BLOCK_K too or,
        with EVEN_N, a power of two below 32
sums    f32, BLOCK_K partial sums per output, joined once; error below (K / BLOCK_K + log2 BLOCK_K) ulp
        of the sum of absolute products
bound   memory: N K weights
source  Williams et al. 2009, Roofline (the bound); Q8_0: the block format of GGUF
"""
import triton
import triton.language as tl


# kiln: gemv(y: *f32:16, x: *f32:16, w: *{f32,f16,bf16}:16, scale: None, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32,
# kiln:+ BLOCK_N={1,4}, BLOCK_K={16,128}, EVEN_N=True, EVEN_K=True)[num_warps=4] grid=(R+1,cdiv(N,BLOCK_N)) R={0,1,3} N={4,12} K={128,256}
# kiln:+ sy=N+1 sx=K rows=full(R,1) y=randn((R+1)*sy) x=randn((R+1)*sx) w=randn(N*K)
# kiln: gemv(y: *f32, x: *f32, w: *{f32,f16,bf16}, scale: None, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ BLOCK_N={2,8}, BLOCK_K=64, EVEN_N=False, EVEN_K=False)[num_warps=4] grid=(R,cdiv(N,BLOCK_N)) R={1,2} N={1,7,17} K={1,63,172}
# kiln:+ sy=N sx=K+1 rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=randn(N*K) bias=randn(N)
# kiln: gemv(y: *f32:16, x: *f32:16, w: *i8:16, scale: *f16, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32,
# kiln:+ BLOCK_N={1,4}, BLOCK_K={8,32,128}, EVEN_N=True, EVEN_K=True)[num_warps=4] grid=(R,cdiv(N,BLOCK_N)) R={1,2} N={4,12} K={128,256}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(-127,128,N*K) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemv(y: *f32, x: *f32, w: *i8, scale: *f16, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ BLOCK_N=4, BLOCK_K={32,64}, EVEN_N=False, EVEN_K=False)[num_warps=4] grid=(R,cdiv(N,BLOCK_N)) R={1,2} N={1,7} K={32,96,160}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(-127,128,N*K) scale=uniform(0.001,0.02,N*K//32) bias=randn(N)
# kiln: gemv(y: *bf16:16, x: *bf16:16, w: *bf16:16, scale: None, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_N=4, BLOCK_K=256, EVEN_N=True, EVEN_K=True)[num_warps=4] grid=(R,cdiv(N,BLOCK_N)) R={1,2} N={16,32} K={256,512}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=randn(N*K)
@triton.jit
def gemv(y, x, w, scale, bias, rows, N, K, sy, sx, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
         EVEN_N: tl.constexpr, EVEN_K: tl.constexpr):
    row = tl.program_id(0)
    if row >= tl.load(rows):
        return
    n0 = tl.program_id(1) * BLOCK_N
    n = tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    inside = n0 + n < N
    wp = w + n0.to(tl.int64) * K
    xp = x + row.to(tl.int64) * sx

    acc = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
    if scale is not None and BLOCK_K < 32 and EVEN_N:
        # A block of 32 is summed before it is scaled: one product per scale and lane instead of one per code.
        sp = scale + n0.to(tl.int64) * K // 32
        for b in range(0, K // 32):
            part = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
            for j in tl.static_range(32 // BLOCK_K):
                at = b * 32 + j * BLOCK_K + k
                part += tl.load(wp + n[:, None] * K + at[None, :]).to(tl.float32) * tl.load(xp + at).to(tl.float32)[None, :]
            acc += part * tl.load(sp + n * (K // 32) + b).to(tl.float32)[:, None]
    else:
        for k0 in range(0, K, BLOCK_K):
            if EVEN_K:
                xv = tl.load(xp + k0 + k)
            else:
                xv = tl.load(xp + k0 + k, mask=k0 + k < K, other=0.0)
            if EVEN_N and EVEN_K:
                wv = tl.load(wp + k0 + n[:, None] * K + k[None, :])
            else:
                wv = tl.load(wp + k0 + n[:, None] * K + k[None, :], mask=inside[:, None] & (k0 + k < K)[None, :], other=0)
            part = wv.to(tl.float32) * xv.to(tl.float32)[None, :]
            if scale is not None:
                sp = scale + (n0.to(tl.int64) * K + k0) // 32
                if BLOCK_K == 32 and EVEN_N:
                    sv = tl.load(sp + n * (K // 32))[:, None]
                elif BLOCK_K == 32:
                    sv = tl.load(sp + n * (K // 32), mask=inside, other=0.0)[:, None]
                elif EVEN_N and EVEN_K:
                    sv = tl.load(sp + n[:, None] * (K // 32) + (k // 32)[None, :])
                else:
                    sv = tl.load(sp + n[:, None] * (K // 32) + (k // 32)[None, :],
                                 mask=inside[:, None] & (k0 + k < K)[None, :], other=0.0)
                part = part * sv.to(tl.float32)
            acc += part

    out = tl.sum(acc, axis=1)
    if bias is not None:
        out += tl.load(bias + n0 + n, mask=inside, other=0.0).to(tl.float32)
    if EVEN_N:
        tl.store(y + row.to(tl.int64) * sy + n0 + n, out.to(y.dtype.element_ty))
    else:
        tl.store(y + row.to(tl.int64) * sy + n0 + n, out.to(y.dtype.element_ty), mask=inside)
