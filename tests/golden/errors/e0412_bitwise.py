import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x & 1
    z = ~x
    w = tl.xor_sum(x, 0)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0412]: `&` needs integers, got float16[128] and 1
# expect: 10:9: error[E0412]: `~` needs an integer, got float16[128]
# expect: 11:20: error[E0412]: `tl.xor_sum` needs integers, got float16[128]
