"""gemm   y = x w^T + bias for many rows of x: a prompt, or a large batch

y       [rows, N]    rows `sy` apart
x       [rows, K]    rows `sx` apart; its dtype is the one of the products
w       [N, K]       f32, f16 or bf16, or the int8 codes of Q8_0; rows K apart; converted to the dtype of x
        u8: Q4_0, [N, K / 2] bytes as in the file: byte i of a block of 32 holds weights i (low) and i + 16 (high)
scale   [N, K / 32]  f16, one per block: w = code * scale, of Q4_0 (nibble - 8) * scale; None for the other types
bias    [N]          None: none
rows    [1] i32      how many rows of x there are, read on the device
grid    (ceil(upper bound of rows / BLOCK_M), ceil(N / BLOCK_N)): the programs that read one panel of w
        are neighbours, so it comes from memory once
EVEN_K  K is a multiple of BLOCK_K: no masks along K. packed types want K and BLOCK_K in multiples of 32
sums    f32 throughout (f32 operands are not cut to tf32); error below K ulp of the sum of absolute products
bound   arithmetic from about 16 rows on
source  Goto and van de Geijn 2008, Anatomy of High-Performance Matrix Multiplication
"""
import triton
import triton.language as tl


# kiln: gemm(y: *f32:16, x: *f32:16, w: *{f32,f16,bf16}:16, scale: None, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32,
# kiln:+ BLOCK_M={8,32}, BLOCK_N=32, BLOCK_K=32, EVEN_K=True)[num_warps=4] grid=(cdiv(R+1,BLOCK_M),cdiv(N,BLOCK_N)) R={0,1,9,33} N={1,32,40} K={32,96}
# kiln:+ sy=N+1 sx=K rows=full(R,1) y=randn((R+1)*sy) x=randn((R+1)*sx) w=randn(N*K)
# kiln: gemm(y: *f32, x: *f32, w: *{f32,f16}, scale: None, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ BLOCK_M=16, BLOCK_N=16, BLOCK_K=16, EVEN_K=False)[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N)) R={1,17} N={1,19} K={1,31,43}
# kiln:+ sy=N sx=K+1 rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=randn(N*K) bias=randn(N)
# kiln: gemm(y: *f32:16, x: *f32:16, w: *i8:16, scale: *f16, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32,
# kiln:+ BLOCK_M=16, BLOCK_N={16,32}, BLOCK_K={32,64}, EVEN_K={True,False})[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N)) R={1,17} N={5,32} K={64,128}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(-127,128,N*K) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemm(y: *f32:16, x: *f32:16, w: *u8:16, scale: *f16, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32,
# kiln:+ BLOCK_M=16, BLOCK_N={16,32}, BLOCK_K={32,64}, EVEN_K={True,False})[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N)) R={1,17} N={5,32} K={64,128}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(0,256,N*K//2) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemm(y: *f16:16, x: *f16:16, w: *f16:16, scale: None, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M=64, BLOCK_N=64, BLOCK_K=32, EVEN_K=True)[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N)) R={1,65} N={16,80} K={64,128}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=randn(N*K)
# kiln: gemm(y: *bf16:16, x: *bf16:16, w: *{bf16,i8}:16, scale: {None,*f16}, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M=64, BLOCK_N=64, BLOCK_K=64, EVEN_K=True)[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N)) R={1,65} N={16,80} K={64,128}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(-7,8,N*K) scale=uniform(0.001,0.02,N*K//32)
# kiln: gemm(y: *f32:16, x: *f16:16, w: *f16:16, scale: None, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M=16, BLOCK_N=32, BLOCK_K=32, EVEN_K=True)[num_warps={4,8}, num_stages={1,3,4}] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N)) R={1,17} N={16,48} K={0,32,64,544}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=randn(N*K)
# kiln: gemm(y: *f32:16, x: *f16:16, w: *i8:16, scale: *f16, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16,
# kiln:+ BLOCK_M=16, BLOCK_N=32, BLOCK_K=32, EVEN_K=True)[num_warps={4,8}, num_stages={1,3,4}] grid=(cdiv(R,BLOCK_M),cdiv(N,BLOCK_N)) R={1,17} N={16,48} K={0,32,64,544}
# kiln:+ sy=N sx=K rows=full(R,1) y=randn(R*sy) x=randn(R*sx) w=ints(-127,128,N*K) scale=uniform(0.001,0.02,N*K//32)
@triton.jit
def gemm(y, x, w, scale, bias, rows, N, K, sy, sx, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
         BLOCK_K: tl.constexpr, EVEN_K: tl.constexpr):
    m0 = tl.program_id(0) * BLOCK_M
    n0 = tl.program_id(1) * BLOCK_N
    n_rows = tl.load(rows)
    if m0 >= n_rows:
        return
    m = tl.arange(0, BLOCK_M)
    n = tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    m_in = m0 + m < n_rows
    n_in = n0 + n < N
    xp = x + m0.to(tl.int64) * sx

    PACK: tl.constexpr = 2 if w.dtype.element_ty == tl.uint8 else 1  # weights of a stored element
    CODES: tl.constexpr = BLOCK_K // PACK
    j = tl.arange(0, CODES)
    if PACK == 2:
        k = j // 16 * 32 + j % 16
    sw = K
    if PACK == 2:
        sw = tl.multiple_of(K // 2, 16)
    wp = w + n0.to(tl.int64) * sw

    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for j0 in range(0, sw, CODES):
        k0 = j0 * PACK
        m_and_k = m_in[:, None]
        k_and_n = n_in[None, :]
        if not EVEN_K:
            m_and_k = m_and_k & (k0 + k < K)[None, :]
            k_and_n = (k0 + k < K)[:, None] & k_and_n
        xv = tl.load(xp + k0 + m[:, None] * sx + k[None, :], mask=m_and_k, other=0.0)
        wv = tl.load(wp + j0 + j[:, None] + n[None, :] * sw, mask=k_and_n, other=0)
        if scale is not None:
            sp = scale + (n0.to(tl.int64) * K + k0) // 32
            sv = tl.load(sp + (k // 32)[:, None] + n[None, :] * (K // 32), mask=k_and_n, other=0.0).to(tl.float32)
        if PACK == 2:
            low = ((wv & 15).to(tl.int8) - 8).to(tl.float32) * sv
            high = ((wv >> 4).to(tl.int8) - 8).to(tl.float32) * sv
            acc = tl.dot(xv, low.to(xv.dtype), acc, input_precision="ieee")
            xv = tl.load(xp + k0 + m[:, None] * sx + (k + 16)[None, :], mask=m_and_k, other=0.0)
            acc = tl.dot(xv, high.to(xv.dtype), acc, input_precision="ieee")
        elif scale is not None:
            acc = tl.dot(xv, (wv.to(tl.float32) * sv).to(xv.dtype), acc, input_precision="ieee")
        else:
            acc = tl.dot(xv, wv.to(xv.dtype), acc, input_precision="ieee")

    if bias is not None:
        acc += tl.load(bias + n0 + n, mask=n_in, other=0.0).to(tl.float32)[None, :]
    tl.store(y + m0.to(tl.int64) * sy + m[:, None] * sy + (n0 + n)[None, :], acc.to(y.dtype.element_ty),
             mask=m_in[:, None] & n_in[None, :])
