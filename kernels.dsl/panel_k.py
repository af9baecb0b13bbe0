"""panel_k   y = x w^T + bias, Q4_K, Q5_K and Q6_K weights in panels of 16 rows: panel.py for blocks with scales of their own

y       [rows, N]           rows `sy` apart
x       [rows, K]           rows `sx` apart: int8 codes; readable up to a multiple of BLOCK_M rows, as xs and xc are
xs      [rows, K / 32] f32  x = code * xs
xc      [rows, K / 32] i32  sums of the codes of a block; Q6_K, which needs those of its halves, takes them itself
w       u8 [P, K / 32, 4 j, 16 n, 4 i]: low four bits of a code; low nibble k = 4 j + i of a block of 32, high nibble k + 16.
        P panels of 16 rows n of the matrix, rows past N are zero
wh      the bits above, None for Q4_K
        Q5_K, [P, K / 32, 16 n, 4 i]: bit s of a byte is of k = 4 s + i
        Q6_K, [P, K / 32, 2 h, 16 n, 4 i]: bits 2 f, 2 f + 1 of a byte are of k = 16 h + 4 f + i
sc      [P, K / 32, 16] u8; Q6_K [P, K / 16, 16] i8: scales
mn      [P, K / 32, 16] u8, minima; None for Q6_K
sd      f16 [P, K / 256, 2, 16], d and dmin; Q6_K [P, K / 256, 16], d
        w = d * sc * code - dmin * mn; Q6_K d * sc * (code - 32)
bias    [N]                 None: none
rows    [1] i32             how many rows of x there are, read on the device
grid    (ceil(upper bound of rows / BLOCK_M), ceil(N / (16 PANELS))): the programs that read one panel are neighbours.
        PANELS <= P
K       a multiple of 256
sums    of a block's products in int32, exact; the rest in f32: error below K / 8 ulp of the sum of absolute products
bound   memory for one row of x, arithmetic from about 8 rows on
source  the K types of GGUF; minima leave the inner sum: sum of x (d sc code - dmin mn) = d sc (x . code) - dmin mn (sum of x)

    first    acc[m, n] = - sum over blocks of (xs xc)[m] * (dmin mn)[n]     a small product of its own, all in registers
    block    part[m, n] = x[m] . code[n]      4 bytes of x[m] in every lane against 4 bytes of 16 rows, 8 times
             acc[m, n] += part * (xs[m] * (d sc)[n])
    Q6_K     has a scale per 16: two parts. Its codes are 32 too large: 32 times the sum of x's codes is taken off
"""
import triton
import triton.language as tl


# kiln: panel_k(y: *f32:16, x: *i8:16, xs: *f32, xc: *i32, w: *u8:16, wh: {None,*u8:16}, sc: *u8:16, mn: *u8:16, sd: *f16:16, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32:16,
# kiln:+ BLOCK_M={1,4}, PANELS={1,2})[num_warps=4] grid=(cdiv(R+1,BLOCK_M),cdiv(N,16*PANELS)) R={0,1,2,5,9} N={17,32,40} K={256,512}
# kiln:+ P=cdiv(N,16) M=16 sy=N+1 sx=K rows=full(R,1) y=randn((R+1)*sy) x=ints(-127,128,M*sx) xs=uniform(0.001,0.02,M*K//32) xc=ints(-4064,4065,M*K//32)
# kiln:+ w=ints(0,256,P*8*K) wh=ints(0,256,P*2*K) sc=ints(0,64,P*K//2) mn=ints(0,64,P*K//2) sd=uniform(0.0001,0.002,P*K//8)
# kiln: panel_k(y: *f32, x: *i8, xs: *f32, xc: *i32, w: *u8, wh: {None,*u8}, sc: *u8, mn: *u8, sd: *f16, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ BLOCK_M={2,8}, PANELS=1)[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,16*PANELS)) R={1,3,8,11} N={1,16,17} K={0,256}
# kiln:+ P=cdiv(N,16) M=16 sy=N sx=K+3 rows=full(R,1) y=randn(R*sy) x=ints(-127,128,M*sx) xs=uniform(0.001,0.02,M*K//32) xc=ints(-4064,4065,M*K//32)
# kiln:+ w=ints(0,256,P*8*K) wh=ints(0,256,P*2*K) sc=ints(0,64,P*K//2) mn=ints(0,64,P*K//2) sd=uniform(0.0001,0.002,P*K//8) bias=randn(N)
# kiln: panel_k(y: *f32:16, x: *i8:16, xs: *f32, xc: *i32, w: *u8:16, wh: *u8:16, sc: *i8:16, mn: None, sd: *f16:16, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32:16,
# kiln:+ BLOCK_M={1,4}, PANELS={1,2})[num_warps=4] grid=(cdiv(R+1,BLOCK_M),cdiv(N,16*PANELS)) R={0,1,2,5,9} N={17,32,40} K={256,512}
# kiln:+ P=cdiv(N,16) M=16 sy=N+1 sx=K rows=full(R,1) y=randn((R+1)*sy) x=ints(-127,128,M*sx) xs=uniform(0.001,0.02,M*K//32) xc=ints(-4064,4065,M*K//32)
# kiln:+ w=ints(0,256,P*8*K) wh=ints(0,256,P*4*K) sc=ints(-127,128,P*K) sd=uniform(0.0001,0.002,P*K//16)
# kiln: panel_k(y: *f32, x: *i8, xs: *f32, xc: *i32, w: *u8, wh: *u8, sc: *i8, mn: None, sd: *f16, bias: *f32, rows: *i32, N: i32, K: i32, sy: i32, sx: i32,
# kiln:+ BLOCK_M={2,8}, PANELS=1)[num_warps=4] grid=(cdiv(R,BLOCK_M),cdiv(N,16*PANELS)) R={1,3,8,11} N={1,16,17} K={0,256}
# kiln:+ P=cdiv(N,16) M=16 sy=N sx=K+3 rows=full(R,1) y=randn(R*sy) x=ints(-127,128,M*sx) xs=uniform(0.001,0.02,M*K//32) xc=ints(-4064,4065,M*K//32)
# kiln:+ w=ints(0,256,P*8*K) wh=ints(0,256,P*4*K) sc=ints(-127,128,P*K) sd=uniform(0.0001,0.002,P*K//16) bias=randn(N)
# kiln: panel_k(y: *f32:16, x: *i8:16, xs: *f32, xc: *i32, w: *u8:16, wh: None, sc: *u8:16, mn: *u8:16, sd: *f16:16, bias: None, rows: *i32, N: i32, K: i32:16, sy: i32, sx: i32:16,
# kiln:+ BLOCK_M=4, PANELS=1)[num_warps={4,8}, num_stages={1,3,4}] grid=(cdiv(R,BLOCK_M),cdiv(N,16*PANELS)) R={1,5} N={16,48} K={0,256,512,4352}
# kiln:+ P=cdiv(N,16) M=16 sy=N sx=K rows=full(R,1) y=randn(R*sy) x=ints(-127,128,M*sx) xs=uniform(0.001,0.02,M*K//32) xc=ints(-4064,4065,M*K//32)
# kiln:+ w=ints(0,256,P*8*K) sc=ints(0,64,P*K//2) mn=ints(0,64,P*K//2) sd=uniform(0.0001,0.002,P*K//8)
@triton.jit
def panel_k(y, x, xs, xc, w, wh, sc, mn, sd, bias, rows, N, K, sy, sx, BLOCK_M: tl.constexpr, PANELS: tl.constexpr):
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

    SCALES: tl.constexpr = 32 if mn is None else 16  # of a panel in a block
    SUPER: tl.constexpr = 16 if mn is None else 32
    HIGH: tl.constexpr = 128 if mn is None else 64
    blocks = K // 32
    supers = K // 256
    start = p0.to(tl.int64)
    panel = n // 16
    lane = n % 16
    k = tl.arange(0, 16)
    i = tl.arange(0, 4)
    quad = i[:, None] + (lane * 4)[None, :]
    xp = x + m0.to(tl.int64) * sx + m[:, None] * sx
    at = m0.to(tl.int64) * blocks + m * blocks
    wp = w + start * (blocks * 256) + (panel * (blocks * 256))[None, :]
    sp = sc + start * (blocks * SCALES) + panel * (blocks * SCALES) + lane
    dp = sd + start * (supers * SUPER) + panel * (supers * SUPER) + lane
    if wh is not None:
        hp = wh + start * (blocks * HIGH) + quad + (panel * (blocks * HIGH))[None, :]

    acc = tl.zeros((BLOCK_M, 16 * PANELS), tl.float32)
    if mn is not None:  # minima: the sums of x's blocks times those of w's
        e = tl.arange(0, 8)
        a8 = at[:, None] + e[None, :]
        m8 = mn + start * (blocks * 16) + (e * 16)[:, None] + (panel * (blocks * 16) + lane)[None, :]
        for s in range(0, supers):
            sums = tl.load(xs + a8 + s * 8) * tl.load(xc + a8 + s * 8).to(tl.float32)
            least = tl.load(m8 + s * 128).to(tl.float32) * -tl.load(dp + s * 32 + 16).to(tl.float32)[None, :]
            acc = tl.dot(sums, least, acc, input_precision="ieee")

    zero = tl.zeros((BLOCK_M, 16 * PANELS), tl.int32)
    for s in range(0, supers):
        d = tl.load(dp + s * SUPER).to(tl.float32)
        for b in range(s * 8, s * 8 + 8):
            step = tl.load(xs + at + b)[:, None]
            xb = xp + b * 32
            wb = wp + b * 256
            if wh is None:
                both = tl.load(wb + (k // 4 * 64 + k % 4)[:, None] + (lane * 4)[None, :])
                part = tl.dot(tl.load(xb + k[None, :]), (both & 15).to(tl.int8), out_dtype=tl.int32)
                part = tl.dot(tl.load(xb + (k + 16)[None, :]), (both >> 4).to(tl.int8), part, out_dtype=tl.int32)
                acc += part.to(tl.float32) * ((d * tl.load(sp + b * 16).to(tl.float32))[None, :] * step)
            else:
                high0 = tl.load(hp + b * HIGH)
                high1 = high0 >> 4
                if mn is None:
                    high1 = tl.load(hp + b * HIGH + 64)
                part0 = zero
                part1 = zero
                for j in tl.static_range(4):
                    both = tl.load(wb + j * 64 + quad)
                    low = both & 15
                    high = both >> 4
                    if mn is None:
                        low |= (high0 >> 2 * j & 3) << 4
                        high |= (high1 >> 2 * j & 3) << 4
                    else:
                        low |= (high0 >> j & 1) << 4
                        high |= (high1 >> j & 1) << 4
                    part0 = tl.dot(tl.load(xb + (4 * j + i)[None, :]), low.to(tl.int8), part0, out_dtype=tl.int32)
                    part1 = tl.dot(tl.load(xb + (4 * j + 16 + i)[None, :]), high.to(tl.int8), part1, out_dtype=tl.int32)
                if mn is None:
                    part0 -= 32 * tl.sum(tl.load(xb + k[None, :]).to(tl.int32), axis=1)[:, None]
                    part1 -= 32 * tl.sum(tl.load(xb + (k + 16)[None, :]).to(tl.int32), axis=1)[:, None]
                    acc += part0.to(tl.float32) * ((d * tl.load(sp + b * 32).to(tl.float32))[None, :] * step)
                    acc += part1.to(tl.float32) * ((d * tl.load(sp + b * 32 + 16).to(tl.float32))[None, :] * step)
                else:
                    acc += (part0 + part1).to(tl.float32) * ((d * tl.load(sp + b * 16).to(tl.float32))[None, :] * step)

    inside = n0 + n < N
    if PANELS > 1:
        inside = inside & (n0 + n >= first * 16)
    if bias is not None:
        acc += tl.load(bias + n0 + n, mask=inside, other=0.0).to(tl.float32)[None, :]
    tl.store(y + m0.to(tl.int64) * sy + m[:, None] * sy + (n0 + n)[None, :], acc.to(y.dtype.element_ty),
             mask=(m0 + m < n_rows)[:, None] & inside[None, :])
