// compiler/gpu/ldmatrix.c - reading a tile from shared memory by 8 x 8 matrices.
//
//   ldmatrix.x4   32 lanes give 32 addresses of 16-byte rows, 8 for each of 4 matrices; each lane gets
//                 4 bytes of one row of every matrix: exactly a word of an operand of mma.sync
//   .trans        2 elements of one column instead: operands whose k is not contiguous, 16 bits
//
// Whether a layout can be read so is algebra (ir/swizzle.h); this file writes the code. Addresses are
// the thread's part, computed once per kernel, and a constant or an xor per instruction.
//
// Source: PTX ISA, ldmatrix; layouts.md 2.4
#include "compiler/gpu/lower.h"

#include "ir/swizzle.h"

typedef struct Reader {
    Lower *lo;
    MatrixRead plan;
    uint32_t reg[GF2_MAX]; ///< byte offset of each register bit
    uint32_t thread_bits;  ///< address bits that `thread` may set
    LLVMValueRef thread, base;
} Reader;

static const Intrinsic *instruction(Lower *lo, const MatrixRead *m)
{
    static const char *const text[2][3] = {
        {"ldmatrix.sync.aligned.m8n8.x1.shared.b16 {$0}, [$1];",
         "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {$0,$1}, [$2];",
         "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0,$1,$2,$3}, [$4];"},
        {"ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {$0}, [$1];",
         "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {$0,$1}, [$2];",
         "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {$0,$1,$2,$3}, [$4];"}};
    static const char *const ret[] = {"i", "ii", "iiii"};
    Intrinsic *row = arena_new(lo->cx->arena, Intrinsic);
    *row = (Intrinsic){.name = arena_printf(lo->cx->arena, "ldmatrix.x%d%s", 1 << m->n_more,
                                            m->trans ? ".trans" : ""),
                       .ret = ret[m->n_more],
                       .args = "s",
                       .kind = KIND_ASM,
                       .text = text[m->trans][m->n_more],
                       .emu = EMU_LDMATRIX,
                       .flags = "CSL",
                       .imm = 1 << m->n_more | m->trans << 8};
    return row;
}

/// The instruction whose first word is that of register `r`.
static void read_matrices(const Reader *rd, const Intrinsic *row, uint32_t r, LLVMTypeRef type,
                          LLVMValueRef *out)
{
    Lower *lo = rd->lo;
    const MatrixRead *m = &rd->plan;
    uint32_t own = gf2_apply(rd->reg, r), folded = own & rd->thread_bits;
    LLVMValueRef at =
        folded ? LLVMBuildXor(lo->b, rd->thread, const_i32(lo, folded), "") : rd->thread;
    at = shared_at(lo, rd->base, at);
    if (own & ~folded) at = shared_at(lo, at, const_i32(lo, own & ~folded));
    LLVMValueRef words = kiln_call_row(lo, row, &at);
    for (uint32_t k = 0; k < 1u << m->n_more; k++) {
        LLVMValueRef word = m->n_more ? LLVMBuildExtractValue(lo->b, words, k, "") : words;
        for (uint32_t e = 0; e < 1u << m->n_word; e++)
            out[r | gf2_apply(m->more, k) | gf2_apply(m->word, e)] =
                word_part(lo, word, (int32_t)e, 1 << m->n_word, type);
    }
}

bool ldmatrix_get(Lower *lo, const Layout *l, const Layout *inverse, LLVMTypeRef type,
                  LLVMValueRef base, LLVMValueRef *out)
{
    Reader rd = {.lo = lo, .base = base};
    int32_t bytes = type_bytes(lo, gpu_memory_type(lo, type)), n_warp = l->n_col[IN_WARP];
    if (!matrix_read_pays(l, inverse, bytes, &rd.plan)) return false;
    const MatrixRead *m = &rd.plan;
    uint32_t lane[LAYOUT_LANES], warp[GF2_MAX] = {0}, skip = 0;
    for (int32_t i = 0; i < LAYOUT_LANES; i++) {
        lane[i] = m->lane[i] * (uint32_t)bytes;
        rd.thread_bits |= lane[i];
    }
    for (int32_t i = 0; i < n_warp; i++) {
        warp[i] = layout_apply(inverse, layout_cols(l, IN_WARP)[i]) * (uint32_t)bytes;
        rd.thread_bits |= warp[i];
    }
    for (int32_t i = 0; i < l->n_col[IN_REG]; i++)
        rd.reg[i] = layout_apply(inverse, layout_cols(l, IN_REG)[i]) * (uint32_t)bytes;
    for (int32_t i = 0; i < m->n_word; i++)
        skip |= m->word[i];
    for (int32_t i = 0; i < m->n_more; i++)
        skip |= m->more[i];
    rd.thread = thread_xor(lo, lane, n_warp, warp);
    const Intrinsic *row = instruction(lo, m);
    for (uint32_t r = 0; r < (uint32_t)layout_regs(l); r++)
        if (!(r & skip)) read_matrices(&rd, row, r, type, out);
    return true;
}
