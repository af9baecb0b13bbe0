// ir/layout.h - where the elements of a tile live: linear maps over GF(2).
//
//   index bits of a thread          columns                       coordinate bits of the element
//   r0 r1 ... | l0..l4 | w0 ...  -> [1 512 8 ... | 2 4 64 ... ] -> m m m m m m n n n n n n (packed)
//
// A distributed layout maps (register, lane, warp) to the element that this register of this thread
// holds. A shared layout maps an offset (in elements) to the element that lies there. Coordinates
// are packed row-major: the last dimension has the lowest bits, so reshape and expand_dims change
// no column.
//
//   zero lane or warp column   both threads hold the same element (broadcast, reduced axis)
//   D1  every element is somewhere: rank of the columns = sum of log_dim
//   D2  a distributed layout is a sub-permutation: each column is zero or one bit, each bit occurs
//   once S1  a shared layout is a bijection; swizzles have columns of several bits
//
// Text   #l<64x64>{reg 1 512 8 16 32; lane 2 4 64 128 256; warp 1024 2048}    #s<4x8>{1 2 4 8 16}
// Source Zhou, Lezcano, Goucher et al., Linear Layouts, arXiv 2505.23819; layouts.md
#ifndef IR_LAYOUT_H
#define IR_LAYOUT_H
#include "base/str.h"
#include "ir/gf2.h"
#include "ir/ir.h"

enum { IN_REG, IN_LANE, IN_WARP, IN_BLOCK, N_IN };
enum { LAYOUT_MAX_RANK = 24, LAYOUT_LANES = 5, LAYOUT_MAX_REG = 10, LAYOUT_MAX_BITS = 20 };

struct Layout {
    uint8_t rank;
    uint8_t log_dim[LAYOUT_MAX_RANK]; ///< dimension 0 first
    uint8_t n_col[N_IN]; ///< index bits per input dimension; a shared layout has only IN_REG
    uint8_t n_all;       ///< their sum, at most 32
    bool is_shared;
    uint32_t col[GF2_MAX]; ///< register columns, then lane, warp, block; lowest index bit first
};

// ---- making -----------------------------------------------------------------------------------

/// No columns yet; extents are powers of two.
Layout layout_empty(int32_t rank, const int32_t *shape);
/// Appends one column to input dimension `in` (behind the columns of the same dimension).
void layout_push(Layout *l, int32_t in, uint32_t column);
/// Columns 2^0, 2^1, ... for every bit of the tile: a shared layout in row-major order.
Layout layout_row_major(int32_t rank, const int32_t *shape);
/// Element (r, c) of the last two dimensions at r*N + (c ^ vec*((r/pp) mod mp)); vec, pp, mp powers
/// of two.
Layout layout_swizzled(int32_t rank, const int32_t *shape, int32_t vec, int32_t pp, int32_t mp);
/// The same with the parameters that let 8 rows at one 16-byte column meet all banks, for elements of `bytes`
/// (layouts.md 2.5.2).
Layout layout_swizzled_rows(int32_t rows, int32_t cols, int32_t bytes);
/// The hardware swizzle of W in {32, 64, 128} bytes for elements of `bytes` (layouts.md 2.5.3).
Layout layout_hw_swizzled(int32_t rows, int32_t cols, int32_t bytes, int32_t w);
/// spt, tpw, wpc: elements per thread, lanes and warps per dimension, powers of two; `order`
/// fastest first. Small tiles are broadcast (zero columns), large ones repeated in registers.
Layout layout_blocked(int32_t rank, const int32_t *shape, const int32_t *spt, const int32_t *tpw,
                      const int32_t *wpc, const int32_t *order);
/// A blocked layout for a tile about which nothing is known: row-major, `vec` neighbours per
/// thread.
Layout layout_default(int32_t rank, const int32_t *shape, int32_t log_warps, int32_t vec);
/// How the warps of a block share C[batch, M, N] += A[batch, M, K] B[batch, K, N] on mma.sync, whose
/// fragments have 16 rows and 8 columns (layouts.md 2.2). Extents and counts are logarithms; batch
/// axes are one here, and the layouts below are of rank 3: layout_reshape() gives them the tile's.
typedef struct MmaTile {
    int32_t batch, m, n, k;
    int32_t warps_batch, warps_row,
        warps_col; ///< on the batch, the instruction's rows, its columns
    bool swap;     ///< the instruction's rows are N: C^T = B^T A^T, for tiles with few rows
    /// Any order of the k bits gives the same sum, as long as both operands have the same: slot i
    /// (in the word, then lanes l0 l1, then registers) takes bit k_slot[i].
    int8_t k_slot[LAYOUT_MAX_BITS];
} MmaTile;

/// k_slot for operands whose lanes hold 2^log_run neighbours along k, in words of 2^log_word of
/// them.
void layout_mma_k_runs(MmaTile *t, int32_t log_word, int32_t log_run);
/// k_slot with which an accumulator, whose columns are the k of this product, is operand A as it is.
void layout_mma_k_chained(MmaTile *t, int32_t log_word);
/// The accumulator: warps of rows interleave in blocks of 16, warps of columns own whole runs of
/// them. Tiles smaller than the warps or the fragment have zero columns.
Layout layout_mma_acc(const MmaTile *t);
/// Operand `b` (0: A, 1: B) for elements of which a 32-bit word holds 2^log_word. K has at least
/// log_word + 2 bits.
Layout layout_mma_operand(const MmaTile *t, bool b, int32_t log_word);
/// Accumulator of wgmma m64nN on an M x N tile for `log_warps` >= 2.
Layout layout_wgmma_acc(int32_t m, int32_t n, int32_t log_warps);

// ---- algebra ----------------------------------------------------------------------------------

/// Packed input: reg | lane << n_reg | warp << ...
static inline uint32_t layout_apply(const Layout *l, uint32_t x)
{
    return gf2_apply(l->col, x);
}
/// Packed coordinate of register `reg` of `lane` of `warp`.
uint32_t layout_at(const Layout *l, uint32_t reg, uint32_t lane, uint32_t warp);
/// First column of input dimension `in`.
static inline int32_t layout_first(const Layout *l, int32_t in)
{
    int32_t at = 0;
    for (int32_t i = 0; i < in; i++)
        at += l->n_col[i];
    return at;
}
static inline const uint32_t *layout_cols(const Layout *l, int32_t in)
{
    return l->col + layout_first(l, in);
}
/// Sum of log_dim.
int32_t layout_bits(const Layout *l);
/// Lowest packed bit and width of dimension `d`.
void layout_field(const Layout *l, int32_t d, int32_t *low, int32_t *width);
/// F o G: column i = F(G.col[i]). F's inputs are G's outputs.
Layout layout_compose(const Layout *f, const Layout *g);
/// `b` is the tile, `c` the repetition: per input dimension B's columns, then C's, on B's low
/// coordinate bits.
Layout layout_product(const Layout *b, const Layout *c);
/// C with a = b x C. @return false: there is none
bool layout_divide(const Layout *a, const Layout *b, Layout *c);
/// For a bijection of n_all = bits: its inverse, as a layout with one input dimension (IN_REG).
Layout layout_invert(const Layout *l);
/// X with F X = id for a surjective F: the owner whose free bits are zero. X's input is the
/// coordinate.
Layout layout_right_inverse(const Layout *l);
/// X with X F = id for an injective F.
Layout layout_left_inverse(const Layout *l);

// ---- shape ------------------------------------------------------------------------------------

Layout layout_reshape(const Layout *l, int32_t rank, const int32_t *shape);
/// Result dimension i is dimension perm[i].
Layout layout_trans(const Layout *l, const int32_t *perm);
/// The result of a reduction over `d`: its bits are gone, its zero register columns too.
Layout layout_squeeze(const Layout *l, int32_t d);
/// Inserts an extent-1 dimension before `d`.
Layout layout_unsqueeze(const Layout *l, int32_t d);
/// What the operand of a broadcast to `l` looks like: dimensions of extent 1 in `shape` lose their
/// bits. Zero register columns stay, so that register r of the operand is register r of the result.
Layout layout_broadcast_source(const Layout *l, const int32_t *shape);
/// Appends register columns for the bits of `shape` that `l` lacks (a forward broadcast).
Layout layout_expand(const Layout *l, const int32_t *shape);
/// S -> S x 2: the new bit is register bit 0.
Layout layout_join(const Layout *l);
/// S x 2 -> S. @return false: the last bit is not on a register
bool layout_split(const Layout *l, Layout *out);

// ---- questions --------------------------------------------------------------------------------

/// Without zero register columns.
Layout layout_canon(const Layout *l);
bool layout_equal(const Layout *a, const Layout *b);
/// The same elements in the same threads, whatever their register numbers.
bool layout_equal_up_to_regs(const Layout *a, const Layout *b);
/// Index bits of `in` whose value does not change the element (zero columns), as a mask.
uint32_t layout_free(const Layout *l, int32_t in);
/// Number of consecutive register columns 1, 2, 4, ... from register bit 0.
int32_t layout_contig(const Layout *l);
/// Registers per thread.
static inline int32_t layout_regs(const Layout *l)
{
    return 1 << l->n_col[IN_REG];
}
/// NULL, or which of D1 D2 S1 and the limits fails.
const char *layout_check(const Layout *l);

/// The one copy of `l` in `m`: equal layouts give equal pointers. `m`'s arena.
const Layout *layout_intern(Module *m, const Layout *l);

// ---- text (layout_text.c) ---------------------------------------------------------------------

/// The text form, arena.
const char *layout_text(Arena *a, const Layout *l);
/// @return false: not a layout (out is then unspecified)
bool layout_parse(Str text, Layout *out);
/// A table: who holds each element (`t13:r2`), rows and columns of the last two dimensions; at most
/// 64 x 64.
void layout_draw(const Layout *l, StrBuf *out);
/// The same as an SVG image, a colour per warp.
void layout_draw_svg(const Layout *l, StrBuf *out);
#endif
