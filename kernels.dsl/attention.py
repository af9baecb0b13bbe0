"""attend   block-sparse flash attention over pages: prefill, decode, split and merge in one text

   grid (query blocks * SPLITS, kv-heads, sequences)

   rows of a block             pages of the list of (sequence's slot, layer, kv-head)
   r = token * G + head        [ 0 | 1 | 2 | 3 | 4 ]   without a visit list: all up to the diagonal
   of one kv-head's group        unmasked ---> masked  (only pages that touch the diagonal or the end)

A row is one query head of one token, so a decode step is a block of G rows and a prompt is many blocks.
Query token i of a sequence (0 .. n_q-1) sees the first  list_len - n_q + i + 1  entries of its list.
A split takes an equal share of the block's pages; attend_merge joins the splits by log-sum-exp.

o       [tokens, Hq, SPLITS, HEAD_DIM]   normalised; Hq = G * kv-heads. A row that sees nothing is 0
lse     [tokens, Hq, SPLITS] f32         log of the row's sum of exp(score), -inf when it sees nothing; or None
q       [tokens, Hq, HEAD_DIM]           rows `sq` apart; its dtype is the one of the products
k_page, v_page, k_scale, v_scale, lists  as in rope.py
visit   i32: logical pages to read, ascending, of query block b of (sequence, kv-head):
        visit[((sequence * kv-heads + head) * n_blocks + b) * max_visit + i], i < visit_n[the same row];
        None: every page
q_start [sequences + 1] i32, slot_of [sequences] i32, seqs [1] i32: the ragged batch, read on the device
scale   1 / sqrt(HEAD_DIM), usually
BLOCK_M rows per block: in decode the query heads of a group, so that keys and values are read once for all of them
BLOCK_D a power of two >= HEAD_DIM; or a smaller one, and BLOCK_R a power of two >= HEAD_DIM - BLOCK_D: a head of 48 is
        32 and 16, without a masked lane
PAGE    tokens per page, KEYS of them at a time (a power of two that divides PAGE; None: all)
accuracy  f32 sums; relative to the largest |v| seen: 2^-22 * sqrt(keys) in f32, else the dtype of q's rounding of p
bound   decode: memory, the pages; prefill: arithmetic
source  Dao et al. 2022 (arXiv:2205.14135); Dao 2023 (arXiv:2307.08691); Flash-Decoding, Dao et al. 2023
"""
import triton
import triton.language as tl


# kiln: attend(o: *f32:16, lse: *f32, q: *f32:16, k_page: *f32:16, v_page: *f32:16, k_scale: None, v_scale: None, q_start: *i32, slot_of: *i32,
# kiln:+ seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, max_visit: i32, n_blocks: i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32, page_k: i32, page_v: i32, page_s: i32, scale: f32, G={1,2}, HEAD_DIM=8, PAGE={4,16},
# kiln:+ DIM_MAJOR={True,False}, SPLITS={1,2}, BLOCK_M={4,16}, BLOCK_D=8, KEYS=4)[num_warps=4] grid=(n_blocks*SPLITS,H,S+1)
# kiln:+ T={0,1,7,19} S={1,3} H=2 L=2 per=L*H layer0={0,H} slots=S+1 max_pages=cdiv(T,PAGE)+2 n_pages=slots*per*max_pages sq=G*H*8+1
# kiln:+ page_k=2*PAGE*8 page_v=2*PAGE*8 page_s=0 max_visit=0 n_blocks=max(cdiv(T*G,BLOCK_M),1) scale=0.35 seqs=full(S,1) q_start=ragged(T,S)
# kiln:+ slot_of=perm(slots,S) list_of=kv_list_of(slots,per) list_spread=kv_spread(list_of,per)
# kiln:+ list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ o=randn((T+1)*G*H*SPLITS*8) lse=randn((T+1)*G*H*SPLITS) q=randn((T+1)*sq) k_page=randn(n_pages*page_k) v_page=randn(n_pages*page_v)
# kiln: attend(o: *f32:16, lse: None, q: *f32:16, k_page: *i8:16, v_page: *i8:16, k_scale: *f32, v_scale: *f32, q_start: *i32, slot_of: *i32,
# kiln:+ seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, max_visit: i32, n_blocks: i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32, page_k: i32, page_v: i32, page_s: i32, scale: f32, G=4, HEAD_DIM={12,16}, PAGE=16,
# kiln:+ DIM_MAJOR=False, SPLITS=1, BLOCK_M=8, BLOCK_D=16, KEYS={8,16})[num_warps=4] grid=(n_blocks,H,S)
# kiln:+ T={1,9} S={1,3} H=2 L=2 per=L*H layer0={0,H} slots=S max_pages=3 n_pages=slots*per*max_pages sq=G*H*HEAD_DIM
# kiln:+ page_k=2*PAGE*HEAD_DIM page_v=2*PAGE*HEAD_DIM page_s=2*PAGE max_visit=0 n_blocks=cdiv(T*G,BLOCK_M) scale=0.25 seqs=full(S,1) q_start=ragged(T,S)
# kiln:+ slot_of=perm(slots,S) list_of=kv_list_of(slots,per) list_spread=kv_spread(list_of,per)
# kiln:+ list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ o=randn(T*G*H*HEAD_DIM) q=randn(T*sq) k_page=ints(-127,128,n_pages*page_k) v_page=ints(-127,128,n_pages*page_v)
# kiln:+ k_scale=uniform(0.001,0.02,n_pages*page_s) v_scale=uniform(0.001,0.02,n_pages*page_s)
# kiln: attend(o: *f32:16, lse: *f32, q: *f32:16, k_page: *{f16,bf16}:16, v_page: *f16:16, k_scale: None, v_scale: None, q_start: *i32,
# kiln:+ slot_of: *i32, seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: *i32, visit_n: *i32, max_visit: i32,
# kiln:+ n_blocks: i32, per: i32, layer0: i32, max_pages: i32, sq: i32, page_k: i32, page_v: i32, page_s: i32, scale: f32, G=3, HEAD_DIM=32, PAGE=8,
# kiln:+ DIM_MAJOR=True, SPLITS=4, BLOCK_M=8, BLOCK_D=32, KEYS={4,8})[num_warps=4] grid=(n_blocks*SPLITS,H,S)
# kiln:+ T={1,9} S={1,3} H=2 L=2 per=L*H layer0={0,H} slots=S max_pages=6 n_pages=slots*per*max_pages sq=G*H*32
# kiln:+ page_k=2*PAGE*32 page_v=2*PAGE*32 page_s=0 n_blocks=cdiv(T*G,BLOCK_M) max_visit=max_pages scale=0.18 seqs=full(S,1) q_start=ragged(T,S)
# kiln:+ slot_of=perm(slots,S) list_of=kv_list_of(slots,per) list_spread=kv_spread(list_of,per)
# kiln:+ list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ visit_n=visit_counts(S*H*n_blocks,max_visit) visit=visit_lists(visit_n,max_visit)
# kiln:+ o=randn(T*G*H*SPLITS*32) lse=zeros(T*G*H*SPLITS) q=randn(T*sq) k_page=randn(n_pages*page_k) v_page=randn(n_pages*page_v)
# kiln: attend(o: *f16:16, lse: None, q: *f16:16, k_page: *f16:16, v_page: *f16:16, k_scale: None, v_scale: None, q_start: *i32, slot_of: *i32,
# kiln:+ seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, max_visit: i32, n_blocks: i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32:16, page_k: i32:16, page_v: i32:16, page_s: i32, scale: f32, G=4, HEAD_DIM=64, PAGE=32,
# kiln:+ DIM_MAJOR=False, SPLITS=1, BLOCK_M={16,64}, BLOCK_D=64, KEYS=32)[num_warps=4, maxnreg=255] grid=(n_blocks,H,S)
# kiln:+ T={1,20} S={1,2} H=2 L=1 per=L*H layer0=0 slots=S max_pages=3 n_pages=slots*per*max_pages sq=G*H*64
# kiln:+ page_k=2*PAGE*64 page_v=2*PAGE*64 page_s=0 max_visit=0 n_blocks=cdiv(T*G,BLOCK_M) scale=0.125 seqs=full(S,1) q_start=ragged(T,S)
# kiln:+ slot_of=perm(slots,S) list_of=kv_list_of(slots,per) list_spread=kv_spread(list_of,per)
# kiln:+ list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ o=zeros(T*G*H*64) q=randn(T*sq) k_page=randn(n_pages*page_k) v_page=randn(n_pages*page_v)
# kiln: attend(o: *bf16:16, lse: None, q: *bf16:16, k_page: *bf16:16, v_page: *bf16:16, k_scale: None, v_scale: None, q_start: *i32, slot_of: *i32,
# kiln:+ seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, max_visit: i32, n_blocks: i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32:16, page_k: i32:16, page_v: i32:16, page_s: i32, scale: f32, G=4, HEAD_DIM=128, PAGE=64,
# kiln:+ DIM_MAJOR=False, SPLITS=1, BLOCK_M=64, BLOCK_D=128, KEYS=64)[num_warps=4] grid=(n_blocks,H,S)
# kiln:+ T={1,20} S={1,2} H=1 L=1 per=L*H layer0=0 slots=S max_pages=2 n_pages=slots*per*max_pages sq=G*H*128
# kiln:+ page_k=2*PAGE*128 page_v=2*PAGE*128 page_s=0 max_visit=0 n_blocks=cdiv(T*G,BLOCK_M) scale=0.088 seqs=full(S,1) q_start=ragged(T,S)
# kiln:+ slot_of=perm(slots,S) list_of=kv_list_of(slots,per) list_spread=kv_spread(list_of,per)
# kiln:+ list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ o=zeros(T*G*H*128) q=randn(T*sq) k_page=randn(n_pages*page_k) v_page=randn(n_pages*page_v)
# kiln: attend(o: *f32:16, lse: *f32:16, q: *bf16:16, k_page: *bf16:16, v_page: *bf16:16, k_scale: None, v_scale: None, q_start: *i32, slot_of: *i32,
# kiln:+ seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, max_visit: i32, n_blocks: i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32:16, page_k: i32:16, page_v: i32:16, page_s: i32, scale: f32, G=4, HEAD_DIM=128, PAGE=16,
# kiln:+ DIM_MAJOR=False, SPLITS=2, BLOCK_M=16, BLOCK_D=128, KEYS=16)[num_warps=4, num_stages={1,3}] grid=(SPLITS,H,S)
# kiln:+ T={1,2} S={1,2} H=2 L=1 per=L*H layer0=0 slots=S max_pages={1,2,19} n_pages=slots*per*max_pages sq=G*H*HEAD_DIM page_k=2*PAGE*HEAD_DIM page_v=2*PAGE*HEAD_DIM
# kiln:+ page_s=0 max_visit=0 n_blocks=1 scale=0.09 seqs=full(S,1) q_start=ragged(T,S) slot_of=perm(slots,S) list_of=kv_list_of(slots,per)
# kiln:+ list_spread=kv_spread(list_of,per) list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ o=zeros(T*G*H*SPLITS*HEAD_DIM) lse=zeros(T*G*H*SPLITS) q=randn(T*sq) k_page=randn(n_pages*page_k) v_page=randn(n_pages*page_v)
# kiln: attend(o: *f32:16, lse: *f32:16, q: *f16:16, k_page: *i8:16, v_page: *i8:16, k_scale: *f32, v_scale: *f32, q_start: *i32, slot_of: *i32,
# kiln:+ seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, max_visit: i32, n_blocks: i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32:16, page_k: i32:16, page_v: i32:16, page_s: i32, scale: f32, G=8, HEAD_DIM=64, PAGE=32,
# kiln:+ DIM_MAJOR=False, SPLITS=1, BLOCK_M=16, BLOCK_D=64, KEYS=16)[num_warps=4, num_stages={1,3}] grid=(SPLITS,H,S)
# kiln:+ T={1,2} S={1,2} H=2 L=1 per=L*H layer0=0 slots=S max_pages={1,3} n_pages=slots*per*max_pages sq=G*H*HEAD_DIM page_k=2*PAGE*HEAD_DIM page_v=2*PAGE*HEAD_DIM
# kiln:+ page_s=2*PAGE max_visit=0 n_blocks=1 scale=0.09 seqs=full(S,1) q_start=ragged(T,S) slot_of=perm(slots,S) list_of=kv_list_of(slots,per)
# kiln:+ list_spread=kv_spread(list_of,per) list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ o=zeros(T*G*H*SPLITS*HEAD_DIM) lse=zeros(T*G*H*SPLITS) q=randn(T*sq) k_page=ints(-127,128,n_pages*page_k) v_page=ints(-127,128,n_pages*page_v) k_scale=uniform(0.001,0.02,n_pages*page_s) v_scale=uniform(0.001,0.02,n_pages*page_s)
# kiln: attend(o: *f32:16, lse: *f32:16, q: *bf16:16, k_page: *bf16:16, v_page: *bf16:16, k_scale: None, v_scale: None, q_start: *i32, slot_of: *i32,
# kiln:+ seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, max_visit: i32, n_blocks: i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32:16, page_k: i32:16, page_v: i32:16, page_s: i32, scale: f32, G=4, HEAD_DIM=128, PAGE=16,
# kiln:+ DIM_MAJOR=False, SPLITS=2, BLOCK_M=16, BLOCK_D=128, KEYS=16)[num_warps=8, num_stages=4, maxnreg=255] grid=(SPLITS,H,S)
# kiln:+ T={1,2} S={1,2} H=2 L=1 per=L*H layer0=0 slots=S max_pages={1,2,19} n_pages=slots*per*max_pages sq=G*H*HEAD_DIM page_k=2*PAGE*HEAD_DIM page_v=2*PAGE*HEAD_DIM
# kiln:+ page_s=0 max_visit=0 n_blocks=1 scale=0.09 seqs=full(S,1) q_start=ragged(T,S) slot_of=perm(slots,S) list_of=kv_list_of(slots,per)
# kiln:+ list_spread=kv_spread(list_of,per) list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ o=zeros(T*G*H*SPLITS*HEAD_DIM) lse=zeros(T*G*H*SPLITS) q=randn(T*sq) k_page=randn(n_pages*page_k) v_page=randn(n_pages*page_v)
# kiln: attend(o: *f32:16, lse: *f32:16, q: *f16:16, k_page: *i8:16, v_page: *i8:16, k_scale: *f32, v_scale: *f32, q_start: *i32, slot_of: *i32,
# kiln:+ seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, max_visit: i32, n_blocks: i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32:16, page_k: i32:16, page_v: i32:16, page_s: i32, scale: f32, G=8, HEAD_DIM=64, PAGE=32,
# kiln:+ DIM_MAJOR=False, SPLITS=1, BLOCK_M=16, BLOCK_D=64, KEYS=16)[num_warps=8, num_stages=4] grid=(SPLITS,H,S)
# kiln:+ T={1,2} S={1,2} H=2 L=1 per=L*H layer0=0 slots=S max_pages={1,3} n_pages=slots*per*max_pages sq=G*H*HEAD_DIM page_k=2*PAGE*HEAD_DIM page_v=2*PAGE*HEAD_DIM
# kiln:+ page_s=2*PAGE max_visit=0 n_blocks=1 scale=0.09 seqs=full(S,1) q_start=ragged(T,S) slot_of=perm(slots,S) list_of=kv_list_of(slots,per)
# kiln:+ list_spread=kv_spread(list_of,per) list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ o=zeros(T*G*H*SPLITS*HEAD_DIM) lse=zeros(T*G*H*SPLITS) q=randn(T*sq) k_page=ints(-127,128,n_pages*page_k) v_page=ints(-127,128,n_pages*page_v) k_scale=uniform(0.001,0.02,n_pages*page_s) v_scale=uniform(0.001,0.02,n_pages*page_s)
# kiln: attend(o: *f32:16, lse: *f32:16, q: *f16:16, k_page: *f16:16, v_page: *f16:16, k_scale: None, v_scale: None, q_start: *i32, slot_of: *i32,
# kiln:+ seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, max_visit: i32, n_blocks: i32,
# kiln:+ per: i32, layer0: i32, max_pages: i32, sq: i32:16, page_k: i32:16, page_v: i32:16, page_s: i32, scale: f32, G=5, HEAD_DIM=256, PAGE=16,
# kiln:+ DIM_MAJOR=False, SPLITS=2, BLOCK_M=16, BLOCK_D=256, KEYS=16)[num_warps=4] grid=(SPLITS,H,S)
# kiln:+ T={1,2} S={1,2} H=2 L=1 per=L*H layer0=0 slots=S max_pages={1,3} n_pages=slots*per*max_pages sq=G*H*HEAD_DIM page_k=2*PAGE*HEAD_DIM page_v=2*PAGE*HEAD_DIM
# kiln:+ page_s=0 max_visit=0 n_blocks=1 scale=0.09 seqs=full(S,1) q_start=ragged(T,S) slot_of=perm(slots,S) list_of=kv_list_of(slots,per)
# kiln:+ list_spread=kv_spread(list_of,per) list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ o=zeros(T*G*H*SPLITS*HEAD_DIM) lse=zeros(T*G*H*SPLITS) q=randn(T*sq) k_page=randn(n_pages*page_k) v_page=randn(n_pages*page_v)
# kiln: attend(o: *f32:16, lse: *f32, q: *f32:16, k_page: *{f32,f16}:16, v_page: *{f32,f16}:16, k_scale: None, v_scale: None, q_start: *i32,
# kiln:+ slot_of: *i32, seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, max_visit: i32,
# kiln:+ n_blocks: i32, per: i32, layer0: i32, max_pages: i32, sq: i32, page_k: i32, page_v: i32, page_s: i32, scale: f32, G={1,3}, HEAD_DIM={12,11},
# kiln:+ PAGE=16, DIM_MAJOR={True,False}, SPLITS={1,2}, BLOCK_M={1,4}, BLOCK_D=8, KEYS=16, BLOCK_R=4)[num_warps=1] grid=(n_blocks*SPLITS,H,S)
# kiln:+ T={1,5} S={1,2} H=2 L=2 per=L*H layer0={0,H} slots=S max_pages={3,5} n_pages=slots*per*max_pages sq=G*H*HEAD_DIM
# kiln:+ page_k=2*PAGE*HEAD_DIM page_v=2*PAGE*HEAD_DIM page_s=0 max_visit=0 n_blocks=cdiv(T*G,BLOCK_M) scale=0.3 seqs=full(S,1) q_start=ragged(T,S)
# kiln:+ slot_of=perm(slots,S) list_of=kv_list_of(slots,per) list_spread=kv_spread(list_of,per)
# kiln:+ list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ o=randn(T*G*H*SPLITS*HEAD_DIM) lse=randn(T*G*H*SPLITS) q=randn(T*sq) k_page=randn(n_pages*page_k) v_page=randn(n_pages*page_v)
# kiln: attend(o: *f32:16, lse: None, q: *f32:16, k_page: *i8:16, v_page: *i8:16, k_scale: *f32, v_scale: *f32, q_start: *i32,
# kiln:+ slot_of: *i32, seqs: *i32, list_of: *i32, list_len: *i32, list_pages: *i32, list_spread: *i32, visit: None, visit_n: None, max_visit: i32,
# kiln:+ n_blocks: i32, per: i32, layer0: i32, max_pages: i32, sq: i32:16, page_k: i32:16, page_v: i32:16, page_s: i32:16, scale: f32, G={1,4}, HEAD_DIM=48,
# kiln:+ PAGE=32, DIM_MAJOR=True, SPLITS=1, BLOCK_M=16, BLOCK_D=32, KEYS=32, BLOCK_R=16)[num_warps=4] grid=(n_blocks,H,S)
# kiln:+ T={1,9} S={1,2} H=2 L=1 per=L*H layer0=0 slots=S max_pages=2 n_pages=slots*per*max_pages sq=G*H*HEAD_DIM
# kiln:+ page_k=2*PAGE*HEAD_DIM+8*PAGE page_v=2*PAGE*HEAD_DIM+8*PAGE page_s=page_k//4 max_visit=0 n_blocks=cdiv(T*G,BLOCK_M) scale=0.15
# kiln:+ seqs=full(S,1) q_start=ragged(T,S) slot_of=perm(slots,S) list_of=kv_list_of(slots,per) list_spread=kv_spread(list_of,per)
# kiln:+ list_len=kv_len(list_of,slot_of,q_start,per,max_pages*PAGE) list_pages=kv_pages(list_of,list_spread,per,max_pages)
# kiln:+ o=randn(T*G*H*HEAD_DIM) q=randn(T*sq) k_page=ints(-127,128,n_pages*page_k) v_page=ints(-127,128,n_pages*page_v)
# kiln:+ k_scale=uniform(0.001,0.02,n_pages*page_s) v_scale=uniform(0.001,0.02,n_pages*page_s)
@triton.jit
def attend(o, lse, q, k_page, v_page, k_scale, v_scale, q_start, slot_of, seqs, list_of, list_len, list_pages,
           list_spread, visit, visit_n, max_visit, n_blocks, per, layer0, max_pages, sq, page_k, page_v, page_s,
           scale, G: tl.constexpr, HEAD_DIM: tl.constexpr, PAGE: tl.constexpr, DIM_MAJOR: tl.constexpr,
           SPLITS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr, KEYS: tl.constexpr = None,
           BLOCK_R: tl.constexpr = 0):
    seq = tl.program_id(2)
    head = tl.program_id(1)
    if seq >= tl.load(seqs):
        return
    q0 = tl.load(q_start + seq)
    n_q = tl.load(q_start + seq + 1) - q0
    block = tl.num_programs(0) // SPLITS - 1 - tl.program_id(0) // SPLITS  # the longest rows first
    split = tl.program_id(0) % SPLITS
    row0 = block * BLOCK_M
    if row0 >= n_q * G:
        return

    which = tl.load(list_of + tl.load(slot_of + seq) * per + layer0 + head)
    pages = list_pages + which.to(tl.int64) * max_pages
    spread = tl.load(list_spread + which) * (layer0 + head)
    past = tl.load(list_len + which) - n_q
    last_token = tl.minimum(row0 + BLOCK_M - 1, n_q * G - 1) // G
    n_keys = past + last_token + 1
    n_visit = tl.cdiv(n_keys, PAGE)
    STEP: tl.constexpr = PAGE if KEYS is None else KEYS
    PER: tl.constexpr = PAGE // STEP  # steps of a page
    n_full = (past + row0 // G + 1) // STEP
    if visit is not None:
        visit_row = (seq * tl.num_programs(1) + head) * n_blocks + block
        visits = visit + visit_row.to(tl.int64) * max_visit
        n_visit = tl.load(visit_n + visit_row)
    share = tl.cdiv(n_visit, SPLITS)
    first = split * share * PER
    end = tl.minimum(split * share + share, n_visit) * PER
    if visit is None:
        end = tl.minimum(end, tl.cdiv(n_keys, STEP))

    r = row0 + tl.arange(0, BLOCK_M)
    in_row = r < n_q * G
    last_key = tl.where(in_row, past + r // G, -1)
    q_at = q + q0.to(tl.int64) * sq + head * (G * HEAD_DIM) + (r // G) * sq + (r % G) * HEAD_DIM
    d = tl.arange(0, BLOCK_D)
    in_head = d < HEAD_DIM
    qv = tl.load(q_at[:, None] + d[None, :], mask=in_row[:, None] & in_head[None, :], other=0.0)
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    q_rest = qv
    acc_rest = 0.0
    if BLOCK_R > 0:
        rest = BLOCK_D + tl.arange(0, BLOCK_R)
        in_rest = rest < HEAD_DIM
        q_rest = tl.load(q_at[:, None] + rest[None, :], mask=in_row[:, None] & in_rest[None, :], other=0.0)
        acc_rest = tl.zeros((BLOCK_M, BLOCK_R), tl.float32)

    top = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    scale2 = scale * 1.4426950408889634
    masked_from = first
    if visit is None:
        masked_from = tl.minimum(tl.maximum(n_full, first), end)
        for i in range(first, masked_from):
            page = (tl.load(pages + i // PER) + spread).to(tl.int64)
            acc, acc_rest, top, total = add_keys(acc, acc_rest, top, total, qv, q_rest, k_page, v_page, k_scale, v_scale,
                                                 page, i % PER * STEP, i * STEP, last_key, n_keys, page_k, page_v, page_s,
                                                 scale2, HEAD_DIM, PAGE, DIM_MAJOR, BLOCK_D, BLOCK_R, STEP, False)
    for i in range(masked_from, end):
        logical = i // PER
        if visit is not None:
            logical = tl.load(visits + i // PER)
        page = (tl.load(pages + logical) + spread).to(tl.int64)
        acc, acc_rest, top, total = add_keys(acc, acc_rest, top, total, qv, q_rest, k_page, v_page, k_scale, v_scale,
                                             page, i % PER * STEP, logical * PAGE + i % PER * STEP, last_key, n_keys,
                                             page_k, page_v, page_s, scale2, HEAD_DIM, PAGE, DIM_MAJOR, BLOCK_D, BLOCK_R,
                                             STEP, True)

    seen = total > 0.0
    out = acc / tl.where(seen, total, 1.0)[:, None]
    row = ((q0 + r // G) * tl.num_programs(1) * G + head * G + r % G).to(tl.int64) * SPLITS + split
    tl.store(o + row[:, None] * HEAD_DIM + d[None, :], out.to(o.dtype.element_ty), mask=in_row[:, None] & in_head[None, :])
    if BLOCK_R > 0:
        out_rest = acc_rest / tl.where(seen, total, 1.0)[:, None]
        tl.store(o + row[:, None] * HEAD_DIM + rest[None, :], out_rest.to(o.dtype.element_ty),
                 mask=in_row[:, None] & in_rest[None, :])
    if lse is not None:
        log_sum = (top + tl.log2(tl.where(seen, total, 1.0))) * 0.6931471805599453
        tl.store(lse + row, tl.where(seen, log_sum, float("-inf")), mask=in_row)


@triton.jit
def add_keys(acc, acc_rest, top, total, qv, q_rest, k_page, v_page, k_scale, v_scale, page, o, key0, last_key, n_keys,
             page_k, page_v, page_s, scale2, HEAD_DIM: tl.constexpr, PAGE: tl.constexpr, DIM_MAJOR: tl.constexpr,
             BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr, KEYS: tl.constexpr, MASKED: tl.constexpr):
    """KEYS tokens from `o` of a page on, entries key0 .. of the list, into the running (acc, top, total) of online
    softmax; scores are in base 2."""
    t = tl.arange(0, KEYS)
    held = key0 + t < n_keys
    k_at = k_page + (page * page_k + o * (1 if DIM_MAJOR else HEAD_DIM))
    v_at = v_page + (page * page_v + o * HEAD_DIM)
    k = keys_of(k_at, 0, HEAD_DIM, PAGE, DIM_MAJOR, BLOCK_D, KEYS)
    s = tl.dot(qv, k.to(qv.dtype), input_precision="ieee")
    if BLOCK_R > 0:
        k_rest = keys_of(k_at, BLOCK_D, HEAD_DIM, PAGE, DIM_MAJOR, BLOCK_R, KEYS)
        s = tl.dot(q_rest, k_rest.to(qv.dtype), s, input_precision="ieee")
    s = s * scale2
    if k_scale is not None:
        s = s * tl.load(k_scale + page * page_s + o + t)[None, :]
    if MASKED:  # what a page holds past the last key may be anything
        s = tl.where((key0 + t)[None, :] <= last_key[:, None], s, float("-inf"))
    higher = tl.maximum(top, tl.max(s, axis=1))
    base = tl.where(higher == float("-inf"), 0.0, higher)
    p = tl.exp2(s - base[:, None])
    shrink = tl.exp2(top - base)
    total = total * shrink + tl.sum(p, axis=1)
    if v_scale is not None:
        vs = tl.load(v_scale + page * page_s + o + t, mask=held, other=0.0)
        p = p * vs[None, :]
    v = values_of(v_at, held, 0, HEAD_DIM, BLOCK_D, KEYS, MASKED)
    acc = tl.dot(p.to(qv.dtype), v.to(qv.dtype), acc * shrink[:, None], input_precision="ieee")
    if BLOCK_R > 0:
        v_rest = values_of(v_at, held, BLOCK_D, HEAD_DIM, BLOCK_R, KEYS, MASKED)
        acc_rest = tl.dot(p.to(qv.dtype), v_rest.to(qv.dtype), acc_rest * shrink[:, None], input_precision="ieee")
    return acc, acc_rest, higher, total


@triton.jit
def keys_of(at, D0: tl.constexpr, HEAD_DIM: tl.constexpr, PAGE: tl.constexpr, DIM_MAJOR: tl.constexpr,
            DIMS: tl.constexpr, KEYS: tl.constexpr):
    """[DIMS, KEYS]: dimensions from D0 on, 0 past the head, of the keys that begin at `at`."""
    t = tl.arange(0, KEYS)
    d = D0 + tl.arange(0, DIMS)
    lies = at + d[:, None] * (PAGE if DIM_MAJOR else 1) + t[None, :] * (1 if DIM_MAJOR else HEAD_DIM)
    if D0 + DIMS > HEAD_DIM:
        k = tl.load(lies, mask=(d < HEAD_DIM)[:, None], other=0)
    else:
        k = tl.load(lies)
    return k


@triton.jit
def values_of(at, held, D0: tl.constexpr, HEAD_DIM: tl.constexpr, DIMS: tl.constexpr, KEYS: tl.constexpr,
              MASKED: tl.constexpr):
    """[KEYS, DIMS]: dimensions from D0 on of the values that begin at `at`; 0 past the head, and past the last key."""
    t = tl.arange(0, KEYS)
    d = D0 + tl.arange(0, DIMS)
    lies = at + t[:, None] * HEAD_DIM + d[None, :]
    if MASKED:
        v = tl.load(lies, mask=held[:, None] & (d < HEAD_DIM)[None, :], other=0)
    elif D0 + DIMS > HEAD_DIM:
        v = tl.load(lies, mask=(d < HEAD_DIM)[None, :], other=0)
    else:
        v = tl.load(lies)
    return v


# kiln: attend_merge(o: *{f32,f16,bf16}:16, lse: *f32, part: *f32:16, part_lse: *f32, tokens: *i32, heads: i32, HEAD_DIM={8,20}, SPLITS={1,4}, BLOCK_D=32)
# kiln:+ [num_warps=4] grid=(T+1,heads) T={0,1,5} heads={1,6} tokens=full(T,1) o=randn((T+1)*heads*HEAD_DIM) lse=randn((T+1)*heads)
# kiln:+ part=randn((T+1)*heads*SPLITS*HEAD_DIM) part_lse=sometimes(-inf,0.3,uniform(-9,9,(T+1)*heads*SPLITS))
# kiln: attend_merge(o: *bf16:16, lse: None, part: *f32:16, part_lse: *f32, tokens: *i32, heads: i32, HEAD_DIM=128, SPLITS=8, BLOCK_D=128)
# kiln:+ [num_warps=4] grid=(T,heads) T={1,5} heads={1,6} tokens=full(T,1) o=randn(T*heads*HEAD_DIM)
# kiln:+ part=randn(T*heads*SPLITS*HEAD_DIM) part_lse=sometimes(-inf,0.3,uniform(-9,9,T*heads*SPLITS))
@triton.jit
def attend_merge(o, lse, part, part_lse, tokens, heads, HEAD_DIM: tl.constexpr, SPLITS: tl.constexpr,
                 BLOCK_D: tl.constexpr):
    """o [tokens, heads, HEAD_DIM] from part [tokens, heads, SPLITS, HEAD_DIM] and their log-sum-exps."""
    t = tl.program_id(0)
    if t >= tl.load(tokens):
        return
    row = t.to(tl.int64) * heads + tl.program_id(1)
    i = tl.arange(0, SPLITS)
    d = tl.arange(0, BLOCK_D)
    in_head = d < HEAD_DIM
    logs = tl.load(part_lse + row * SPLITS + i)
    top = tl.max(logs, axis=0)
    base = tl.where(top == float("-inf"), 0.0, top)
    weight = tl.exp(logs - base)
    total = tl.sum(weight, axis=0)
    seen = total > 0.0
    parts = tl.load(part + (row * SPLITS + i[:, None]) * HEAD_DIM + d[None, :], mask=in_head[None, :], other=0.0)
    out = tl.sum(parts * weight[:, None], axis=0) / tl.where(seen, total, 1.0)
    tl.store(o + row * HEAD_DIM + d, out.to(o.dtype.element_ty), mask=in_head)
    if lse is not None:
        tl.store(lse + row, tl.where(seen, base + tl.log(tl.where(seen, total, 1.0)), float("-inf")))
