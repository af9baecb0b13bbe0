"""Kernels that use every operation once, for the GPU rungs: each card runs in the interpreter and in the
emulator, and is assembled for every architecture. No kernel here is of use to anybody else."""
import triton
import triton.language as tl
from triton.language.extra import libdevice


# kiln: transpose(y: *f32:16, x: *f32:16, M={1,64}, N={4,128})[num_warps={1,4}] y=zeros(M*N) x=ints(-100,100,M*N)
# kiln: transpose(y: *f16:16, x: *f16:16, M={1,64}, N={4,128})[num_warps={1,4}] y=zeros(M*N) x=ints(-100,100,M*N)
# kiln: transpose(y: *i8:16, x: *i8:16, M={1,64}, N={4,128})[num_warps={1,4}] y=zeros(M*N) x=ints(-100,100,M*N)
# kiln: transpose(y: *i64:16, x: *i64:16, M={1,64}, N={4,128})[num_warps={1,4}] y=zeros(M*N) x=ints(-100,100,M*N)
@triton.jit
def transpose(y, x, M: tl.constexpr, N: tl.constexpr):
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    v = tl.load(x + m[:, None] * N + n[None, :])
    tl.store(y + n[:, None] * M + m[None, :], tl.trans(v))


# kiln: rows(y: *f32, x: *f32, M={1,16}, N={2,64}, AXIS={0,1})[num_warps={1,8}] y=zeros(8*M*N) x=ints(-9,9,M*N)
# kiln: rows(y: *f16, x: *f16, M={1,16}, N={2,64}, AXIS={0,1})[num_warps={1,8}] y=zeros(8*M*N) x=ints(-9,9,M*N)
# kiln: rows(y: *bf16, x: *bf16, M={1,16}, N={2,64}, AXIS={0,1})[num_warps={1,8}] y=zeros(8*M*N) x=ints(-9,9,M*N)
# kiln: rows(y: *i32, x: *i32, M={1,16}, N={2,64}, AXIS={0,1})[num_warps={1,8}] y=zeros(8*M*N) x=ints(-9,9,M*N)
# kiln: rows(y: *i8, x: *i8, M={1,16}, N={2,64}, AXIS={0,1})[num_warps={1,8}] y=zeros(8*M*N) x=ints(-9,9,M*N)
# kiln: rows(y: *f64, x: *f64, M={1,16}, N={2,64}, AXIS={0,1})[num_warps={1,8}] y=zeros(8*M*N) x=ints(-9,9,M*N)
@triton.jit
def rows(y, x, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr):
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    v = tl.load(x + m[:, None] * N + n[None, :])
    at = tl.arange(0, N if AXIS == 0 else M)
    P: tl.constexpr = M * N
    tl.store(y + at, tl.sum(v, axis=AXIS).to(y.dtype.element_ty))
    tl.store(y + P + at, tl.max(v, axis=AXIS).to(y.dtype.element_ty))
    tl.store(y + 2 * P + at, tl.min(v, axis=AXIS).to(y.dtype.element_ty))
    tl.store(y + 3 * P + at, (tl.argmax(v, axis=AXIS) % 100).to(y.dtype.element_ty))
    tl.store(y + 4 * P + at, (tl.argmin(v, axis=AXIS) % 100).to(y.dtype.element_ty))
    wide = tl.sum(v, axis=AXIS)
    tl.store(y + 5 * P + m[:, None] * N + n[None, :], (v - tl.expand_dims(wide.to(v.dtype), AXIS)).to(y.dtype.element_ty))


# kiln: bits(y: *i32, x: *i32, N={1,64,512})[num_warps=4] y=zeros(4*N) x=ints(0,1000,N)
# kiln: bits(y: *u32, x: *u32, N={1,64,512})[num_warps=4] y=zeros(4*N) x=ints(0,1000,N)
# kiln: bits(y: *i64, x: *i64, N={1,64,512})[num_warps=4] y=zeros(4*N) x=ints(0,1000,N)
@triton.jit
def bits(y, x, N: tl.constexpr):
    n = tl.arange(0, N)
    v = tl.load(x + n)
    tl.store(y, tl.xor_sum(v, axis=0))
    tl.store(y + 1 + n, (v << 3) ^ (v >> 1) | (v & 21))
    tl.store(y + 1 + N + n, v // 7 * 5 + v % 7)


@triton.jit
def chain(a1, b1, a2, b2):
    return a1 * a2, b1 * a2 + b2


@triton.jit
def both(a1, b1, a2, b2):
    return tl.maximum(a1, a2), b1 + b2


# kiln: scans(y: *f32, x: *f32, M={1,8}, N={1,128}, AXIS={0,1}, REVERSE={False,True})[num_warps={1,4}] y=zeros(4*M*N) x=ints(-2,3,M*N)
# kiln: scans(y: *i32, x: *i32, M={1,8}, N={1,128}, AXIS={0,1}, REVERSE={False,True})[num_warps={1,4}] y=zeros(4*M*N) x=ints(-2,3,M*N)
# kiln: scans(y: *f64, x: *f64, M={1,8}, N={1,128}, AXIS={0,1}, REVERSE={False,True})[num_warps={1,4}] y=zeros(4*M*N) x=ints(-2,3,M*N)
@triton.jit
def scans(y, x, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr, REVERSE: tl.constexpr):
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    at = m[:, None] * N + n[None, :]
    v = tl.load(x + at)
    tl.store(y + at, tl.cumsum(v, axis=AXIS, reverse=REVERSE).to(y.dtype.element_ty))
    P: tl.constexpr = M * N
    one = (v % 2).to(v.dtype)
    a, b = tl.associative_scan((one, v), axis=AXIS, combine_fn=chain, reverse=REVERSE)
    tl.store(y + P + at, a.to(y.dtype.element_ty))
    tl.store(y + 2 * P + at, b.to(y.dtype.element_ty))
    top, total = tl.reduce((v, one), axis=AXIS, combine_fn=both)
    other = tl.arange(0, N if AXIS == 0 else M)
    tl.store(y + 3 * P + other, (top + total).to(y.dtype.element_ty))


# kiln: order(y: *f32, x: *f32, M={1,4}, N={2,256}, K=2, DOWN={False,True})[num_warps={1,4}] y=zeros(3*M*N) x=ints(-50,50,M*N)
# kiln: order(y: *i32, x: *i32, M={1,4}, N={2,256}, K=2, DOWN={False,True})[num_warps={1,4}] y=zeros(3*M*N) x=ints(-50,50,M*N)
# kiln: order(y: *f16, x: *f16, M={1,4}, N={2,256}, K=2, DOWN={False,True})[num_warps={1,4}] y=zeros(3*M*N) x=ints(-50,50,M*N)
@triton.jit
def order(y, x, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, DOWN: tl.constexpr):
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    k = tl.arange(0, K)
    at = m[:, None] * N + n[None, :]
    v = tl.load(x + at)
    tl.store(y + at, tl.sort(v, descending=DOWN))
    tl.store(y + M * N + m[:, None] * K + k[None, :], tl.topk(v, K))
    tl.store(y + 2 * M * N + at, tl.flip(v, 1))


# kiln: pick(y: *f32, x: *f32, i: *i32, h: *i32, M=8, N={4,64}, B={4,128})[num_warps={1,4}] y=zeros(2*M*N) x=randn(M*N) i=ints(0,4,M*N) h=zeros(2*B)
@triton.jit
def pick(y, x, i, h, M: tl.constexpr, N: tl.constexpr, B: tl.constexpr):
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    at = m[:, None] * N + n[None, :]
    v = tl.load(x + at)
    j = tl.load(i + at)
    tl.store(y + at, tl.gather(v, j, 1))
    tl.store(y + M * N + at, tl.gather(v, j, 0))
    b = tl.arange(0, B)
    flat = tl.reshape(j, (M * N,))
    tl.store(h + b, tl.histogram(flat, B))
    tl.store(h + B + b, tl.histogram(flat, B, mask=flat > 1))


# kiln: pairs(y: *f32, x: *f32, N={1,16,256})[num_warps={1,4}] y=zeros(8*N) x=ints(-50,50,2*N)
# kiln: pairs(y: *i16, x: *i16, N={1,16,256})[num_warps={1,4}] y=zeros(8*N) x=ints(-50,50,2*N)
# kiln: pairs(y: *bf16, x: *bf16, N={1,16,256})[num_warps={1,4}] y=zeros(8*N) x=ints(-50,50,2*N)
@triton.jit
def pairs(y, x, N: tl.constexpr):
    n = tl.arange(0, N)
    a = tl.load(x + n)
    b = tl.load(x + N + n)
    two = tl.arange(0, 2 * N)
    tl.store(y + two, tl.interleave(a, b))
    tl.store(y + 2 * N + two, tl.cat(a, b))
    lo, hi = tl.split(tl.join(a, b))
    tl.store(y + 4 * N + n, lo - hi)
    v = tl.load(x + two)
    even, odd = tl.split(tl.reshape(v, (N, 2)))
    tl.store(y + 5 * N + n, even + odd)


# kiln: dots(y: *f32:16, a: *f32:16, b: *f32:16, M={1,64}, N=32, K={1,64}, T={False,True})[num_warps={1,4}]
# kiln:+ y=randn(M*N) a=randn(M*K) b=randn(K*N)
# kiln: dots(y: *f32:16, a: *f16:16, b: *f16:16, M={1,64}, N=32, K={1,64}, T={False,True})[num_warps={1,4}]
# kiln:+ y=randn(M*N) a=randn(M*K) b=randn(K*N)
# kiln: dots(y: *f32:16, a: *bf16:16, b: *bf16:16, M={1,64}, N=32, K={1,64}, T={False,True})[num_warps={1,4}]
# kiln:+ y=randn(M*N) a=randn(M*K) b=randn(K*N)
@triton.jit
def dots(y, a, b, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, T: tl.constexpr):
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    k = tl.arange(0, K)
    av = tl.load(a + m[:, None] * K + k[None, :])
    if T:
        bv = tl.trans(tl.load(b + n[:, None] * K + k[None, :]))
    else:
        bv = tl.load(b + k[:, None] * N + n[None, :])
    at = m[:, None] * N + n[None, :]
    acc = tl.load(y + at)
    tl.store(y + at, tl.dot(av, bv, acc, input_precision="ieee"))


# kiln: dots_of(y: *i32, z: *f64, h: *f16, a: *i8, b: *i8, c: *f64, d: *f64, e: *f16, f: *f16)[num_warps=4] y=zeros(512) z=zeros(512) h=zeros(512)
# kiln:+ a=ints(-100,100,512) b=ints(-100,100,512) c=randn(512) d=randn(512) e=randn(512) f=randn(512)
@triton.jit
def dots_of(y, z, h, a, b, c, d, e, f):
    g = tl.arange(0, 2)[:, None, None] * 256
    at = g + tl.arange(0, 16)[None, :, None] * 16 + tl.arange(0, 16)[None, None, :]
    tl.store(y + at, tl.dot(tl.load(a + at), tl.load(b + at)))
    tl.store(z + at, tl.dot(tl.load(c + at), tl.load(d + at)))
    tl.store(h + at, tl.dot(tl.load(e + at), tl.load(f + at), out_dtype=tl.float16))


# kiln: adds(y: *i32, old: *i32, N={1,16,256})[num_warps={1,4}] grid=(2,) y=ints(0,9,N+4) old=zeros(2*N+2)
# kiln: adds(y: *u32, old: *u32, N={1,16,256})[num_warps={1,4}] grid=(2,) y=ints(0,9,N+4) old=zeros(2*N+2)
# kiln: adds(y: *i64, old: *i64, N={1,16,256})[num_warps={1,4}] grid=(2,) y=ints(0,9,N+4) old=zeros(2*N+2)
# kiln: adds(y: *f32, old: *f32, N={1,16,256})[num_warps={1,4}] grid=(2,) y=ints(0,9,N+4) old=zeros(2*N+2)
# kiln: adds(y: *f64, old: *f64, N={1,16,256})[num_warps={1,4}] grid=(2,) y=ints(0,9,N+4) old=zeros(2*N+2)
# kiln: adds(y: *f16, old: *f16, N={1,16,256})[num_warps={1,4}] grid=(2,) y=ints(0,9,N+4) old=zeros(2*N+2)
# kiln: adds(y: *bf16, old: *bf16, N={1,16,256})[num_warps={1,4}] grid=(2,) y=ints(0,9,N+4) old=zeros(2*N+2)
@triton.jit
def adds(y, old, N: tl.constexpr):
    n = tl.arange(0, N)
    p = tl.program_id(0)
    was = tl.atomic_add(y + n, (n % 3 + 1).to(y.dtype.element_ty), mask=n % 2 == 0)
    tl.store(old + p * (N + 1) + n, was)
    one = tl.atomic_add(y + N, tl.full((), 2, y.dtype.element_ty))
    tl.store(old + p * (N + 1) + N, one)


# kiln: extremes(y: *{i32,u32,i64,f32}, N={1,64})[num_warps=4] grid=(3,) y=ints(-5,9,2*N+1)
@triton.jit
def extremes(y, N: tl.constexpr):
    n = tl.arange(0, N)
    x = (n * 7 % 13 - 5 + tl.program_id(0)).to(y.dtype.element_ty)
    tl.atomic_max(y + n, x)
    tl.atomic_min(y + N + n, x)


# kiln: words(y: *i32, z: *i32, N={1,64})[num_warps=4] y=ints(0,4,4*N) z=zeros(2*N)
# kiln: words(y: *i64, z: *i64, N={1,64})[num_warps=4] y=ints(0,4,4*N) z=zeros(2*N)
@triton.jit
def words(y, z, N: tl.constexpr):
    n = tl.arange(0, N)
    v = (n % 5).to(y.dtype.element_ty)
    tl.atomic_and(y + n, v)
    tl.atomic_or(y + N + n, v)
    tl.atomic_xor(y + 2 * N + n, v)
    tl.store(z + n, tl.atomic_xchg(y + 3 * N + n, v))
    tl.debug_barrier()
    tl.store(z + N + n, tl.atomic_cas(y + n, v, v + 1))


# kiln: steps(y: *f32, x: *f32, n: i32, N={16,256})[num_warps={1,4}] n={0,1,5} y=zeros(3*N) x=randn(8*N)
@triton.jit
def steps(y, x, n, N: tl.constexpr):
    i = tl.arange(0, N)
    p = x + i
    acc = tl.zeros((N,), tl.float32)
    for k in range(n):
        v = tl.load(p)
        if k % 2 == 0:
            acc += v
        else:
            acc -= v * 2
        p += N
    tl.store(y + i, acc)
    left = n
    total = tl.zeros((N,), tl.float32)
    while left > 0:
        total += tl.load(x + left * N + i)
        left -= 2
    tl.store(y + N + i, total)
    back = tl.zeros((N,), tl.float32)
    for k in range(n, 0, -1):
        back = back * 0.5 + k
    tl.store(y + 2 * N + i, back)


# kiln: functions(y: *f32, x: *f32, N=256)[num_warps=4] y=zeros(16*N) x=uniform(-12,12,N)
# kiln: functions(y: *f64, x: *f64, N=256)[num_warps=4] y=zeros(16*N) x=uniform(-12,12,N)
@triton.jit
def functions(y, x, N: tl.constexpr):
    n = tl.arange(0, N)
    v = tl.load(x + n)
    a = tl.abs(v) + 0.001
    tl.store(y + n, tl.exp(v) * 1e-5)
    tl.store(y + N + n, tl.exp2(v))
    tl.store(y + 2 * N + n, tl.log(a))
    tl.store(y + 3 * N + n, tl.log2(a))
    tl.store(y + 4 * N + n, tl.sqrt(a))
    tl.store(y + 5 * N + n, tl.rsqrt(a))
    tl.store(y + 6 * N + n, tl.sin(v))
    tl.store(y + 7 * N + n, tl.cos(v))
    tl.store(y + 8 * N + n, tl.erf(v * 0.3))
    tl.store(y + 9 * N + n, libdevice.tanh(v * 0.3))
    tl.store(y + 10 * N + n, tl.floor(v) + tl.ceil(v))
    tl.store(y + 11 * N + n, tl.where(v > 1, v / a, v % 3.0))
    tl.store(y + 12 * N + n, tl.fma(v, a, v))
    tl.store(y + 13 * N + n, tl.minimum(v, a) - tl.maximum(v, 2.0))
    tl.store(y + 14 * N + n, tl.sigmoid(v))


# kiln: casts(a: *i8, b: *i16, c: *i32, d: *i64, e: *u8, f: *u32, g: *f16, h: *bf16, i: *f32, j: *f64, x: *{i8,u8,i16,i32,i64,u32,f16,bf16,f32,f64,fp8e4nv,fp8e5}, N=256)
# kiln:+ [num_warps=4] a=zeros(N) b=zeros(N) c=zeros(N) d=zeros(N) e=zeros(N) f=zeros(N) g=zeros(N) h=zeros(N) i=zeros(N) j=zeros(N) x=uniform(0,127,N)
@triton.jit
def casts(a, b, c, d, e, f, g, h, i, j, x, N: tl.constexpr):
    n = tl.arange(0, N)
    v = tl.load(x + n)
    tl.store(a + n, v.to(tl.int8))
    tl.store(b + n, v.to(tl.int16))
    tl.store(c + n, v.to(tl.int32))
    tl.store(d + n, v.to(tl.int64))
    tl.store(e + n, v.to(tl.uint8))
    tl.store(f + n, v.to(tl.uint32))
    tl.store(g + n, v.to(tl.float16))
    tl.store(h + n, v.to(tl.bfloat16))
    tl.store(i + n, v.to(tl.float32))
    tl.store(j + n, v.to(tl.float64))


# kiln: narrow(a: *fp8e4nv, b: *fp8e5, c: *f16, d: *bf16, e: *i8, x: *{f32,f64}, N=1024)[num_warps=4] a=zeros(N) b=zeros(N) c=zeros(2*N) d=zeros(2*N) e=zeros(N)
# kiln:+ x=sometimes(nan,0.02,uniform(-600,600,N))
@triton.jit
def narrow(a, b, c, d, e, x, N: tl.constexpr):
    n = tl.arange(0, N)
    v = tl.load(x + n)
    tiny = v * 0.0001
    w = tl.where(n % 2 == 0, v, tiny)
    tl.store(a + n, w.to(tl.float8e4nv))
    tl.store(b + n, w.to(tl.float8e5))
    tl.store(c + n, w.to(tl.float16))
    tl.store(d + n, w.to(tl.bfloat16))
    tl.store(c + N + n, v.to(tl.float32).to(tl.float16, fp_downcast_rounding="rtz"))
    tl.store(d + N + n, v.to(tl.float32).to(tl.bfloat16, fp_downcast_rounding="rtz"))
    tl.store(e + n, v.to(tl.int8))


# kiln: in_place(x: *f32, n: *i32, N={32,256})[num_warps=4] grid=(2,) x=randn(2*N) n=ints(0,5,2)
@triton.jit
def in_place(x, n, N: tl.constexpr):
    p = x + tl.program_id(0) * N + tl.arange(0, N)
    v = tl.load(p)
    tl.store(p, v + 1)
    again = tl.load(p)
    tl.store(p, again * 2)
    c = n + tl.program_id(0)
    tl.store(c, tl.load(c) + 1)
    tl.store(c, tl.load(c) * 3)


# kiln: masked(y: *f32, x: *f32, n: i32, N={16,256})[num_warps={1,4}] n={0,1,N-1,N} y=zeros(3*N) x=ints(-9,9,3*N)
# kiln: masked(y: *f16, x: *f16, n: i32, N={16,256})[num_warps={1,4}] n={0,1,N-1,N} y=zeros(3*N) x=ints(-9,9,3*N)
# kiln: masked(y: *i8, x: *i8, n: i32, N={16,256})[num_warps={1,4}] n={0,1,N-1,N} y=zeros(3*N) x=ints(-9,9,3*N)
@triton.jit
def masked(y, x, n, N: tl.constexpr):
    i = tl.arange(0, N)
    live = i < n
    v = tl.load(x + i * 3, mask=live & (i % 3 != 1), other=7)
    tl.store(y + i * 3 + 1, v, mask=live)
    w = tl.load(x + i, mask=live, other=3, cache_modifier=".cg")
    tl.store(y + i * 3, w, mask=live, eviction_policy="evict_first")


# kiln: cube(y: *f32, x: *f32, A={1,4}, B={2,16}, C={1,8})[num_warps={1,4}] y=zeros(5*A*B*C) x=randn(A*B*C)
@triton.jit
def cube(y, x, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    a = tl.arange(0, A)
    b = tl.arange(0, B)
    c = tl.arange(0, C)
    at = a[:, None, None] * (B * C) + b[None, :, None] * C + c[None, None, :]
    v = tl.load(x + at)
    P: tl.constexpr = A * B * C
    middle = tl.sum(v, axis=1)
    tl.store(y + a[:, None] * C + c[None, :], middle)
    tl.store(y + P + at, v - middle[:, None, :])
    turned = tl.permute(v, (2, 0, 1))
    tl.store(y + 2 * P + c[:, None, None] * (A * B) + a[None, :, None] * B + b[None, None, :], turned)
    flat = tl.reshape(v, (B, A * C))
    tl.store(y + 3 * P + b[:, None] * (A * C) + tl.arange(0, A * C)[None, :], flat * 2)
    tl.store(y + 4 * P, tl.sum(tl.max(tl.min(v, axis=2), axis=0), axis=0))


# kiln: outer(y: *f32, u: *f32, v: *f32, i: *i32, M={1,16}, N={4,64})[num_warps={1,4}] y=zeros(3*M*N) u=randn(4*N) v=randn(4*N) i=ints(0,4,M)
@triton.jit
def outer(y, u, v, i, M: tl.constexpr, N: tl.constexpr):
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    at = m[:, None] * N + n[None, :]
    a = tl.load(u + m)
    b = tl.load(v + n)
    tl.store(y + at, a[:, None] * b[None, :])
    row = tl.load(i + m)
    tl.store(y + M * N + at, tl.load(u + row[:, None] * N + n[None, :]))
    w = tl.where(row[:, None] > 1, u + n[None, :], v + n[None, :])
    tl.store(y + 2 * M * N + at, tl.load(w))


# kiln: branches(y: *f32, x: *f32, n: i32, N={8,256})[num_warps={1,4}] n={0,1,2,7} y=zeros(2*N) x=randn(8*N)
@triton.jit
def branches(y, x, n, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    if n > 1:
        v = v + tl.sum(v, axis=0)
        if n > 2:
            v = tl.flip(v)
    else:
        v = tl.cumsum(v, axis=0)
    best = v
    for k in range(0, n):
        w = tl.load(x + k * N + i)
        for j in range(0, k):
            w = w * 0.5 + best
        best = tl.maximum(best, w)
        if tl.max(best, axis=0) > 6.0:
            best = best - 1.0
    tl.store(y + i, v)
    tl.store(y + N + i, best)


# kiln: flags(y: *i1, x: *i1, z: *i8, N={4,256})[num_warps=4] y=zeros(3*N) x=ints(0,2,N) z=zeros(2*N)
@triton.jit
def flags(y, x, z, N: tl.constexpr):
    n = tl.arange(0, N)
    v = tl.load(x + n)
    tl.store(y + n, ~v)
    tl.store(y + N + n, v & (n > 3))
    tl.store(y + 2 * N + n, tl.flip(v))
    tl.store(z + n, v.to(tl.int8) * 5)
    tl.store(z + N + n, tl.where(v, 1, -1))


# kiln: weights(y: *f32:16, x: *f32:16, w: *i8:16, s: *f16, N={8,64}, K={32,128})[num_warps={1,4}] y=zeros(N) x=randn(K) w=ints(-127,128,N*K) s=uniform(0.01,0.1,N*K//32)
@triton.jit
def weights(y, x, w, s, N: tl.constexpr, K: tl.constexpr):
    n = tl.arange(0, N)
    k = tl.arange(0, K)
    scale = tl.load(s + n[:, None] * (K // 32) + (k // 32)[None, :])
    q = tl.load(w + n[:, None] * K + k[None, :]).to(tl.float32) * scale.to(tl.float32)
    tl.store(y + n, tl.sum(q * tl.load(x + k)[None, :], axis=1))


# kiln: nibbles(y: *f32:16, x: *u8:16, N={8,256})[num_warps={1,4}] y=zeros(2*N) x=ints(0,256,N)
@triton.jit
def nibbles(y, x, N: tl.constexpr):
    n = tl.arange(0, N)
    v = tl.load(x + n)
    low = (v & 15).to(tl.int8) - 8
    high = (v >> 4).to(tl.int8) - 8
    tl.store(y + tl.arange(0, 2 * N), tl.interleave(low, high).to(tl.float32))


# kiln: packed(y: *f16:16, x: *f16:16, w: *i32:16, s: *f16:16, N: i32:16, K: i32:16, BM={4,16}, BN=64, BK=64)[num_warps={1,4}]
# kiln:+ grid=(1,N//BN) N={64,128} K={64,192} y=zeros(BM*N) x=randn(BM*K) w=ints(-2000000000,2000000000,N*K//8) s=uniform(0.001,0.02,N*K//32)
@triton.jit
def packed(y, x, w, s, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for k0 in range(0, K, BK):
        xv = tl.load(x + m[:, None] * K + (k0 + k)[None, :])
        q = tl.load(w + n[None, :] * (K // 8) + k0 // 8 + (k // 8)[:, None])
        sv = tl.load(s + n[None, :] * (K // 32) + k0 // 32 + (k // 32)[:, None])
        wv = ((q >> ((k % 8) * 4)[:, None]) & 15) - 8
        acc = tl.dot(xv, wv.to(tl.float16) * sv, acc)
    tl.store(y + m[:, None] * N + n[None, :], acc.to(tl.float16))
