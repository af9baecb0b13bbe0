import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.load(p, cache_modifier=".xx")
    z = tl.load(p, eviction_policy="never")
    a = tl.zeros((64, 64), tl.float32)
    w = tl.dot(a, a, input_precision="fp99")
    tl.atomic_add(p, 1.0, sem="weak")

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:35: error[E0804]: `cache_modifier` must be one of "", ".ca", ".cg", ".cs", ".cv", got ".xx"
# expect: 10:36: error[E0804]: `eviction_policy` must be one of "", "evict_first", "evict_last", got "never"
# expect: 12:38: error[E0804]: `input_precision` must be "tf32", "tf32x3", "ieee", "bf16x3" or "bf16x6", got "fp99"
# expect: 13:31: error[E0804]: `sem` must be one of "acq_rel", "acquire", "release", "relaxed", got "weak"
