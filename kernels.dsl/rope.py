"""rope_append   rotate q and k by position, and append k and v to the paged cache

              token t of sequence s = seq_of[t], whose cache is slot_of[s]
   q[t] --rotate--> q[t] in place
   k[t] --rotate--> page list of (slot, layer, head), at place  list_len - (q_start[s + 1] - t)
   v[t] ----------> the same place

q       [tokens, G * kv-heads, HEAD_DIM]   rows `sq` apart, rotated in place; G query heads per kv-head
k, v    [tokens, kv-heads, HEAD_DIM]       rows `sk`, `sv` apart
k_page, v_page   pages of keys and values, `page_k` and `page_v` elements from page to page;
        the keys of a page are [HEAD_DIM, PAGE] if DIM_MAJOR, else [PAGE, HEAD_DIM]; values are [PAGE, HEAD_DIM]
k_scale, v_scale  int8 pages: f32 [PAGE] of page i at i * page_s; a value is code * scale, scale = amax / 127
        over its head; None: pages hold the numbers themselves
steps   [ROPE_DIM / 2] f32   position p turns pair i by p * steps[i]
pos     [tokens] i32         position of each token; after eviction it is not its place in the list
lists   list_of[slot * per + layer0 + head] names a list; its pages are list_pages[list * max_pages + i]
        + list_spread[list] * (layer0 + head), its length list_len[list] counts this step's tokens
INTERLEAVED   pairs (2i, 2i + 1), else (i, i + ROPE_DIM / 2); elements past ROPE_DIM pass unrotated
HALF, BLOCK_D, BLOCK_G   powers of two >= ROPE_DIM / 2, HEAD_DIM, G
tokens  [1] i32   how many tokens there are, read on the device
grid    (upper bound of tokens, kv-heads / HEADS): a program turns HEADS kv-heads by one sine and cosine
accuracy  f32 inside: 4 ulp of sin and cos beyond the rounding of p * step, then one rounding
bound   memory: q in and out, k and v in, one token of each page out
source  Su et al. 2021, RoFormer (arXiv:2104.09864), section 3.4; Kwon et al. 2023 (arXiv:2309.06180)
"""
import triton
import triton.language as tl


# kiln: rope_append(q: *f32:16, k: *f32:16, v: *f32:16, k_page: *f32:16, v_page: *f32:16, k_scale: None, v_scale: None, steps: *f32,
# kiln:+ pos: *i32, seq_of: *i32, q_start: *i32, slot_of: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, tokens: *i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32, sk: i32, sv: i32, page_k: i32, page_v: i32, page_s: i32, HEADS={1,2}, G={1,3}, HEAD_DIM=8, ROPE_DIM={4,8},
# kiln:+ INTERLEAVED={True,False}, PAGE=4, DIM_MAJOR={True,False}, HALF=4, BLOCK_D=8, BLOCK_G=4)[num_warps=4] grid=(T+1,H//HEADS) T={0,1,9} S={1,3} H=2
# kiln:+ L=2 per=L*H layer0={0,H} slots=S+1 max_pages=T+2 n_pages=slots*per*max_pages sq=G*H*8+1 sk=H*8+2 sv=H*8
# kiln:+ page_k=2*PAGE*8 page_v=2*PAGE*8+3 page_s=0 tokens=full(T,1) q_start=ragged(T,S) seq_of=segments(q_start,T+1) slot_of=perm(slots,S)
# kiln:+ pos=ints(0,5000,T+1) steps=uniform(0.0,1.0,ROPE_DIM//2) list_of=kv_list_of(slots,per) list_spread=kv_spread(list_of,per)
# kiln:+ list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ q=randn((T+1)*sq) k=randn((T+1)*sk) v=randn((T+1)*sv) k_page=randn(n_pages*page_k) v_page=randn(n_pages*page_v)
# kiln: rope_append(q: *{f32,bf16}:16, k: *{f32,bf16}:16, v: *{f32,bf16}:16, k_page: *i8:16, v_page: *i8:16, k_scale: *f32, v_scale: *f32, steps: *f32,
# kiln:+ pos: *i32, seq_of: *i32, q_start: *i32, slot_of: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, tokens: *i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32, sk: i32, sv: i32, page_k: i32, page_v: i32, page_s: i32, HEADS={1,2}, G=2, HEAD_DIM=16, ROPE_DIM={8,16},
# kiln:+ INTERLEAVED=False, PAGE=8, DIM_MAJOR=False, HALF=8, BLOCK_D=16, BLOCK_G=2)[num_warps=4] grid=(T,H//HEADS) T={1,9} S={1,3} H=2
# kiln:+ L=2 per=L*H layer0={0,H} slots=S+1 max_pages=T+2 n_pages=slots*per*max_pages sq=G*H*16 sk=H*16 sv=H*16
# kiln:+ page_k=2*PAGE*16 page_v=2*PAGE*16 page_s=2*PAGE tokens=full(T,1) q_start=ragged(T,S) seq_of=segments(q_start,T) slot_of=perm(slots,S)
# kiln:+ pos=ints(0,5000,T) steps=uniform(0.0,1.0,ROPE_DIM//2) list_of=kv_list_of(slots,per) list_spread=kv_spread(list_of,per)
# kiln:+ list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ q=randn(T*sq) k=randn(T*sk) v=randn(T*sv) k_page=ints(-127,128,n_pages*page_k) v_page=ints(-127,128,n_pages*page_v)
# kiln:+ k_scale=uniform(0.0,0.1,n_pages*page_s) v_scale=uniform(0.0,0.1,n_pages*page_s)
# kiln: rope_append(q: *f32:16, k: *f32:16, v: *f32:16, k_page: *{f16,bf16}:16, v_page: *{f16,bf16}:16, k_scale: None, v_scale: None, steps: *f32,
# kiln:+ pos: *i32, seq_of: *i32, q_start: *i32, slot_of: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, tokens: *i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32:16, sk: i32:16, sv: i32:16, page_k: i32:16, page_v: i32:16, page_s: i32, HEADS=2, G=4, HEAD_DIM=64,
# kiln:+ ROPE_DIM=64, INTERLEAVED={True,False}, PAGE=16, DIM_MAJOR=True, HALF=32, BLOCK_D=64, BLOCK_G=4)[num_warps=4] grid=(T,H//HEADS) T={1,5} S={1,2} H=2
# kiln:+ L=2 per=L*H layer0={0,H} slots=S max_pages=2 n_pages=slots*per*max_pages sq=G*H*64 sk=H*64 sv=H*64
# kiln:+ page_k=2*PAGE*64 page_v=2*PAGE*64 page_s=0 tokens=full(T,1) q_start=ragged(T,S) seq_of=segments(q_start,T) slot_of=perm(slots,S)
# kiln:+ pos=ints(0,5000,T) steps=uniform(0.0,1.0,ROPE_DIM//2) list_of=kv_list_of(slots,per) list_spread=kv_spread(list_of,per)
# kiln:+ list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ q=randn(T*sq) k=randn(T*sk) v=randn(T*sv) k_page=randn(n_pages*page_k) v_page=randn(n_pages*page_v)
@triton.jit
def rope_append(q, k, v, k_page, v_page, k_scale, v_scale, steps, pos, seq_of, q_start, slot_of, list_of, list_len,
                list_pages, list_spread, tokens, per, layer0, max_pages, sq, sk, sv, page_k, page_v, page_s,
                HEADS: tl.constexpr, G: tl.constexpr, HEAD_DIM: tl.constexpr, ROPE_DIM: tl.constexpr,
                INTERLEAVED: tl.constexpr, PAGE: tl.constexpr, DIM_MAJOR: tl.constexpr, HALF: tl.constexpr,
                BLOCK_D: tl.constexpr, BLOCK_G: tl.constexpr):
    t = tl.program_id(0)
    if t >= tl.load(tokens):
        return

    pair = tl.arange(0, HALF)
    in_pair = pair < ROPE_DIM // 2
    angle = tl.load(pos + t).to(tl.float32) * tl.load(steps + pair, mask=in_pair, other=0.0)
    c = tl.cos(angle)
    s = tl.sin(angle)
    if INTERLEAVED:
        at_a = pair * 2
        at_b = pair * 2 + 1
    else:
        at_a = pair
        at_b = pair + ROPE_DIM // 2

    g = tl.arange(0, BLOCK_G)
    d = tl.arange(0, BLOCK_D)
    in_head = d < HEAD_DIM
    rest = in_head & (d >= ROPE_DIM)
    q_live = (g < G)[:, None] & in_pair[None, :]
    K_TOKEN: tl.constexpr = 1 if DIM_MAJOR else HEAD_DIM
    K_DIM: tl.constexpr = PAGE if DIM_MAJOR else 1

    seq = tl.load(seq_of + t)
    lists = list_of + tl.load(slot_of + seq) * per + layer0
    behind = tl.load(q_start + seq + 1) - t  # tokens of this step from this one on
    for i in range(HEADS):  # one sine and cosine for all of them
        head = tl.program_id(1) * HEADS + i
        q_head = q + t.to(tl.int64) * sq + head * (G * HEAD_DIM) + g[:, None] * HEAD_DIM
        qa = tl.load(q_head + at_a[None, :], mask=q_live, other=0.0).to(tl.float32)
        qb = tl.load(q_head + at_b[None, :], mask=q_live, other=0.0).to(tl.float32)
        q_a = qa * c[None, :] - qb * s[None, :]
        q_b = qa * s[None, :] + qb * c[None, :]
        tl.store(q_head + at_a[None, :], q_a.to(q.dtype.element_ty), mask=q_live)
        tl.store(q_head + at_b[None, :], q_b.to(q.dtype.element_ty), mask=q_live)

        k_head = k + t.to(tl.int64) * sk + head * HEAD_DIM
        ka = tl.load(k_head + at_a, mask=in_pair, other=0.0).to(tl.float32)
        kb = tl.load(k_head + at_b, mask=in_pair, other=0.0).to(tl.float32)
        k_a = ka * c - kb * s
        k_b = ka * s + kb * c
        vv = tl.load(v + t.to(tl.int64) * sv + head * HEAD_DIM + d, mask=in_head, other=0.0).to(tl.float32)

        which = tl.load(lists + head)
        place = tl.load(list_len + which) - behind
        page = tl.load(list_pages + which.to(tl.int64) * max_pages + place // PAGE)
        page = (page + tl.load(list_spread + which) * (layer0 + head)).to(tl.int64)
        o = place % PAGE
        k_out = k_page + page * page_k + o * K_TOKEN
        v_out = v_page + page * page_v + o * HEAD_DIM
        if k_scale is not None:
            amax = tl.maximum(tl.max(tl.abs(k_a), axis=0), tl.max(tl.abs(k_b), axis=0))
            if ROPE_DIM < HEAD_DIM:
                kr = tl.load(k_head + d, mask=rest, other=0.0).to(tl.float32)
                amax = tl.maximum(amax, tl.max(tl.abs(kr), axis=0))
                tl.store(k_out + d * K_DIM, codes(kr, amax), mask=rest)
            tl.store(k_out + at_a * K_DIM, codes(k_a, amax), mask=in_pair)
            tl.store(k_out + at_b * K_DIM, codes(k_b, amax), mask=in_pair)
            tl.store(k_scale + page * page_s + o, amax / 127.0)
            vmax = tl.max(tl.abs(vv), axis=0)
            tl.store(v_out + d, codes(vv, vmax), mask=in_head)
            tl.store(v_scale + page * page_s + o, vmax / 127.0)
        else:
            if ROPE_DIM < HEAD_DIM:
                kr = tl.load(k_head + d, mask=rest, other=0.0).to(tl.float32)
                tl.store(k_out + d * K_DIM, kr.to(k_page.dtype.element_ty), mask=rest)
            tl.store(k_out + at_a * K_DIM, k_a.to(k_page.dtype.element_ty), mask=in_pair)
            tl.store(k_out + at_b * K_DIM, k_b.to(k_page.dtype.element_ty), mask=in_pair)
            tl.store(v_out + d, vv.to(v_page.dtype.element_ty), mask=in_head)


@triton.jit
def codes(x, amax):
    """Symmetric int8 codes of x, whose largest magnitude is amax; halves round up."""
    inverse = 127.0 / tl.where(amax > 0.0, amax, 1.0)
    return tl.floor(x * inverse + 0.5).to(tl.int8)
