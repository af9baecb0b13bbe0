import triton
import triton.language as tl


SCALE = 3


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = x << 40 if BLOCK == 64 else o << 40
    z = min(x, 2.0)
    w = tl.where(n, x, 0.0)
    v = (o < n) and (o > 2)
    tl.trans(x[None, :])
    u = SCALE
    c: tl.constexpr = n
    a = b = 3
    ok = 0 < n < 3
    q = x ** 2

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 12:42: warning[W0402]: shift count 40 is outside 0 to 31
# expect: 13:9: warning[W0801]: `min` of a tile; use `tl.minimum`
# expect: 14:18: warning[W0804]: the condition of `tl.where` is int32; it is compared with 0
# expect: 15:10: warning[W0802]: `and`/`or` on tiles does not short-circuit; use `&` or `|`
# expect: 15:22: warning[W0802]: `and`/`or` on tiles does not short-circuit; use `&` or `|`
# expect: 16:5: warning[W0702]: result of `tl.trans` is unused
# expect: 17:9: warning[W0206]: `SCALE` is a plain module constant; Triton rejects it in a kernel
# help: write `SCALE = tl.constexpr(...)`
# expect: 18:5: warning[W0301]: `c` is annotated tl.constexpr but gets a run-time value
# expect: 19:5: warning[W0100]: a chained assignment: accepted here, rejected by Triton [-Wtriton-compat]
# expect: 20:10: warning[W0100]: a chained comparison: accepted here, rejected by Triton [-Wtriton-compat]
# expect: 21:9: warning[W0100]: `**` on run-time values: accepted here, rejected by Triton [-Wtriton-compat]
