"""embed   y[t] = table[token[t]], the first step of a model

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
