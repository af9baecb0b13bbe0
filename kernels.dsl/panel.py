"""panel   y = x w^T + bias, weights in panels of 16 rows as a CPU's lanes want them: one text from one row of x to a prompt

y       [rows, N]           rows `sy` apart
x       [rows, K]           rows `sx` apart; readable up to a multiple of BLOCK_M rows, as xs and xc are
        i8         codes, for weights that are codes
        f32        for plain weights, or bf16 for those of bf16
xs      [rows, K / 32] f32  x = code * xs; None for plain weights, as xc and ws are
xc      [rows, K / 32] i32  sums of the codes of a block
w       panels of 16 rows n of the matrix, as many k side by side as one vector instruction multiplies. P panels, rows past
        N are zero
        i8       Q8_0, [P, K / 4, 16 n, 4 k]
        u8       Q4_0, [P, K / 32, 4 j, 16 n, 4 i]: low nibble k = 4 j + i of a block of 32, high nibble k + 16
        f32 f16  [P, K, 16 n]
        bf16     [P, ceil(K / 2), 16 n, 2 k]; for an odd K the last k is zero
ws      [P, K / 32, 16] f16 w = code * ws, of Q4_0 (nibble - 8) * ws
bias    [N]                 None: none
rows    [1] i32             how many rows of x there are, read on the device
grid    (ceil(upper bound of rows / BLOCK_M), ceil(N / (16 PANELS))): the programs that read one panel are neighbours,
        so it comes from memory once. PANELS <= P
K       a multiple of 32 for codes, any for plain weights
sums    of a block in int32, exact; of blocks in f32: error below K / 32 ulp of the sum of absolute products, K ulp for
        plain weights
bound   memory for one row of x, arithmetic from about 8 rows on
source  Goto and van de Geijn 2008, Anatomy of High-Performance Matrix Multiplication; Q8_0, Q4_0: the block formats of
        GGUF, whose dot products of int8 blocks these are

    panel    n0 .. n15          one k-step: 4 k of 16 n lie side by side, 64 bytes
    k0..3    [ w w w w ]        x[m, k0..3] is 4 bytes that every lane reads
    k4..7    [ w w w w ]        after 8 steps: acc[m, n] += block[m, n] * xs[m] * ws[n]

    plain    one k-step: 1 k of 16 n; acc[m, n] += x[m, k] * w[k, n], in registers over all of K where BLOCK_M is small
"""
import triton
import triton.language as tl


@triton.jit
def plain(xp, wp, K, sx, acc, ROWS: tl.constexpr, PANELS: tl.constexpr):
    """acc + x w^T of weights that are numbers: xp at the first row, wp at the first panel."""
    PAIR: tl.constexpr = 2 if wp.dtype.element_ty == tl.bfloat16 else 1  # neighbours along k that lie side by side
    # A few rows stay in registers through short steps; more rows take turns, a slice of the panel in the first cache.
    STEP: tl.constexpr = 32 if ROWS > 4 else 16 if xp.dtype.element_ty == tl.bfloat16 else 8
    size = (K + PAIR - 1) // PAIR * (PAIR * 16)
    m = tl.arange(0, ROWS)
    n = tl.arange(0, 16 * PANELS)
    k = tl.arange(0, STEP)
    xa = xp + m[:, None] * sx + k[None, :]
    wa = wp + (k // PAIR * (PAIR * 16) + k % PAIR)[:, None] + (n // 16 * size + n % 16 * PAIR)[None, :]
    whole = K // STEP * STEP
    for k0 in range(0, whole, STEP):
        xv = tl.load(xa + k0)
        wv = tl.load(wa + k0 * 16).to(xv.dtype)
        if ROWS * PANELS <= 2:  # sums of a step by themselves: their chains overlap
            acc += tl.dot(xv, wv, input_precision="ieee")
        else:
            acc = tl.dot(xv, wv, acc, input_precision="ieee")
    for k0 in range(whole, K, STEP):  # what is left, at most once
        here = k0 + k < K
        xv = tl.load(xa + k0, mask=here[None, :], other=0.0)
        wv = tl.load(wa + k0 * 16, mask=here[:, None], other=0.0).to(xv.dtype)
        acc = tl.dot(xv, wv, acc, input_precision="ieee")
    return acc


# kiln: panel(y: *f32:16, x: *i8:16, xs: *f32, xc: *i32, w: *{i8,u8}:16, ws: *f16:16, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32:16,
# kiln:+ BLOCK_M={1,4}, PANELS={1,2})[num_warps=4] grid=(cdiv(R+1,BLOCK_M),cdiv(N,16*PANELS)) R={0,1,2,5,9} N={17,32,40,48} K={32,96,160}
# kiln:+ P=cdiv(N,16) M=16 sy=N+1 sx=K rows=full(R,1) y=randn((R+1)*sy) x=ints(-127,128,M*sx) xs=uniform(0.001,0.02,M*K//32) xc=ints(-4064,4065,M*K//32)
# kiln:+ w=ints(0,128,P*16*K) ws=uniform(0.001,0.02,P*K//2)
# kiln: panel(y: *f32, x: *i8, xs: *f32, xc: *i32, w: *{i8,u8}, ws: *f16, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ BLOCK_M={2,8}, PANELS=1)[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,16*PANELS)) R={1,3,8,11} N={1,16,17} K={0,32,64}
# kiln:+ P=cdiv(N,16) M=16 sy=N sx=K+3 rows=full(R,1) y=randn(R*sy) x=ints(-127,128,M*sx) xs=uniform(0.001,0.02,M*K//32) xc=ints(-4064,4065,M*K//32)
# kiln:+ w=ints(0,128,P*16*K) ws=uniform(0.001,0.02,P*K//2) bias=randn(N)
# kiln: panel(y: *f32:16, x: *f32:16, xs: None, xc: None, w: *{f32,f16,bf16}:16, ws: None, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32:16,
# kiln:+ BLOCK_M={1,4}, PANELS={1,2})[num_warps=4] grid=(cdiv(R+1,BLOCK_M),cdiv(N,16*PANELS)) R={0,1,2,5} N={17,32,40,48} K={16,96,160}
# kiln:+ P=cdiv(N,16) M=8 sy=N+1 sx=K rows=full(R,1) y=randn((R+1)*sy) x=randn(M*sx) w=randn(P*16*K)
# kiln: panel(y: *f32, x: *f32, xs: None, xc: None, w: *{f32,f16,bf16}, ws: None, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ BLOCK_M={2,8}, PANELS=1)[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,16*PANELS)) R={1,3,8,11} N={1,16,17} K={0,1,31,65}
# kiln:+ P=cdiv(N,16) M=16 sy=N sx=K+3 rows=full(R,1) y=randn(R*sy) x=randn(M*sx) w=randn(P*16*(K+K%2)) bias=randn(N)
# kiln: panel(y: *f32, x: *bf16, xs: None, xc: None, w: *bf16, ws: None, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ BLOCK_M={2,8}, PANELS=1)[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,16*PANELS)) R={1,3,8,11} N={1,16,17} K={0,1,31,65}
# kiln:+ P=cdiv(N,16) M=16 sy=N sx=K+3 rows=full(R,1) y=randn(R*sy) x=randn(M*sx) w=randn(P*16*(K+K%2)) bias=randn(N)
# kiln: panel(y: *f32:16, x: *i8:16, xs: *f32, xc: *i32, w: *{i8,u8}:16, ws: *f16:16, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32:16,
# kiln:+ BLOCK_M=4, PANELS=2)[num_warps={4,8}, num_stages={1,3,4}] grid=(cdiv(R,BLOCK_M),cdiv(N,16*PANELS)) R={1,5} N={32,48} K={0,32,64,544}
# kiln:+ P=cdiv(N,16) M=16 sy=N sx=K rows=full(R,1) y=randn(R*sy) x=ints(-127,128,M*sx) xs=uniform(0.001,0.02,M*K//32) xc=ints(-4064,4065,M*K//32)
# kiln:+ w=ints(0,128,P*16*K) ws=uniform(0.001,0.02,P*K//2)
@triton.jit
def panel(y, x, xs, xc, w, ws, bias, rows, N, K, sy, sx, BLOCK_M: tl.constexpr, PANELS: tl.constexpr):
    m0 = tl.program_id(0) * BLOCK_M
    n_rows = tl.load(rows)
    if m0 >= n_rows:
        return
    m = tl.arange(0, BLOCK_M)
    n = tl.arange(0, 16 * PANELS)
    first = tl.program_id(1) * PANELS
    p0 = first
    if PANELS > 1:  # the last program begins where whole panels still fit
        p0 = tl.minimum(first, (N + 15) // 16 - PANELS)
    n0 = p0 * 16

    acc = tl.zeros((BLOCK_M, 16 * PANELS), tl.float32)
    if ws is None:
        size = (K + 1) // 2 * 32 if w.dtype.element_ty == tl.bfloat16 else K * 16
        acc = plain(x + m0.to(tl.int64) * sx, w + p0.to(tl.int64) * size, K, sx, acc, BLOCK_M, PANELS)
    else:
        NIBBLES: tl.constexpr = w.dtype.element_ty == tl.uint8
        STEP: tl.constexpr = 16 if NIBBLES else 32  # stored elements of a row of w in a block
        blocks = K // 32
        k = tl.arange(0, STEP)
        to = n % 16 * 4
        xp = x + m0.to(tl.int64) * sx + m[:, None] * sx + k[None, :]
        at = m0.to(tl.int64) * blocks + m * blocks
        panel_bytes = blocks * (16 * STEP)
        wp = w + p0.to(tl.int64) * panel_bytes + (k // 4 * 64 + k % 4)[:, None] + (n // 16 * panel_bytes + to)[None, :]
        sp = ws + p0.to(tl.int64) * (blocks * 16) + n // 16 * (blocks * 16) + n % 16

        for b in range(0, blocks):
            scale = tl.load(xs + at + b)[:, None] * tl.load(sp + b * 16).to(tl.float32)[None, :]
            wv = tl.load(wp + b * (16 * STEP))
            xv = tl.load(xp + b * 32)
            if NIBBLES:
                part = tl.zeros((BLOCK_M, 16 * PANELS), tl.int32) - 8 * tl.load(xc + at + b)[:, None]
                part = tl.dot(xv, (wv & 15).to(tl.int8), part, out_dtype=tl.int32)
                part = tl.dot(tl.load(xp + b * 32 + 16), (wv >> 4).to(tl.int8), part, out_dtype=tl.int32)
            else:
                part = tl.dot(xv, wv, out_dtype=tl.int32)
            acc += part.to(tl.float32) * scale

    inside = n0 + n < N
    if PANELS > 1:
        inside = inside & (n0 + n >= first * 16)
    if bias is not None:
        acc += tl.load(bias + n0 + n, mask=inside, other=0.0).to(tl.float32)[None, :]
    yp = y + m0.to(tl.int64) * sy + m[:, None] * sy + (n0 + n)[None, :]
    out = acc.to(y.dtype.element_ty)
    if (m0 + BLOCK_M <= n_rows) & (first * 16 + 16 * PANELS <= N):
        tl.store(yp, out)
    else:
        tl.store(yp, out, mask=(m0 + m < n_rows)[:, None] & inside[None, :])
