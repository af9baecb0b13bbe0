// compiler/gpu/mma.c - dots on mma.sync: operands and accumulator in registers, an instruction per
// fragment of the accumulator and step of k.
//
//   a, b    one LLVM value per element, in the layouts of the plan (select_dot.c); two bf16 or four
//           int8 make the 32-bit word that the instruction takes. Words that were read as words
//           (ldmatrix, vectors) are taken as they are
//   C[i] += A[rows of i, k] B[k, columns of i]     k outermost, so that neighbours do not depend
//
// Which register holds what is read off the layouts, so any order of registers, of k, swapped sides
// and batches are one case. Rows beyond a tile of 8 or fewer are zeros that nobody reads.
//
// Source: PTX ISA, mma; layouts.md 2.2
#include "compiler/gpu/mma.h"

#include <stdio.h>

#include "compiler/gpu/lower.h"

/// One side of the product.
typedef struct Operand {
    const Value *value;
    const Layout *layout;
    DType type;            ///< of the elements the instruction takes
    int32_t mn_low, k_low; ///< first bits of the fields in the packed coordinate
    int32_t batch_low;
    LLVMValueRef *word[2]; ///< by first register: packed words; [1]: what rounding to tf32 left
} Operand;

typedef struct Mma {
    Lower *lo;
    const DotPlan *plan;
    const MmaRow *row;
    Operand rows, cols; ///< the instruction's A and B
    const Intrinsic *instruction;
} Mma;

/// The register that holds coordinate `c` in lane 0 of warp 0.
static uint32_t register_of(const Layout *l, uint32_t c)
{
    uint32_t r = 0;
    for (int32_t i = 0; i < l->n_col[IN_REG]; i++)
        if (c & layout_cols(l, IN_REG)[i]) r |= 1u << i;
    return r;
}

/// Bits of `x` moved to the k bits of slots from `first` on.
static uint32_t k_of(const MmaTile *t, int32_t first, uint32_t x)
{
    uint32_t k = 0;
    for (int32_t i = 0; x >> i; i++)
        if (x >> i & 1) k |= 1u << t->k_slot[first + i];
    return k;
}

// ---- words ------------------------------------------------------------------------------------

/// f32 as one tf32, and what is left of it as another.
static void split_tf32(const Mma *m, LLVMValueRef x, LLVMValueRef *high, LLVMValueRef *low)
{
    Lower *lo = m->lo;
    *high = KILN1(lo, TF32, x);
    if (m->plan->n_passes == 1) return;
    LLVMValueRef rest = LLVMBuildFSub(lo->b, x, LLVMBuildBitCast(lo->b, *high, lo->f32, ""), "");
    *low = KILN1(lo, TF32, rest);
}

/// The word that starts at coordinate `c` (its k without the bits inside a word). pass 1: the small
/// part.
static LLVMValueRef word_at(const Mma *m, Operand *o, uint32_t c, int32_t pass)
{
    Lower *lo = m->lo;
    int32_t n = 1 << m->plan->log_word;
    DType from = o->value->type->dtype;
    uint32_t first = register_of(o->layout, c);
    if (o->word[pass][first]) return o->word[pass][first];
    LLVMValueRef v[8];
    for (int32_t i = 0; i < n; i++) {
        uint32_t k = k_of(&m->plan->tile, 0, (uint32_t)i) << o->k_low;
        v[i] = reg_of(lo, o->value, (int32_t)register_of(o->layout, c | k));
        if (from != o->type) v[i] = emit_cast(lo, v[i], from, o->type, ROUND_RNE);
    }
    if (n == 1)
        split_tf32(m, v[0], &o->word[0][first], &o->word[1][first]);
    else
        o->word[0][first] = word_pack(lo, n, v);
    return o->word[pass][first];
}

// ---- the product ------------------------------------------------------------------------------

static const Intrinsic *instruction_of(Lower *lo, const MmaRow *row)
{
    int32_t m_words = row->rows / 8, k_words = row->k * dtype_bits(row->a) / 128, at = 0;
    int32_t counts[4] = {2 * m_words, m_words * k_words, k_words, 2 * m_words};
    char text[160], args[16] = {0}, letter = row->sum == DTYPE_I32 ? 'i' : 'f';
    int32_t n =
        snprintf(text, sizeof text, "mma.sync.aligned.%s.row.col.%s ", row->shape, row->suffix);
    for (int32_t part = 0; part < 4; part++) {
        n += snprintf(text + n, sizeof text - (size_t)n, "%s{", part ? ", " : "");
        for (int32_t i = 0; i < counts[part]; i++, at++) {
            n += snprintf(text + n, sizeof text - (size_t)n, "%s$%d", i ? "," : "", at);
            if (part) args[at - counts[0]] = part == 3 ? letter : 'i';
        }
        n += snprintf(text + n, sizeof text - (size_t)n, "}");
    }
    snprintf(text + n, sizeof text - (size_t)n, ";");
    Arena *a = lo->cx->arena;
    Intrinsic *r = arena_new(a, Intrinsic);
    *r = (Intrinsic){.name = arena_printf(a, "mma.%s.%s", row->shape, row->suffix),
                     .ret = m_words == 1    ? "ii"
                            : letter == 'i' ? "iiii"
                                            : "ffff",
                     .args = arena_strdup(a, args),
                     .kind = KIND_ASM,
                     .text = arena_strdup(a, text),
                     .emu = EMU_MMA,
                     .flags = "CL",
                     .imm = (int32_t)(row - mma_rows)};
    return r;
}

/// Where one fragment of the accumulator lies.
typedef struct Fragment {
    uint32_t row, col, batch; ///< of its first element
    int32_t reg[4];           ///< n1 | m8 << 1; -1: beyond the tile
} Fragment;

static Fragment fragment_at(const Mma *m, const Layout *acc, uint32_t r)
{
    const MmaTile *t = &m->plan->tile;
    uint32_t c = layout_at(acc, r, 0, 0), n = c & ((1u << t->n) - 1),
             y = c >> t->n & ((1u << t->m) - 1);
    int32_t rows = t->swap ? t->n : t->m, cols = t->swap ? t->m : t->n;
    int32_t row_low = t->swap ? 0 : t->n, col_low = t->swap ? t->n : 0;
    Fragment f = {t->swap ? n : y, t->swap ? y : n, c >> (t->n + t->m), {0}};
    for (uint32_t i = 0; i < 4; i++) {
        bool outside = ((i & 1) && cols < 1) || ((i & 2) && rows < 4);
        uint32_t at = c | (i & 1) << col_low | (i & 2) << (row_low + 2);
        f.reg[i] = outside ? -1 : (int32_t)register_of(acc, at);
    }
    return f;
}

/// Words of A or B of one instruction, in PTX order: row halves innermost, then halves of k.
static int32_t operand_words(const Mma *m, Operand *o, const Fragment *f, uint32_t step,
                             int32_t first_half, int32_t n_halves, int32_t pass, LLVMValueRef *out)
{
    const DotPlan *p = m->plan;
    bool is_rows = o == &m->rows;
    int32_t rows = p->tile.swap ? p->tile.n : p->tile.m, log_k = log2_floor((uint64_t)m->row->k),
            k_words = m->row->k >> (p->log_word + 2), n = 0;
    for (int32_t kw = 0; kw < k_words; kw++)
        for (int32_t half = first_half; half < first_half + n_halves; half++) {
            uint32_t k =
                k_of(&p->tile, p->log_word + 2, (uint32_t)kw) | k_of(&p->tile, log_k, step);
            uint32_t mn = is_rows ? f->row | (uint32_t)half << 3 : f->col;
            bool outside = (is_rows && half && rows < 4) || (kw && p->tile.k < p->log_word + 3);
            uint32_t c = f->batch << o->batch_low | mn << o->mn_low | k << o->k_low;
            out[n++] = outside ? const_i32(m->lo, 0) : word_at(m, o, c, pass);
        }
    return n;
}

/// One instruction on half `half` of the fragment's rows (of 1 or 2), one step of k.
static void multiply(Mma *m, const Fragment *f, uint32_t step, int32_t half, int32_t pass_a,
                     int32_t pass_b, LLVMValueRef *acc)
{
    Lower *lo = m->lo;
    int32_t n_halves = m->row->rows / 8, n;
    LLVMValueRef args[16];
    n = operand_words(m, &m->rows, f, step, half, n_halves, pass_a, args);
    n += operand_words(m, &m->cols, f, step, 0, 1, pass_b, args + n);
    LLVMTypeRef sum = m->row->sum == DTYPE_I32 ? lo->i32 : lo->f32;
    for (int32_t i = 0; i < 2 * n_halves; i++) {
        int32_t r = f->reg[2 * half + i];
        args[n++] = r < 0 ? LLVMConstNull(sum) : acc[r];
    }
    LLVMValueRef d = kiln_call_row(lo, m->instruction, args);
    for (int32_t i = 0; i < 2 * n_halves; i++) {
        int32_t r = f->reg[2 * half + i];
        if (r >= 0) acc[r] = LLVMBuildExtractValue(lo->b, d, (unsigned)i, "");
    }
}

/// All fragments, one step of k.
static void multiply_step(Mma *m, const Layout *layout, uint32_t step, LLVMValueRef *acc)
{
    static const int8_t passes[3][2] = {{0, 0}, {1, 0}, {0, 1}};
    const MmaTile *t = &m->plan->tile;
    int32_t rows = t->swap ? t->n : t->m, cols = t->swap ? t->m : t->n;
    int32_t row_low = t->swap ? 0 : t->n, col_low = t->swap ? t->n : 0;
    uint32_t inner = (cols ? 1u << col_low : 0) | (rows > 3 ? 8u << row_low : 0);
    for (int32_t pass = m->plan->n_passes - 1; pass >= 0; pass--) // small products first
        for (uint32_t r = 0; r < (uint32_t)layout_regs(layout); r++) {
            if (layout_at(layout, r, 0, 0) & inner) continue;
            Fragment f = fragment_at(m, layout, r);
            for (int32_t half = 0; half < 2; half += m->row->rows / 8)
                if (!half || rows > 3)
                    multiply(m, &f, step, half, passes[pass][0], passes[pass][1], acc);
        }
}

static Operand operand_of(Lower *lo, const Op *op, const DotPlan *p, int32_t index)
{
    const Value *v = op->in[index];
    const MmaTile *t = &p->tile;
    Operand o = {.value = v, .layout = v->type->layout, .type = index ? p->b : p->a};
    o.mn_low = index ? 0 : t->k, o.k_low = index ? t->n : 0;
    o.batch_low = t->k + (index ? t->n : t->m);
    for (int32_t i = 0; i < 2; i++)
        o.word[i] = regs_new(lo, layout_regs(o.layout));
    return o;
}

void lower_mma(Lower *lo, Op *op)
{
    const DotPlan *p = op_note(op)->dot;
    const Type *tc = op->out[0].type;
    Mma m = {.lo = lo, .plan = p, .row = &mma_rows[p->mma]};
    m.rows = operand_of(lo, op, p, p->tile.swap), m.cols = operand_of(lo, op, p, !p->tile.swap);
    m.instruction = instruction_of(lo, m.row);
    int32_t n_regs = layout_regs(tc->layout), steps = p->tile.k - log2_floor((uint64_t)m.row->k);
    LLVMValueRef *acc = regs_new(lo, n_regs);
    regs_of(lo, op->in[2], acc);
    for (int32_t r = 0; r < n_regs; r++)
        acc[r] = emit_cast(lo, acc[r], tc->dtype, m.row->sum, ROUND_RNE);
    for (uint32_t step = 0; step < 1u << MAX(0, steps); step++)
        multiply_step(&m, tc->layout, step, acc);
    Tile out = tile_new(lo, n_regs, false);
    for (int32_t r = 0; r < n_regs; r++)
        out.v[r] = emit_cast(lo, acc[r], m.row->sum, tc->dtype, ROUND_RNE);
    tile_set(lo, &op->out[0], out);
}
