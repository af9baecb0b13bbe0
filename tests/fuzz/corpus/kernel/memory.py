"""loads, stores and atomics with their hints; hints are promises about a value"""
import triton
import triton.language as tl


# kiln: k(p: *f32, q: *f32, n: i32)[num_warps=8, debug=True]
@triton.jit
def k(p, q, n):
    o = tl.max_contiguous(tl.multiple_of(tl.arange(0, 32) + n * 32, 32), 32)
    x = tl.load(p + o, mask=o < n, cache_modifier=".cg", eviction_policy="evict_first")
    tl.store(q + o, x, mask=o < n, cache_modifier=".cs", eviction_policy="evict_last")
    old = tl.atomic_add(q + o, x, sem="relaxed", scope="cta")
    tl.atomic_max(q, 3.0)
    tl.debug_barrier()
    tl.atomic_cas(q.to(tl.pointer_type(tl.int32)), 0, n)
    tl.assume(n > 0)
    tl.device_assert(n > 0, "n is positive")
    tl.store(q, tl.load(p, volatile=True) + tl.sum(old))
