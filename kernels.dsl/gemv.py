"""gemv, gemv_dot   y = w x + bias for one or a few rows of x: the weights are read once, at memory speed

y       [rows, N]    rows `sy` apart
x       [rows, K]    rows `sx` apart; gemv_dot: its dtype is the one of the products
w       [N, K]       f32, f16 or bf16, or the int8 codes of Q8_0; rows K apart
        u8: Q4_0, [N, K / 2] bytes as in the file: byte i of a block of 32 holds weights i (low) and i + 16 (high)
scale   [N, K / 32]  f16, one per block: w = code * scale, of Q4_0 (nibble - 8) * scale; None for the other types
bias    [N]          None: none
rows    [1] i32      how many rows of x there are, read on the device
EVEN_N, EVEN_K       N, K is a multiple of what a program takes of it at a time: no masks. Packed types want K in
        multiples of 32
bound   memory: N K weights
source  Williams et al. 2009, Roofline (the bound); Q8_0, Q4_0: the block formats of GGUF;
        Frantar et al. 2024, MARLIN (arXiv:2408.11743): packed weights become operands in registers, and are never stored

gemv  multiply-adds, for a few rows            gemv_dot  the matrix unit, weights on its long side
            k ->                                             k ->
        n [ w w w w ]  *  x   per row of x               n [ w w | w w ]  .  x^T [k, rows of x]
          summed over k at the end                         SLICES of k side by side, summed at the end
"""
import triton
import triton.language as tl


@triton.jit
def low(b):
    """Weights 0 .. 15 of each block of 16 bytes: its low nibbles, less 8."""
    return (b & 15).to(tl.int8) - 8


@triton.jit
def high(b):
    """Weights 16 .. 31."""
    return (b >> 4).to(tl.int8) - 8


@triton.jit
def row_length(K, PACK: tl.constexpr):
    """Stored elements of a row of w. Packed types have whole blocks of 32."""
    if PACK == 2:
        n = tl.multiple_of(K // 2, 16)
    else:
        n = K
    return n


@triton.jit
def rows_of(xp, k, K, sx, ROWS: tl.constexpr, EVEN_K: tl.constexpr):
    """x[m, k] in f32, as [ROWS, 1, k]."""
    at = xp + tl.arange(0, ROWS)[:, None] * sx + k[None, :]
    if EVEN_K:
        v = tl.load(at)
    else:
        v = tl.load(at, mask=(k < K)[None, :], other=0.0)
    return v.to(tl.float32)[:, None, :]


@triton.jit
def panel_of(wp, k, K, inside, stride, BLOCK_N: tl.constexpr, EVEN_N: tl.constexpr, EVEN_K: tl.constexpr):
    """w[n, k] of a panel of BLOCK_N rows, as it is stored."""
    at = wp + tl.arange(0, BLOCK_N)[:, None] * stride + k[None, :]
    if EVEN_N and EVEN_K:
        v = tl.load(at)
    else:
        v = tl.load(at, mask=inside[:, None] & (k < K)[None, :], other=0)
    return v


@triton.jit
def summed(p, VEC: tl.constexpr):
    """Sums of VEC neighbours, all of one thread."""
    if VEC > 1:
        p = tl.sum(tl.reshape(p, (p.shape[0], p.shape[1], p.shape[2] // VEC, VEC)), axis=3)
    return p


# kiln: gemv(y: *f32:16, x: *f32:16, w: *{f32,f16,bf16}:16, scale: None, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32,
# kiln:+ ROWS={1,2}, BLOCK_N=4, BLOCK_K={16,128}, VEC=1, EVEN_N=True, EVEN_K=True)[num_warps=4] grid=(cdiv(R+1,ROWS),cdiv(N,BLOCK_N)) R={0,1,3}
# kiln:+ N={4,12} K={0,128,256} sy=N+1 sx=K rows=full(R,1) y=randn((R+1)*sy) x=randn((R+2)*sx) w=randn(N*K)
# kiln: gemv(y: *f32, x: *f32, w: *{f32,f16,bf16}, scale: None, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ ROWS={1,4}, BLOCK_N=8, BLOCK_K=64, VEC=1, EVEN_N=False, EVEN_K=False)[num_warps=4] grid=(cdiv(R,ROWS),cdiv(N,BLOCK_N)) R={1,2} N={1,7,17} K={1,63,172}
# kiln:+ sy=N sx=K+1 rows=full(R,1) y=randn(R*sy) x=randn(4*sx) w=randn(N*K) bias=randn(N)
# kiln: gemv(y: *f32:16, x: *f32:16, w: *i8:16, scale: *f16, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32,
# kiln:+ ROWS={1,4}, BLOCK_N=2, BLOCK_K={8,16,32}, VEC=1, EVEN_N=True, EVEN_K=True)[num_warps=4] grid=(cdiv(R,ROWS),cdiv(N,BLOCK_N)) R={1,2,5} N={4,12} K={32,128,544}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn((R+3)*sx) w=ints(-127,128,N*K) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemv(y: *f32:16, x: *f32:16, w: *u8:16, scale: *f16, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32,
# kiln:+ ROWS={1,4}, BLOCK_N=1, BLOCK_K={16,32}, VEC=1, EVEN_N=True, EVEN_K=True)[num_warps=4] grid=(cdiv(R,ROWS),cdiv(N,BLOCK_N)) R={1,2,5} N={4,12} K={32,128,544}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn((R+3)*sx) w=ints(0,256,N*K//2) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemv(y: *f32, x: *f32, w: *i8, scale: *f16, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ ROWS=1, BLOCK_N=4, BLOCK_K={32,64}, VEC=1, EVEN_N=False, EVEN_K=False)[num_warps=4] grid=(cdiv(R,ROWS),cdiv(N,BLOCK_N)) R={1,2} N={1,7} K={32,96,160}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(-127,128,N*K) scale=uniform(0.001,0.02,N*K//32) bias=randn(N)
# kiln: gemv(y: *f32, x: *f32, w: *u8, scale: *f16, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ ROWS=2, BLOCK_N=4, BLOCK_K={32,64}, VEC=1, EVEN_N=False, EVEN_K=False)[num_warps=4] grid=(cdiv(R,ROWS),cdiv(N,BLOCK_N)) R={1,2} N={1,7} K={32,96,160}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(2*sx) w=ints(0,256,N*K//2) scale=uniform(0.001,0.02,N*K//32) bias=randn(N)
# kiln: gemv(y: *f16:16, x: *f16:16, w: *f16:16, scale: None, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ ROWS={1,2}, BLOCK_N=4, BLOCK_K=512, VEC=8, EVEN_N=True, EVEN_K=True)[num_warps=4] grid=(cdiv(R,ROWS),cdiv(N,BLOCK_N)) R={1,2} N={16,32} K={512,1024}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn((R+3)*sx) w=randn(N*K)
# kiln: gemv(y: *bf16:16, x: *bf16:16, w: *bf16:16, scale: None, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ ROWS=1, BLOCK_N=4, BLOCK_K=1024, VEC=8, EVEN_N=True, EVEN_K=False)[num_warps=4] grid=(cdiv(R,ROWS),cdiv(N,BLOCK_N)) R={1,2} N={16,32} K={512,1024}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn((R+3)*sx) w=randn(N*K)
# kiln: gemv(y: *f32:16, x: *f16:16, w: *i8:16, scale: *f16, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ ROWS=1, BLOCK_N=4, BLOCK_K=512, VEC=16, EVEN_N=True, EVEN_K={True,False})[num_warps=4] grid=(cdiv(R,ROWS),cdiv(N,BLOCK_N)) R={1,2} N={16,32} K={512,1024}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn((R+3)*sx) w=ints(-127,128,N*K) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemv(y: *f32:16, x: *f16:16, w: *u8:16, scale: *f16, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ ROWS=1, BLOCK_N=4, BLOCK_K=1024, VEC=16, EVEN_N=True, EVEN_K={True,False})[num_warps=4] grid=(cdiv(R,ROWS),cdiv(N,BLOCK_N)) R={1,2} N={16,32} K={1024,2048}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn((R+3)*sx) w=ints(0,256,N*K//2) scale=uniform(0.001,0.02,N*K//32)
# ROWS    rows of x that share one reading of w. x is readable up to a multiple of ROWS: rows past the last are read, not used
# VEC     neighbours along k that one thread reads at a time and sums before anything else; 1 on a CPU, whose lanes lie along k
# BLOCK_K with VEC 1, EVEN_N and a packed type: a power of two up to a block, 32; else a multiple of it
# grid    (ceil(upper bound of rows / ROWS), ceil(N / BLOCK_N)): the programs that read one panel of w are neighbours
# sums    f32, BLOCK_K / VEC partial sums per output, joined once; error below (K / BLOCK_K + VEC + log2 BLOCK_K) ulp of the
#         sum of absolute products
@triton.jit
def gemv(y, x, w, scale, bias, rows, N, K, sy, sx, ROWS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
         VEC: tl.constexpr, EVEN_N: tl.constexpr, EVEN_K: tl.constexpr):
    m0 = tl.program_id(0) * ROWS
    n_rows = tl.load(rows)
    if m0 >= n_rows:
        return
    n0 = tl.program_id(1) * BLOCK_N
    n = tl.arange(0, BLOCK_N)
    m = tl.arange(0, ROWS)
    inside = n0 + n < N
    xp = x + m0.to(tl.int64) * sx
    PACK: tl.constexpr = 2 if w.dtype.element_ty == tl.uint8 else 1  # weights of a stored element
    CODES: tl.constexpr = BLOCK_K // PACK  # stored elements of a step
    sw = row_length(K, PACK)
    wp = w + n0.to(tl.int64) * sw

    acc = tl.zeros((ROWS, BLOCK_N, CODES // VEC), tl.float32)
    if scale is not None and BLOCK_K <= 32 and VEC == 1 and EVEN_N:
        # A block of 32 is summed before it is scaled: one product per scale and lane instead of one per code.
        sp = scale + n0.to(tl.int64) * K // 32
        k = tl.arange(0, CODES)
        for b in range(0, K // 32):
            part = tl.zeros((ROWS, BLOCK_N, CODES), tl.float32)
            for i in tl.static_range(32 // BLOCK_K):
                wv = panel_of(wp, b * (32 // PACK) + i * CODES + k, sw, inside, sw, BLOCK_N, True, True)
                at = b * 32 + i * CODES + k
                if PACK == 2:
                    part += low(wv).to(tl.float32)[None, :, :] * rows_of(xp, at, K, sx, ROWS, True)
                    part += high(wv).to(tl.float32)[None, :, :] * rows_of(xp, at + 16, K, sx, ROWS, True)
                else:
                    part += wv.to(tl.float32)[None, :, :] * rows_of(xp, at, K, sx, ROWS, True)
            acc += part * tl.load(sp + n * (K // 32) + b).to(tl.float32)[None, :, None]
    else:
        j = tl.arange(0, CODES)
        for j0 in range(0, sw, CODES):
            k0 = j0 * PACK
            wv = panel_of(wp, j0 + j, sw, inside, sw, BLOCK_N, EVEN_N, EVEN_K)
            if PACK == 2:
                at = k0 + j // 16 * 32 + j % 16
                part = summed(low(wv).to(tl.float32)[None, :, :] * rows_of(xp, at, K, sx, ROWS, EVEN_K), VEC)
                part += summed(high(wv).to(tl.float32)[None, :, :] * rows_of(xp, at + 16, K, sx, ROWS, EVEN_K), VEC)
            else:
                part = summed(wv.to(tl.float32)[None, :, :] * rows_of(xp, k0 + j, K, sx, ROWS, EVEN_K), VEC)
            if scale is not None:
                BLOCKS: tl.constexpr = BLOCK_K // 32
                b = k0 // 32 + tl.arange(0, BLOCKS)
                sv = panel_of(scale + n0.to(tl.int64) * (K // 32), b, K // 32, inside, K // 32, BLOCK_N, EVEN_N, EVEN_K)
                sv = tl.broadcast_to(sv.to(tl.float32)[:, :, None], (BLOCK_N, BLOCKS, CODES // VEC // BLOCKS))
                part = part * tl.reshape(sv, (1, BLOCK_N, CODES // VEC))
            acc += part

    out = tl.sum(acc, axis=2)
    if bias is not None:
        out += tl.load(bias + n0 + n, mask=inside, other=0.0).to(tl.float32)[None, :]
    yp = y + m0.to(tl.int64) * sy + n0 + m[:, None] * sy + n[None, :]
    if EVEN_N and ROWS == 1:
        tl.store(yp, out.to(y.dtype.element_ty))
    else:
        tl.store(yp, out.to(y.dtype.element_ty), mask=(m0 + m < n_rows)[:, None] & inside[None, :])


# kiln: gemv_dot(y: *f32:16, x: *f32, w: *f32, scale: None, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ BLOCK_M={8,16}, BLOCK_N=16, BLOCK_K=16, SLICES=2, EVEN_N=False, EVEN_K=False)[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N)) R={1,9} N={1,19} K={0,31,43}
# kiln:+ sy=N sx=K+1 rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=randn(N*K) bias=randn(N)
# kiln: gemv_dot(y: *f32, x: *f32, w: *i8, scale: *f16, bias: None, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ BLOCK_M=8, BLOCK_N=16, BLOCK_K=32, SLICES={1,4}, EVEN_N=False, EVEN_K=False)[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N)) R={1,9} N={1,19} K={32,160}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(-127,128,N*K) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemv_dot(y: *f32, x: *f32, w: *u8, scale: *f16, bias: None, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ BLOCK_M=8, BLOCK_N=16, BLOCK_K=32, SLICES={1,4}, EVEN_N=False, EVEN_K=False)[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N)) R={1,9} N={1,19} K={32,160}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(0,256,N*K//2) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemv_dot(y: *f16:16, x: *f16:16, w: *f16:16, scale: None, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M=8, BLOCK_N=32, BLOCK_K=64, SLICES=4, EVEN_N=True, EVEN_K=True)[num_warps=4, num_stages={1,3}] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N))
# kiln:+ R={1,9} N={32,64} K={0,256,512,4352} sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=randn(N*K)
# kiln: gemv_dot(y: *f16:16, x: *f16:16, w: *f16:16, scale: None, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M=8, BLOCK_N=32, BLOCK_K=64, SLICES=4, EVEN_N=True, EVEN_K=True)[num_warps=8, num_stages=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N))
# kiln:+ R={1,9} N={32,64} K={0,256,512,4352} sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=randn(N*K)
# kiln: gemv_dot(y: *bf16:16, x: *bf16:16, w: *bf16:16, scale: None, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M=32, BLOCK_N=32, BLOCK_K=64, SLICES=4, EVEN_N=True, EVEN_K=True)[num_warps=4, num_stages={1,3}] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N))
# kiln:+ R={5,33} N={32,64} K={256,512} sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=randn(N*K)
# kiln: gemv_dot(y: *bf16:16, x: *bf16:16, w: *bf16:16, scale: None, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M=32, BLOCK_N=32, BLOCK_K=64, SLICES=4, EVEN_N=True, EVEN_K=True)[num_warps=8, num_stages=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N))
# kiln:+ R={5,33} N={32,64} K={256,512} sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=randn(N*K)
# kiln: gemv_dot(y: *f16:16, x: *f16:16, w: *i8:16, scale: *f16, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M={8,16}, BLOCK_N=16, BLOCK_K=32, SLICES=8, EVEN_N=True, EVEN_K=True)[num_warps=4, num_stages={1,3}] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N))
# kiln:+ R={1,17} N={16,32} K={0,256,512,4352} sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(-127,128,N*K) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemv_dot(y: *f16:16, x: *f16:16, w: *i8:16, scale: *f16, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M={8,16}, BLOCK_N=16, BLOCK_K=32, SLICES=8, EVEN_N=True, EVEN_K=True)[num_warps=8, num_stages=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N))
# kiln:+ R={1,17} N={16,32} K={0,256,512,4352} sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(-127,128,N*K) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemv_dot(y: *f16:16, x: *f16:16, w: *u8:16, scale: *f16, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M={8,16}, BLOCK_N=16, BLOCK_K=32, SLICES=8, EVEN_N=True, EVEN_K=True)[num_warps=4, num_stages={1,3}] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N))
# kiln:+ R={1,17} N={16,32} K={0,256,512,4352} sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(0,256,N*K//2) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemv_dot(y: *f16:16, x: *f16:16, w: *u8:16, scale: *f16, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M={8,16}, BLOCK_N=16, BLOCK_K=32, SLICES=8, EVEN_N=True, EVEN_K=True)[num_warps=8, num_stages=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N))
# kiln:+ R={1,17} N={16,32} K={0,256,512,4352} sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(0,256,N*K//2) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemv_dot(y: *bf16:16, x: *bf16:16, w: *i8:16, scale: *f16, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M=32, BLOCK_N=32, BLOCK_K=32, SLICES=4, EVEN_N=True, EVEN_K=False)[num_warps=4, num_stages=3] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N))
# kiln:+ R={5,33} N={32,64} K={96,288} sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(-127,128,N*K) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemv_dot(y: *bf16:16, x: *bf16:16, w: *u8:16, scale: *f16, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M=32, BLOCK_N=32, BLOCK_K=32, SLICES=4, EVEN_N=True, EVEN_K=False)[num_warps=4, num_stages=3] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N))
# kiln:+ R={5,33} N={32,64} K={96,288} sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(0,256,N*K//2) scale=uniform(0.001,0.02,N*K//32)
# BLOCK_M rows of x at a time (a matrix instruction has 8), BLOCK_N rows of w (it has 16)
# BLOCK_K columns of a slice per step, 32 for packed types. Codes are whole numbers, exact as operands: a block is summed
#         before it is scaled. SLICES * BLOCK_K columns lie side by side, so that a step reads long runs of each row,
#         and a program has work for all its warps however short BLOCK_N is
# grid    (ceil(upper bound of rows / BLOCK_M), ceil(N / BLOCK_N))
# sums    f32; error below K ulp of the sum of absolute products, x and plain weights being rounded to the dtype of x
@triton.jit
def gemv_dot(y, x, w, scale, bias, rows, N, K, sy, sx, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
             BLOCK_K: tl.constexpr, SLICES: tl.constexpr, EVEN_N: tl.constexpr, EVEN_K: tl.constexpr):
    m0 = tl.program_id(0) * BLOCK_M
    n_rows = tl.load(rows)
    if m0 >= n_rows:
        return
    n0 = tl.program_id(1) * BLOCK_N
    n = tl.arange(0, BLOCK_N)
    m = tl.arange(0, BLOCK_M)
    in_m = m0 + m < n_rows
    in_n = n0 + n < N
    xp = x + m0.to(tl.int64) * sx
    PACK: tl.constexpr = 2 if w.dtype.element_ty == tl.uint8 else 1
    CODES: tl.constexpr = BLOCK_K // PACK
    s = tl.arange(0, SLICES)
    j = s[:, None] * CODES + tl.arange(0, CODES)[None, :]  # stored columns of a step, by slice
    k = s[:, None] * BLOCK_K + tl.arange(0, CODES)[None, :]  # and the columns of x they belong to
    sw = row_length(K, PACK)
    wp = w + n0.to(tl.int64) * sw + n[None, :, None] * sw + j[:, None, :]
    xt = xp + m[None, None, :] * sx + k[:, :, None]
    in_w = in_n[None, :, None]
    in_x = in_m[None, None, :]

    acc = tl.zeros((SLICES, BLOCK_N, BLOCK_M), tl.float32)
    for j0 in range(0, sw, SLICES * CODES):
        k0 = j0 * PACK
        if EVEN_K:
            here_w = in_w
            here_x = in_x
        else:
            here_w = in_w & (j0 + j < sw)[:, None, :]
            here_x = in_x & (k0 + k < K)[:, :, None]
        if EVEN_N and EVEN_K:
            wv = tl.load(wp + j0)
        else:
            wv = tl.load(wp + j0, mask=here_w, other=0)
        xv = tl.load(xt + k0, mask=here_x, other=0.0)
        if scale is None:
            acc = tl.dot(wv.to(xv.dtype), xv, acc, input_precision="ieee")
        else:
            if PACK == 2:
                part = tl.dot(low(wv).to(xv.dtype), xv, input_precision="ieee")
                part = tl.dot(high(wv).to(xv.dtype), tl.load(xt + (k0 + 16), mask=here_x, other=0.0), part, input_precision="ieee")
            else:
                part = tl.dot(wv.to(xv.dtype), xv, input_precision="ieee")
            b = k0 // 32 + s
            sv = tl.load(scale + (n0 + n).to(tl.int64)[None, :] * (K // 32) + b[:, None],
                         mask=in_n[None, :] & (b < K // 32)[:, None], other=0.0)
            acc += part * sv.to(tl.float32)[:, :, None]

    out = tl.sum(acc, axis=0)
    if bias is not None:
        out += tl.load(bias + n0 + n, mask=in_n, other=0.0).to(tl.float32)[:, None]
    yp = y + m0.to(tl.int64) * sy + n0 + m[None, :] * sy + n[:, None]
    tl.store(yp, out.to(y.dtype.element_ty), mask=in_n[:, None] & in_m[None, :])
