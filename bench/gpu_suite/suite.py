"""suite   what the memory and the launch path of a device can do, and numbers to measure with

copy, read, write are the ceilings that kernels are compared with: 16 bytes per thread and access, many in
flight. empty is a launch and nothing else. fill makes numbers that look normal, fill_codes whole numbers,
both from a position and a seed, so that nothing large crosses the bus.
"""
import triton
import triton.language as tl


@triton.jit
def copy(y, x, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, tl.load(x + at))


@triton.jit
def write(y, value, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, tl.zeros((BLOCK,), tl.float32) + value)


# y [programs]: each program sums `steps` blocks
@triton.jit
def read(y, x, steps, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * steps * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, steps):
        acc += tl.load(x + at + i * BLOCK)
    tl.store(y + tl.program_id(0), tl.sum(acc, axis=0))


@triton.jit
def empty(y, n):
    if n > 0:
        tl.store(y, 0.0)


@triton.jit
def mixed(at, seed):
    """32 well-mixed bits per position (the finaliser of MurmurHash3)."""
    h = (at ^ seed).to(tl.uint32)
    h = (h ^ (h >> 16)) * 0x85EBCA6B
    h = (h ^ (h >> 13)) * 0xC2B2AE35
    return h ^ (h >> 16)


# Eight bytes summed: mean 1020, deviation 209.
@triton.jit
def fill(y, seed, n, scale, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    a = mixed(at, seed)
    b = mixed(at, seed + 7919)
    s = (a & 255) + (a >> 8 & 255) + (a >> 16 & 255) + (a >> 24) + (b & 255) + (b >> 8 & 255) + (b >> 16 & 255) + (b >> 24)
    v = (s.to(tl.float32) - 1020.0) * (scale / 209.0)
    tl.store(y + at, v.to(y.dtype.element_ty), mask=at < n)


# lo .. lo + span - 1
@triton.jit
def fill_codes(y, seed, n, lo, span, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    v = (mixed(at, seed) >> 8).to(tl.int32) % span + lo
    tl.store(y + at, v.to(y.dtype.element_ty), mask=at < n)
