"""probes   products and streams in the shapes that tell which machine instructions an architecture is given

Of use to nobody else: sizes are multiples of the tiles, every address keeps its 16-byte promise, so nothing
stands between a dot and the tensor cores, or between a row and 16-byte accesses.
"""
import triton
import triton.language as tl


# kiln: product(y: *f32:16, a: *f16:16, b: *f16:16, K: i32:16, BM=64, BN=64, BK={32,64})[num_warps={4,8}] grid=(1,) K={64,128} y=zeros(BM*BN) a=randn(BM*K) b=randn(K*BN)
# kiln: product(y: *f32:16, a: *bf16:16, b: *bf16:16, K: i32:16, BM=64, BN=64, BK={32,64})[num_warps={4,8}] grid=(1,) K={64,128} y=zeros(BM*BN) a=randn(BM*K) b=randn(K*BN)
# kiln: product(y: *f32:16, a: *f32:16, b: *f32:16, K: i32:16, BM=64, BN=64, BK=32)[num_warps=4] grid=(1,) K={32,96} y=zeros(BM*BN) a=ints(-9,9,BM*K) b=ints(-9,9,K*BN)
# kiln: product(y: *f32:16, a: *f8e4m3:16, b: *f8e4m3:16, K: i32:16, BM=64, BN=64, BK=64)[num_warps=4] grid=(1,) K={64,128} y=zeros(BM*BN) a=ints(-3,4,BM*K) b=ints(-3,4,K*BN)
# kiln: product(y: *i32:16, a: *i8:16, b: *i8:16, K: i32:16, BM=64, BN=64, BK=64)[num_warps=4] grid=(1,) K={64,128} y=zeros(BM*BN) a=ints(-99,99,BM*K) b=ints(-99,99,K*BN)
@triton.jit
def product(y, a, b, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.arange(0, BM)[:, None]
    n = tl.arange(0, BN)[None, :]
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), dtype=y.dtype.element_ty)
    for k0 in range(0, K, BK):
        at = tl.load(a + m * K + k0 + k[None, :])
        bt = tl.load(b + (k0 + k[:, None]) * BN + n)
        acc = tl.dot(at, bt, acc)
    tl.store(y + m * BN + n, acc)


# kiln: stream(y: *{f32,f16,bf16}:16, x: *{f32,f16,bf16}:16, BLOCK={1024,2048})[num_warps=4] grid=(2,) y=zeros(2*BLOCK) x=randn(2*BLOCK)
@triton.jit
def stream(y, x, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, (tl.load(x + at).to(tl.float32) * 2.0).to(y.dtype.element_ty))
