"""argmax, sample   from logits to tokens, on the device and without a sort

token   [rows] i32           the chosen ids; -1 where no logit of the row is above -inf
logits  [.., vocab]          rows `sx` apart; NaN counts as -inf
ends    [rows] i32           row i is drawn from row ends[i] - 1 of logits (the last of sequence i); None: from row i
rows    [1] i32              how many rows there are, read on the device
temperature, top_p, min_p    [rows] f32;  top_k [rows] i32;  seed [rows] i64;  step [rows] i32 or None: 0
grid    (upper bound of rows,)

sample keeps the top_k largest logits (<= 0: all), of those the shortest most-probable prefix whose mass
reaches top_p (>= 1: all), of those the ones with p >= min_p * the largest p (<= 0: all), and draws from
exp(logit / temperature). Ties keep the lower id. temperature <= 0 takes the largest logit.
TEMPERATURE_LAST: top_p and min_p look at probabilities of temperature 1 (llama.cpp's order); else at those
of the row's own temperature (vLLM's). The draw is a function of (seed, step) alone: Philox 4x32-10.

How    A float's bits, its sign folded in, order like an integer; the k-th largest is found by bisecting
       32 bits, and so is the logit at which the mass above reaches top_p. A kept set is "key above `low`,
       and the first `ties` ids whose key is `low`"; then one pass of prefix sums finds the drawn id.
cost   a few passes over the row when filters are off, about 20 for top_k and 30 for top_p; a row stays in cache
source Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Philox);
       Holtzman et al. 2020 (arXiv:1904.09751) (top-p); order of filters: llama.cpp's default chain
"""
import triton
import triton.language as tl


# kiln: argmax(token: *i32, logits: *f32:16, ends: None, rows: *i32, vocab: i32, sx: i32, BLOCK={64,1024})[num_warps=4] grid=(R+1,) R={0,1,4}
# kiln:+ vocab={1,37,512,1500} sx=vocab+1 rows=full(R,1) token=ints(-5,0,R+1) logits=sometimes(-inf,0.2,ints(-9,9,(R+1)*sx))
# kiln: argmax(token: *i32, logits: *bf16, ends: *i32, rows: *i32, vocab: i32, sx: i32, BLOCK=256)[num_warps=4] grid=(R,) R={1,4}
# kiln:+ vocab={1,512} sx=vocab rows=full(R,1) ends=picks(3*R,R) token=ints(-5,0,R) logits=sometimes(nan,0.3,randn(3*R*sx))
@triton.jit
def argmax(token, logits, ends, rows, vocab, sx, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    if row >= tl.load(rows):
        return
    src = row
    if ends is not None:
        src = tl.load(ends + row) - 1
    top, best = largest(logits + src.to(tl.int64) * sx, vocab, BLOCK)
    tl.store(token + row, tl.where(top > float("-inf"), best, -1))


@triton.jit
def largest(x, vocab, BLOCK: tl.constexpr):
    """The largest of x[0 .. vocab-1] and the lowest id that has it."""
    lane = tl.arange(0, BLOCK)
    top = tl.full((BLOCK,), float("-inf"), tl.float32)
    at = tl.zeros((BLOCK,), tl.int32)
    for i in range(0, vocab, BLOCK):
        v = tl.load(x + i + lane, mask=i + lane < vocab, other=float("-inf")).to(tl.float32)
        better = v > top
        top = tl.where(better, v, top)
        at = tl.where(better, i + lane, at)
    best = tl.max(top, axis=0)
    return best, tl.min(tl.where(top == best, at, 2147483647), axis=0)


@triton.jit
def order(v):
    """Integers that compare as the floats v do; NaN and -inf below all others."""
    bits = v.to(tl.int32, bitcast=True)
    key = tl.where(bits < 0, bits ^ 2147483647, bits)
    return tl.where(v > float("-inf"), key, -2147483647)


@triton.jit
def kept(key, low, ties, n_ties):
    """Which of a block are kept by (low, ties), n_ties having been met before; and how many were met then."""
    tied = ((key == low) & (key > -2147483647)).to(tl.int32)
    before = n_ties + tl.cumsum(tied, axis=0)
    return (key > low) | ((tied > 0) & (before <= ties)), n_ties + tl.sum(tied, axis=0)


@triton.jit
def count_from(x, vocab, bound, BLOCK: tl.constexpr):
    """How many of x have a key >= bound, -inf and NaN left out."""
    lane = tl.arange(0, BLOCK)
    n = tl.zeros((BLOCK,), tl.int32)
    for i in range(0, vocab, BLOCK):
        key = order(tl.load(x + i + lane, mask=i + lane < vocab, other=float("-inf")).to(tl.float32))
        n += ((key >= bound) & (key > -2147483647)).to(tl.int32)
    return tl.sum(n, axis=0)


@triton.jit
def mass_from(x, vocab, bound, low, ties, top, scale, BLOCK: tl.constexpr):
    """The sum of exp((x - top) * scale) over entries kept by (low, ties) with a key >= bound."""
    lane = tl.arange(0, BLOCK)
    mass = 0.0
    n_ties = 0
    for i in range(0, vocab, BLOCK):
        v = tl.load(x + i + lane, mask=i + lane < vocab, other=float("-inf")).to(tl.float32)
        key = order(v)
        if tl.max(key, axis=0) >= tl.maximum(bound, low):
            keep, n_ties = kept(key, low, ties, n_ties)
            mass += tl.sum(tl.where(keep & (key >= bound), tl.exp((v - top) * scale), 0.0), axis=0)
    return mass


@triton.jit
def uniform(seed, step):
    """Philox 4x32-10 of counter (step, 0, 0, 0) and key seed: a float in [0, 1), a multiple of 2^-24."""
    half: tl.constexpr = 4294967295
    k0 = seed.to(tl.uint64) & half
    k1 = (seed.to(tl.uint64) >> 32) & half
    c0 = step.to(tl.uint64) & half
    c1 = c0 * 0
    c2 = c0 * 0
    c3 = c0 * 0
    for _ in tl.static_range(10):
        a = c0 * 0xD2511F53
        b = c2 * 0xCD9E8D57
        c0 = (b >> 32) ^ c1 ^ k0
        c2 = (a >> 32) ^ c3 ^ k1
        c1 = b & half
        c3 = a & half
        k0 = (k0 + 0x9E3779B9) & half
        k1 = (k1 + 0xBB67AE85) & half
    return (c0 >> 8).to(tl.float32) * 5.9604644775390625e-08


# kiln: sample(token: *i32, logits: *f32:16, ends: None, rows: *i32, temperature: *f32, top_k: *i32, top_p: *f32, min_p: *f32, seed: *i64, step: *i32, vocab: i32,
# kiln:+ sx: i32, TEMPERATURE_LAST={True,False}, BLOCK={32,256})[num_warps=4] grid=(R+1,) R={0,1,4} vocab={1,37,512} sx=vocab+1 rows=full(R,1)
# kiln:+ token=ints(-5,0,R+1) logits=sometimes(-inf,0.1,uniform(-6,6,(R+1)*sx)) temperature=sometimes(0,0.2,uniform(0.2,2,R+1))
# kiln:+ top_k=ints(0,9,R+1) top_p=sometimes(1,0.3,uniform(0.05,0.999,R+1)) min_p=sometimes(0,0.5,uniform(0.01,0.3,R+1))
# kiln:+ seed=ints(0,1000000,R+1) step=ints(0,4000,R+1)
# kiln: sample(token: *i32, logits: *f32:16, ends: *i32, rows: *i32, temperature: *f32, top_k: *i32, top_p: *f32, min_p: *f32, seed: *i64, step: None, vocab: i32,
# kiln:+ sx: i32, TEMPERATURE_LAST=True, BLOCK=128)[num_warps=4] grid=(R,) R=4 vocab={64,300} sx=vocab rows=full(R,1)
# kiln:+ token=zeros(R) ends=picks(2*R,R) logits=ints(-2,3,2*R*sx) temperature=full(1,R) top_k=ints(0,vocab,R) top_p=uniform(0.05,0.999,R) min_p=zeros(R)
# kiln:+ seed=ints(0,1000000,R)
@triton.jit
def sample(token, logits, ends, rows, temperature, top_k, top_p, min_p, seed, step, vocab, sx,
           TEMPERATURE_LAST: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    if row >= tl.load(rows):
        return
    src = row
    if ends is not None:
        src = tl.load(ends + row) - 1
    x = logits + src.to(tl.int64) * sx
    top, best = largest(x, vocab, BLOCK)
    t = tl.load(temperature + row)
    if (t <= 0.0) | (top == float("-inf")):
        tl.store(token + row, tl.where(top > float("-inf"), best, -1))
        return
    draw_scale = 1.0 / t
    scale = draw_scale
    if TEMPERATURE_LAST:
        scale = 1.0

    # top-k: a key that k keys reach, by bisection of [low, high); the largest such key when none is reached by just k
    k = tl.load(top_k + row)
    above_top = order(top) + 1
    low = tl.full((), -2147483647, tl.int32)
    ties = tl.full((), 2147483647, tl.int32)
    if (k > 0) & (k < vocab):
        high = above_top
        n = vocab
        while (low < high - 1) & (n != k):
            mid = (low & high) + ((low ^ high) >> 1)
            n = count_from(x, vocab, mid, BLOCK)
            high = tl.where(n >= k, high, mid)
            low = tl.where(n >= k, mid, low)
        ties = k - count_from(x, vocab, low + 1, BLOCK)

    # top-p: the largest key whose mass, with all above it, reaches p of the kept mass
    p = tl.load(top_p + row)
    if p < 1.0:
        k_low = low
        high = above_top
        goal = p * mass_from(x, vocab, k_low, k_low, ties, top, scale, BLOCK)
        while low < high - 1:
            mid = (low & high) + ((low ^ high) >> 1)
            enough = mass_from(x, vocab, mid, k_low, ties, top, scale, BLOCK) >= goal
            low = tl.where(enough, mid, low)
            high = tl.where(enough, high, mid)
        above = mass_from(x, vocab, low + 1, k_low, ties, top, scale, BLOCK)
        value = tl.where(low < 0, low ^ 2147483647, low).to(tl.float32, bitcast=True)
        each = tl.exp((value - top) * scale)
        need = tl.ceil((goal - above) / tl.where(each > 0.0, each, 1.0))
        need = tl.minimum(tl.maximum(need, 1.0), 1000000000.0).to(tl.int32)
        ties = tl.where(low == k_low, tl.minimum(need, ties), need)

    # min-p, then the draw in order of ids
    least_p = tl.load(min_p + row)
    least = tl.where(least_p > 0.0, top + tl.log(tl.maximum(least_p, 1e-30)) / scale, float("-inf"))
    lane = tl.arange(0, BLOCK)
    count = row * 0
    if step is not None:
        count = tl.load(step + row)
    u = uniform(tl.load(seed + row), count)
    total = 0.0
    n_ties = 0
    for i in range(0, vocab, BLOCK):
        v = tl.load(x + i + lane, mask=i + lane < vocab, other=float("-inf")).to(tl.float32)
        keep, n_ties = kept(order(v), low, ties, n_ties)
        total += tl.sum(tl.where(keep & (v >= least), tl.exp((v - top) * draw_scale), 0.0), axis=0)
    goal = u * total
    mass = 0.0
    n_ties = 0
    chosen = tl.full((), 2147483647, tl.int32)
    last = tl.full((), -1, tl.int32)
    for i in range(0, vocab, BLOCK):
        v = tl.load(x + i + lane, mask=i + lane < vocab, other=float("-inf")).to(tl.float32)
        keep, n_ties = kept(order(v), low, ties, n_ties)
        keep = keep & (v >= least)
        weight = tl.where(keep, tl.exp((v - top) * draw_scale), 0.0)
        hit = keep & (mass + tl.cumsum(weight, axis=0) > goal)
        chosen = tl.minimum(chosen, tl.min(tl.where(hit, i + lane, 2147483647), axis=0))
        last = tl.maximum(last, tl.max(tl.where(keep, i + lane, -1), axis=0))
        mass += tl.sum(weight, axis=0)
    tl.store(token + row, tl.where(chosen < 2147483647, chosen, last))
