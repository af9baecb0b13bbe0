"""embed, embed_panel   y[t] = table[token[t]], the first step of a model; the table by rows, or in panels of 16 rows

y       [rows, n]         rows `sy` apart
table   [vocab, n]        f32, f16 or bf16, or the int8 codes of Q8_0
        u8: Q4_0, [vocab, n / 2] bytes as in the file: byte i of a block of 32 holds elements i (low) and i + 16 (high)
scale   [vocab, n / 32]   f16, one per block: element = code * scale, of Q4_0 (nibble - 8) * scale; None for the other types
token   [rows] i32        an id outside 0 .. vocab-1 gives a row of zeros
rows    [1] i32           how many rows there are, read on the device
grid    (upper bound of rows, ceil(n / BLOCK))
bound   memory; exact up to the rounding to the dtype of y
"""
import triton
import triton.language as tl


# kiln: embed(y: *f32:16, table: *{f32,f16,bf16}, scale: None, token: *i32, rows: *i32, vocab: i32, n: i32, sy: i32, BLOCK={64,256})[num_warps=4]
# kiln:+ grid=(R+1,cdiv(n,BLOCK)) R={0,1,9} n={1,64,BLOCK+5} vocab={1,37} sy=n+1 rows=full(R,1) token=ints(-1,vocab+1,R+1)
# kiln:+ y=randn((R+1)*sy) table=randn(vocab*n)
# kiln: embed(y: *f32:16, table: *i8:16, scale: *f16, token: *i32, rows: *i32, vocab: i32, n: i32, sy: i32, BLOCK=64)[num_warps=4]
# kiln:+ grid=(R,cdiv(n,BLOCK)) R={1,9} n={32,64,160} vocab={1,37} sy=n rows=full(R,1) token=ints(0,vocab,R)
# kiln:+ y=randn(R*sy) table=ints(-127,128,vocab*n) scale=uniform(0.001,0.02,vocab*n//32)
# kiln: embed(y: *f32:16, table: *u8:16, scale: *f16, token: *i32, rows: *i32, vocab: i32, n: i32, sy: i32, BLOCK={32,128})[num_warps=4]
# kiln:+ grid=(R,cdiv(n,BLOCK)) R={1,9} n={32,64,160} vocab={1,37} sy=n rows=full(R,1) token=ints(0,vocab,R)
# kiln:+ y=randn(R*sy) table=ints(0,256,vocab*n//2) scale=uniform(0.001,0.02,vocab*n//32)
# kiln: embed(y: *bf16:16, table: *bf16:16, scale: None, token: *i32, rows: *i32, vocab: i32, n: i32:16, sy: i32:16, BLOCK=256)[num_warps=4]
# kiln:+ grid=(R,cdiv(n,BLOCK)) R={1,9} n={64,512} vocab={1,37} sy=n rows=full(R,1) token=ints(0,vocab,R) y=randn(R*sy) table=randn(vocab*n)
@triton.jit
def embed(y, table, scale, token, rows, vocab, n, sy, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    if row >= tl.load(rows):
        return
    tok = tl.load(token + row)
    known = (tok >= 0) & (tok < vocab)
    src = tok.to(tl.int64) * n
    yp = y + row.to(tl.int64) * sy

    if table.dtype.element_ty == tl.uint8:
        j = tl.program_id(1) * (BLOCK // 2) + tl.arange(0, BLOCK // 2)
        col = j // 16 * 32 + j % 16
        here = col < tl.where(known, n, 0)
        b = tl.load(table + src // 2 + j, mask=here, other=0)
        s = tl.load(scale + src // 32 + col // 32, mask=here, other=0.0).to(tl.float32)
        low = ((b & 15).to(tl.int8) - 8).to(tl.float32) * s
        high = ((b >> 4).to(tl.int8) - 8).to(tl.float32) * s
        tl.store(yp + col, low.to(y.dtype.element_ty), mask=col < n)
        tl.store(yp + col + 16, high.to(y.dtype.element_ty), mask=col < n)
    else:
        col = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        here = col < tl.where(known, n, 0)
        v = tl.load(table + src + col, mask=here, other=0).to(tl.float32)
        if scale is not None:
            v = v * tl.load(scale + src // 32 + col // 32, mask=here, other=0.0).to(tl.float32)
        tl.store(yp + col, v.to(y.dtype.element_ty), mask=col < n)


# kiln: embed_panel(y: *f32:16, w: *{f32,f16,bf16}, wh: None, sc: None, mn: None, sd: None, token: *i32, rows: *i32, vocab: i32, n: i32, sy: i32, BLOCK={64,256})[num_warps=4]
# kiln:+ grid=(R+1,cdiv(n,BLOCK)) R={0,1,9} n={1,64,BLOCK+5} vocab={1,37} P=cdiv(vocab,16) sy=n+1 rows=full(R,1) token=ints(-1,vocab+1,R+1)
# kiln:+ y=randn((R+1)*sy) w=randn(P*16*(n+n%2))
# kiln: embed_panel(y: *f32:16, w: *{i8,u8}:16, wh: None, sc: *f16, mn: None, sd: None, token: *i32, rows: *i32, vocab: i32, n: i32, sy: i32, BLOCK={64,128})[num_warps=4]
# kiln:+ grid=(R,cdiv(n,BLOCK)) R={1,9} n={32,64,160} vocab={1,37} P=cdiv(vocab,16) sy=n rows=full(R,1) token=ints(-1,vocab+1,R)
# kiln:+ y=randn(R*sy) w=ints(0,128,P*16*n) sc=uniform(0.001,0.02,P*n//2)
# kiln: embed_panel(y: *f32:16, w: *u8:16, wh: {None,*u8:16}, sc: *u8, mn: *u8, sd: *f16, token: *i32, rows: *i32, vocab: i32, n: i32, sy: i32, BLOCK={64,256})[num_warps=4]
# kiln:+ grid=(R,cdiv(n,BLOCK)) R={1,9} n={256,512} vocab={1,37} P=cdiv(vocab,16) sy=n rows=full(R,1) token=ints(-1,vocab+1,R)
# kiln:+ y=randn(R*sy) w=ints(0,256,P*8*n) wh=ints(0,256,P*2*n) sc=ints(0,64,P*n//2) mn=ints(0,64,P*n//2) sd=uniform(0.0001,0.002,P*n//8)
# kiln: embed_panel(y: *f32:16, w: *u8:16, wh: *u8:16, sc: *i8, mn: None, sd: *f16, token: *i32, rows: *i32, vocab: i32, n: i32, sy: i32, BLOCK={64,256})[num_warps=4]
# kiln:+ grid=(R,cdiv(n,BLOCK)) R={1,9} n={256,512} vocab={1,37} P=cdiv(vocab,16) sy=n rows=full(R,1) token=ints(-1,vocab+1,R)
# kiln:+ y=randn(R*sy) w=ints(0,256,P*8*n) wh=ints(0,256,P*4*n) sc=ints(-127,128,P*n) sd=uniform(0.0001,0.002,P*n//16)
# y     as above; the table lies in panels of 16 rows, whose planes panel.py and panel_k.py describe:
#       w codes, wh bits above the fourth, sc scales (of Q8_0 and Q4_0 f16, of a K type its own), mn minima, sd d and dmin;
#       planes that the type lacks are None. Plain types: [P, n, 16], bf16 [P, ceil(n / 2), 16, 2]
@triton.jit
def embed_panel(y, w, wh, sc, mn, sd, token, rows, vocab, n, sy, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    if row >= tl.load(rows):
        return
    tok = tl.load(token + row)
    known = (tok >= 0) & (tok < vocab)
    panel = (tok // 16).to(tl.int64) * 16  # its first row
    lane = tok % 16
    col = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    here = col < tl.where(known, n, 0)
    block = col // 32
    quad = lane * 4 + col % 4  # of a run of 64: four columns of sixteen rows

    if w.dtype.element_ty == tl.uint8:
        b = tl.load(w + panel * (n // 2) + block * 256 + col % 16 // 4 * 64 + quad, mask=here, other=0).to(tl.int32)
        code = tl.where(col % 32 < 16, b & 15, b >> 4)
        if wh is not None and mn is None:
            bits = tl.load(wh + panel * (n // 4) + col // 16 * 64 + quad, mask=here, other=0).to(tl.int32)
            code = (code | (bits >> col % 16 // 4 * 2 & 3) << 4) - 32
        elif wh is not None:
            bits = tl.load(wh + panel * (n // 8) + block * 64 + quad, mask=here, other=0).to(tl.int32)
            code = code | (bits >> col % 32 // 4 & 1) << 4
        elif sd is None:
            code = code - 8
        v = code.to(tl.float32)
    elif w.dtype.element_ty == tl.int8:
        v = tl.load(w + panel * n + col // 4 * 64 + quad, mask=here, other=0).to(tl.float32)
    elif w.dtype.element_ty == tl.bfloat16:
        v = tl.load(w + panel * ((n + 1) // 2 * 2) + col // 2 * 32 + lane * 2 + col % 2, mask=here, other=0.0).to(tl.float32)
    else:
        v = tl.load(w + panel * n + col * 16 + lane, mask=here, other=0.0).to(tl.float32)

    if sd is None:
        if sc is not None:
            v = v * tl.load(sc + panel * (n // 32) + block * 16 + lane, mask=here, other=0.0).to(tl.float32)
    elif mn is None:
        d = tl.load(sd + panel * (n // 256) + col // 256 * 16 + lane, mask=here, other=0.0).to(tl.float32)
        v = v * (d * tl.load(sc + panel * (n // 16) + col // 16 * 16 + lane, mask=here, other=0).to(tl.float32))
    else:
        at = sd + panel * (n // 128) + col // 256 * 32 + lane
        d = tl.load(at, mask=here, other=0.0).to(tl.float32)
        least = tl.load(at + 16, mask=here, other=0.0).to(tl.float32)
        side = panel * (n // 32) + block * 16 + lane
        least = least * tl.load(mn + side, mask=here, other=0).to(tl.float32)
        v = v * (d * tl.load(sc + side, mask=here, other=0).to(tl.float32)) - least
    tl.store(y + row.to(tl.int64) * sy + col, v.to(y.dtype.element_ty), mask=col < n)
