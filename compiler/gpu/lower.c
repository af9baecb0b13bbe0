// compiler/gpu/lower.c - tile IR to LLVM IR per thread: values, control flow, dispatch.
#include "compiler/gpu/lower.h"

#include <stdio.h>

// ---- types and constants ----------------------------------------------------------------------

LLVMTypeRef gpu_dtype_type(const Lower *lo, DType t)
{
    switch (t) {
    case DTYPE_I1:
        return lo->i1;
    case DTYPE_I8:
    case DTYPE_U8:
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2:
        return lo->i8;
    case DTYPE_I16:
    case DTYPE_U16:
    case DTYPE_BF16:
        return lo->i16;
    case DTYPE_I32:
    case DTYPE_U32:
        return lo->i32;
    case DTYPE_I64:
    case DTYPE_U64:
        return lo->i64;
    case DTYPE_F16:
        return lo->f16;
    case DTYPE_F32:
        return lo->f32;
    case DTYPE_F64:
        return lo->f64;
    default:
        BUG("no LLVM type for dtype %d", t);
    }
}

LLVMTypeRef element_type(const Lower *lo, const Type *t)
{
    return t->is_ptr ? lo->gptr : gpu_dtype_type(lo, t->dtype);
}

LLVMValueRef const_i32(const Lower *lo, int64_t v)
{
    return LLVMConstInt(lo->i32, (unsigned long long)v, true);
}

LLVMValueRef gpu_const_i64(const Lower *lo, int64_t v)
{
    return LLVMConstInt(lo->i64, (unsigned long long)v, true);
}

LLVMValueRef const_of(const Lower *lo, const Type *t, const Attr *a)
{
    LLVMTypeRef type = element_type(lo, t);
    if (t->is_ptr)
        return a->i ? LLVMConstIntToPtr(gpu_const_i64(lo, a->i), type) : LLVMConstNull(type);
    switch (t->dtype) {
    case DTYPE_F16:
    case DTYPE_F32:
    case DTYPE_F64:
        return LLVMConstReal(type, a->f);
    case DTYPE_BF16:
        return LLVMConstInt(type, bf16_from_f64(a->f), false);
    case DTYPE_F8E4M3:
        return LLVMConstInt(type, f8e4m3_from_f32((float)a->f), false);
    case DTYPE_F8E5M2:
        return LLVMConstInt(type, f8e5m2_from_f32((float)a->f), false);
    default:
        return LLVMConstInt(type, (unsigned long long)a->i, true);
    }
}

LLVMValueRef zero_of(const Lower *lo, const Type *t)
{
    return LLVMConstNull(element_type(lo, t));
}

int32_t type_bytes(const Lower *lo, LLVMTypeRef t)
{
    if (t == lo->i1) return 1;
    if (t == lo->gptr) return 8;
    return (int32_t)LLVMABISizeOfType(lo->ll->layout, t);
}

// ---- values -----------------------------------------------------------------------------------

LLVMValueRef *regs_new(Lower *lo, int32_t n)
{
    return arena_array(lo->cx->arena, LLVMValueRef, MAX(n, 1));
}

Tile tile_new(Lower *lo, int32_t n, bool with_off)
{
    return (Tile){n, regs_new(lo, n), with_off ? arena_array(lo->cx->arena, int64_t, n) : NULL};
}

Tile *tile_of(Lower *lo, const Value *v)
{
    Tile *t = &lo->vals[v->id];
    if (!t->v)
        BUG("a value used before it was lowered (op %s)",
            v->def ? op_facts[v->def->kind].name : "argument");
    return t;
}

void tile_set(Lower *lo, const Value *v, Tile t)
{
    lo->vals[v->id] = t;
}

static LLVMValueRef with_offset(Lower *lo, const Type *t, LLVMValueRef v, int64_t off)
{
    if (!off) return v;
    if (t->is_ptr) {
        LLVMValueRef index = gpu_const_i64(lo, off);
        return LLVMBuildGEP2(lo->b, lo->i8, v, &index, 1, "");
    }
    return LLVMBuildAdd(lo->b, v, LLVMConstInt(LLVMTypeOf(v), (unsigned long long)off, true), "");
}

LLVMValueRef reg_of(Lower *lo, const Value *v, int32_t r)
{
    Tile *t = tile_of(lo, v);
    return with_offset(lo, v->type, t->v[r], t->off ? t->off[r] : 0);
}

void regs_of(Lower *lo, const Value *v, LLVMValueRef *out)
{
    Tile *t = tile_of(lo, v);
    for (int32_t r = 0; r < t->n; r++) {
        out[r] = NULL;
        for (int32_t k = MAX(0, r - 64); k < r && !out[r];
             k++) // equal registers are one LLVM value
            if (t->v[k] == t->v[r] && (!t->off || t->off[k] == t->off[r])) out[r] = out[k];
        if (!out[r]) out[r] = reg_of(lo, v, r);
    }
}

LLVMValueRef gpu_scalar_of(Lower *lo, const Value *v)
{
    return reg_of(lo, v, 0);
}

static void set_scalar(Lower *lo, const Value *v, LLVMValueRef x)
{
    Tile t = tile_new(lo, 1, false);
    t.v[0] = x;
    tile_set(lo, v, t);
}

// ---- threads ----------------------------------------------------------------------------------

LLVMBasicBlockRef block_new(Lower *lo, const char *name)
{
    return LLVMAppendBasicBlockInContext(lo->c, lo->func, name);
}

void block_enter(Lower *lo, LLVMBasicBlockRef block)
{
    LLVMPositionBuilderAtEnd(lo->b, block);
}

/// Bits [at, at + n) of `word`, moved to bit `to`.
static LLVMValueRef move_bits(Lower *lo, LLVMValueRef word, int32_t at, int32_t n, int32_t to)
{
    LLVMValueRef x = at ? LLVMBuildLShr(lo->b, word, const_i32(lo, at), "") : word;
    x = LLVMBuildAnd(lo->b, x, const_i32(lo, (1 << n) - 1), "");
    return to ? LLVMBuildShl(lo->b, x, const_i32(lo, to), "") : x;
}

/// Single-bit columns of `word`'s bits to coordinate bits, runs of neighbours together.
static LLVMValueRef gather_columns(Lower *lo, LLVMValueRef word, int32_t n, const uint32_t *cols,
                                   uint32_t field, int32_t low, LLVMValueRef sum)
{
    for (int32_t i = 0; i < n;) {
        uint32_t c = cols[i] & field;
        if (!c) {
            i++;
            continue;
        }
        int32_t k = 1;
        while (i + k < n && (cols[i + k] & field) == c << k)
            k++;
        LLVMValueRef part = move_bits(lo, word, i, k, __builtin_ctz(c) - low);
        sum = sum ? LLVMBuildOr(lo->b, sum, part, "") : part;
        i += k;
    }
    return sum;
}

LLVMValueRef thread_field(Lower *lo, const Layout *l, int32_t low, int32_t width)
{
    char *key = arena_printf(lo->cx->arena, "%p:%d:%d", (const void *)l, low, width);
    LLVMValueRef v = map_get(&lo->fields, str_of(key));
    if (v) return v;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(lo->b);
    block_enter(lo, lo->entry);
    uint32_t field = (width >= 32 ? ~0u : (1u << width) - 1) << low;
    v = gather_columns(lo, lo->lane, LAYOUT_LANES, layout_cols(l, IN_LANE), field, low, NULL);
    v = gather_columns(lo, lo->warp, l->n_col[IN_WARP], layout_cols(l, IN_WARP), field, low, v);
    if (!v) v = const_i32(lo, 0);
    block_enter(lo, here);
    map_put(lo->cx->arena, &lo->fields, str_of(key), v);
    return v;
}

/// The xor of columns, written where the builder stands.
static LLVMValueRef xor_columns(Lower *lo, const uint32_t *lane_cols, int32_t n_warp,
                                const uint32_t *warp_cols)
{
    LLVMValueRef sum = NULL;
    for (int32_t side = 0; side < 2; side++) {
        const uint32_t *cols = side ? warp_cols : lane_cols;
        int32_t n = side ? n_warp : LAYOUT_LANES;
        for (int32_t i = 0; i < n;) {
            if (!cols[i]) {
                i++;
                continue;
            }
            int32_t k = 1; // a run of neighbours that are single bits moves as one
            bool unit = (cols[i] & (cols[i] - 1)) == 0;
            while (unit && i + k < n && cols[i + k] == cols[i] << k)
                k++;
            LLVMValueRef word = side ? lo->warp : lo->lane, part;
            if (unit) {
                part = move_bits(lo, word, i, k, __builtin_ctz(cols[i]));
            } else {
                LLVMValueRef bit = move_bits(lo, word, i, 1, 0);
                part =
                    LLVMBuildAnd(lo->b, LLVMBuildNeg(lo->b, bit, ""), const_i32(lo, cols[i]), "");
            }
            sum = sum ? LLVMBuildXor(lo->b, sum, part, "") : part;
            i += k;
        }
    }
    return sum ? sum : const_i32(lo, 0);
}

LLVMValueRef thread_xor(Lower *lo, const uint32_t *lane_cols, int32_t n_warp,
                        const uint32_t *warp_cols)
{
    char *key = arena_strdup(lo->cx->arena, "xor");
    for (int32_t i = 0; i < LAYOUT_LANES + n_warp; i++)
        key = arena_printf(lo->cx->arena, "%s:%x", key,
                           i < LAYOUT_LANES ? lane_cols[i] : warp_cols[i - LAYOUT_LANES]);
    LLVMValueRef v = map_get(&lo->fields, str_of(key));
    if (v) return v;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(lo->b);
    block_enter(lo, lo->entry);
    v = xor_columns(lo, lane_cols, n_warp, warp_cols);
    block_enter(lo, here);
    map_put(lo->cx->arena, &lo->fields, str_of(key), v);
    return v;
}

LLVMValueRef owner_predicate(Lower *lo, const Layout *l)
{
    uint32_t lanes = layout_free(l, IN_LANE), warps = layout_free(l, IN_WARP),
             mask = lanes | warps << LAYOUT_LANES;
    if (!mask) return NULL;
    char *key = arena_printf(lo->cx->arena, "owner:%x", mask);
    LLVMValueRef v = map_get(&lo->fields, str_of(key));
    if (v) return v;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(lo->b);
    block_enter(lo, lo->entry);
    v = LLVMBuildICmp(lo->b, LLVMIntEQ, LLVMBuildAnd(lo->b, lo->tid, const_i32(lo, mask), ""),
                      const_i32(lo, 0), "");
    block_enter(lo, here);
    map_put(lo->cx->arena, &lo->fields, str_of(key), v);
    return v;
}

LLVMValueRef place_of(Lower *lo)
{
    Span s = lo->op ? lo->op->span : NO_SPAN;
    return gpu_const_i64(lo, s.file < 0 ? -1 : (int64_t)s.begin << 32 | (uint32_t)s.end);
}

void barrier(Lower *lo)
{
    KILN0(lo, BARRIER);
}

LLVMValueRef scratch_enter(Lower *lo, const Op *op)
{
    const Scratch *s = &op_note(op)->scratch;
    if (s->needs_barrier) barrier(lo);
    return shared_at(lo, lo->smem, const_i32(lo, s->offset));
}

// ---- shared memory ----------------------------------------------------------------------------

LLVMTypeRef gpu_memory_type(const Lower *lo, LLVMTypeRef t)
{
    return t == lo->i1 ? lo->i8 : t == lo->gptr ? lo->i64 : t;
}

LLVMValueRef gpu_to_memory(Lower *lo, LLVMValueRef v)
{
    LLVMTypeRef t = LLVMTypeOf(v);
    if (t == lo->i1) return LLVMBuildZExt(lo->b, v, lo->i8, "");
    if (t == lo->gptr) return LLVMBuildPtrToInt(lo->b, v, lo->i64, "");
    return v;
}

LLVMValueRef gpu_from_memory(Lower *lo, LLVMValueRef v, LLVMTypeRef t)
{
    if (t == lo->i1) return LLVMBuildICmp(lo->b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "");
    if (t == lo->gptr) return LLVMBuildIntToPtr(lo->b, v, t, "");
    return v;
}

LLVMValueRef shared_at(Lower *lo, LLVMValueRef base, LLVMValueRef bytes)
{
    return LLVMBuildGEP2(lo->b, lo->i8, base, &bytes, 1, "");
}

/// Tells the emulator of a shared access.
static void check_shared(Lower *lo, LLVMValueRef at, int32_t bytes, bool is_write)
{
    if (!lo->cx->is_emu) return;
    char *name = arena_printf(lo->cx->arena, "shared.%d.%d", bytes, is_write);
    Intrinsic row = {name, "", "s", KIND_ASM, "", EMU_SHARED, "SL", bytes | is_write << 8};
    kiln_call_row(lo, &row, &at);
}

/// Small elements travel as 32-bit words where there are enough of them.
static int32_t per_word(const Lower *lo, LLVMTypeRef mem, int32_t n)
{
    int32_t per = 4 / type_bytes(lo, mem);
    return per > 1 && n >= per ? per : 1;
}

void shared_load(Lower *lo, LLVMTypeRef type, int32_t n, LLVMValueRef at, LLVMValueRef *out)
{
    LLVMTypeRef mem = gpu_memory_type(lo, type);
    int32_t bytes = n * type_bytes(lo, mem), per = per_word(lo, mem, n), n_words = n / per;
    LLVMTypeRef unit = per > 1 ? lo->i32 : mem;
    check_shared(lo, at, bytes, false);
    LLVMValueRef x =
        LLVMBuildLoad2(lo->b, n_words > 1 ? LLVMVectorType(unit, (unsigned)n_words) : unit, at, "");
    LLVMSetAlignment(x, (unsigned)bytes);
    for (int32_t i = 0; i < n_words; i++) {
        LLVMValueRef one =
            n_words > 1 ? LLVMBuildExtractElement(lo->b, x, const_i32(lo, i), "") : x;
        if (per == 1) out[i] = gpu_from_memory(lo, one, type);
        for (int32_t k = 0; per > 1 && k < per; k++)
            out[i * per + k] = word_part(lo, one, k, per, type);
    }
}

void shared_store(Lower *lo, LLVMTypeRef type, int32_t n, LLVMValueRef at, const LLVMValueRef *in)
{
    LLVMTypeRef mem = gpu_memory_type(lo, type);
    int32_t bytes = n * type_bytes(lo, mem), per = per_word(lo, mem, n), n_words = n / per;
    LLVMValueRef x = NULL;
    if (n_words > 1) x = LLVMGetUndef(LLVMVectorType(per > 1 ? lo->i32 : mem, (unsigned)n_words));
    for (int32_t i = 0; i < n_words; i++) {
        LLVMValueRef one = per > 1 ? word_pack(lo, per, in + i * per) : gpu_to_memory(lo, in[i]);
        x = n_words > 1 ? LLVMBuildInsertElement(lo->b, x, one, const_i32(lo, i), "") : one;
    }
    check_shared(lo, at, bytes, true);
    LLVMSetAlignment(LLVMBuildStore(lo->b, x, at), (unsigned)bytes);
}

// ---- control flow -----------------------------------------------------------------------------

/// Phis for the registers of `v`, whose incoming values are added later.
static void open_phis(Lower *lo, const Value *v)
{
    int32_t n = value_regs(v);
    Tile t = tile_new(lo, n, false);
    for (int32_t r = 0; r < n; r++)
        t.v[r] = LLVMBuildPhi(lo->b, element_type(lo, v->type), "");
    tile_set(lo, v, t);
}

typedef struct Carried {
    int32_t n;
    LLVMValueRef *v;
} Carried;

static Carried materialise(Lower *lo, const Value *v)
{
    Carried c = {value_regs(v), regs_new(lo, value_regs(v))};
    regs_of(lo, v, c.v);
    return c;
}

static void add_incoming(Lower *lo, const Value *phi, const Carried *c, LLVMBasicBlockRef from)
{
    Tile *t = tile_of(lo, phi);
    ASSERT(t->n == c->n);
    for (int32_t r = 0; r < c->n; r++)
        LLVMAddIncoming(t->v[r], (LLVMValueRef[]){c->v[r]}, &from, 1);
}

static Carried *materialise_all(Lower *lo, int32_t n, Value *const *values)
{
    Carried *c = arena_array(lo->cx->arena, Carried, MAX(n, 1));
    for (int32_t i = 0; i < n; i++)
        c[i] = materialise(lo, values[i]);
    return c;
}

/// i < end, or i > end for a negative step.
static LLVMValueRef goes_on(Lower *lo, const Op *op, LLVMValueRef i, LLVMValueRef end,
                            LLVMValueRef step)
{
    bool is_signed = dtype_is_signed(op->in[0]->type->dtype);
    LLVMValueRef up = LLVMBuildICmp(lo->b, is_signed ? LLVMIntSLT : LLVMIntULT, i, end, "");
    if (!is_signed) return up;
    LLVMValueRef down = LLVMBuildICmp(lo->b, LLVMIntSGT, i, end, "");
    LLVMValueRef rises =
        LLVMBuildICmp(lo->b, LLVMIntSGT, step, LLVMConstNull(LLVMTypeOf(step)), "");
    return LLVMBuildSelect(lo->b, rises, up, down, "");
}

static void lower_for(Lower *lo, Op *op)
{
    Region *body = op->regions[0];
    int32_t n = op->n_out;
    LLVMValueRef begin = gpu_scalar_of(lo, op->in[0]), end = gpu_scalar_of(lo, op->in[1]),
                 step = gpu_scalar_of(lo, op->in[2]);
    Carried *initial = materialise_all(lo, n, op->in + 3);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(lo->b), head = block_new(lo, "for"),
                      inside = block_new(lo, "body"), after = block_new(lo, "after");
    LLVMBuildBr(lo->b, head);
    block_enter(lo, head);
    for (int32_t i = 0; i <= n; i++)
        open_phis(lo, body->args[i]);
    LLVMValueRef index = gpu_scalar_of(lo, body->args[0]);
    LLVMAddIncoming(index, &begin, &from, 1);
    for (int32_t i = 0; i < n; i++)
        add_incoming(lo, body->args[i + 1], &initial[i], from);
    LLVMBuildCondBr(lo->b, goes_on(lo, op, index, end, step), inside, after);
    block_enter(lo, inside);
    lower_region(lo, body);
    Carried *next = materialise_all(lo, n, body->last->in);
    LLVMValueRef more = LLVMBuildAdd(lo->b, index, step, "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(lo->b);
    llvm_loop_no_unroll(lo->ll, LLVMBuildBr(lo->b, head));
    LLVMAddIncoming(index, &more, &latch, 1);
    for (int32_t i = 0; i < n; i++)
        add_incoming(lo, body->args[i + 1], &next[i], latch);
    block_enter(lo, after);
    for (int32_t i = 0; i < n; i++)
        tile_set(lo, &op->out[i], *tile_of(lo, body->args[i + 1]));
}

static void lower_while(Lower *lo, Op *op)
{
    Region *test = op->regions[0], *body = op->regions[1];
    Carried *initial = materialise_all(lo, test->n_args, op->in);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(lo->b), head = block_new(lo, "while"),
                      inside = block_new(lo, "do"), after = block_new(lo, "after");
    LLVMBuildBr(lo->b, head);
    block_enter(lo, head);
    for (int32_t i = 0; i < test->n_args; i++) {
        open_phis(lo, test->args[i]);
        add_incoming(lo, test->args[i], &initial[i], from);
    }
    lower_region(lo, test);
    for (int32_t i = 0; i < body->n_args; i++)
        tile_set(lo, body->args[i], *tile_of(lo, test->last->in[i + 1]));
    for (int32_t i = 0; i < op->n_out; i++)
        tile_set(lo, &op->out[i], *tile_of(lo, test->last->in[i + 1]));
    LLVMBuildCondBr(lo->b, gpu_scalar_of(lo, test->last->in[0]), inside, after);
    block_enter(lo, inside);
    lower_region(lo, body);
    Carried *next = materialise_all(lo, test->n_args, body->last->in);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(lo->b);
    llvm_loop_no_unroll(lo->ll, LLVMBuildBr(lo->b, head));
    for (int32_t i = 0; i < test->n_args; i++)
        add_incoming(lo, test->args[i], &next[i], latch);
    block_enter(lo, after);
}

static void lower_if(Lower *lo, Op *op)
{
    LLVMBasicBlockRef side[2] = {block_new(lo, "then"), block_new(lo, "else")},
                      after = block_new(lo, "endif"), from[2];
    Carried *yielded[2];
    LLVMBuildCondBr(lo->b, gpu_scalar_of(lo, op->in[0]), side[0], side[1]);
    for (int32_t k = 0; k < 2; k++) {
        block_enter(lo, side[k]);
        lower_region(lo, op->regions[k]);
        yielded[k] = materialise_all(lo, op->n_out, op->regions[k]->last->in);
        from[k] = LLVMGetInsertBlock(lo->b);
        LLVMBuildBr(lo->b, after);
    }
    block_enter(lo, after);
    for (int32_t i = 0; i < op->n_out; i++) {
        open_phis(lo, &op->out[i]);
        for (int32_t k = 0; k < 2; k++)
            add_incoming(lo, &op->out[i], &yielded[k][i], from[k]);
    }
}

void lower_combine(Lower *lo, Region *r, const LLVMValueRef *in, LLVMValueRef *out)
{
    for (int32_t i = 0; i < r->n_args; i++)
        set_scalar(lo, r->args[i], in[i]);
    lower_region(lo, r);
    for (int32_t i = 0; i < r->last->n_in; i++)
        out[i] = gpu_scalar_of(lo, r->last->in[i]);
}

// ---- dispatch ---------------------------------------------------------------------------------

/// A failed assertion traps; the emulator says where.
static void lower_assert(Lower *lo, Op *op)
{
    int32_t n = value_regs(op->in[0]);
    LLVMValueRef bad = NULL;
    for (int32_t r = 0; r < n; r++) {
        LLVMValueRef one = LLVMBuildNot(lo->b, reg_of(lo, op->in[0], r), "");
        if (op->n_in > 1)
            one =
                LLVMBuildAnd(lo->b, one, reg_of(lo, op->in[1], op->in[1]->type->rank ? r : 0), "");
        bad = bad ? LLVMBuildOr(lo->b, bad, one, "") : one;
    }
    LLVMBasicBlockRef fails = block_new(lo, "assert"), after = block_new(lo, "fine");
    LLVMBuildCondBr(lo->b, bad, fails, after);
    block_enter(lo, fails);
    KILN1(lo, TRAP, const_i32(lo, 0));
    LLVMBuildBr(lo->b, after);
    block_enter(lo, after);
}

static void lower_program_id(Lower *lo, Op *op)
{
    static const IntrinsicId ids[2][3] = {{K_CTAID_X, K_CTAID_Y, K_CTAID_Z},
                                          {K_NCTAID_X, K_NCTAID_Y, K_NCTAID_Z}};
    IntrinsicId id = ids[op->kind == OP_NUM_PROGRAMS][op_attr_i(op, ATTR_AXIS)];
    LLVMBasicBlockRef here = LLVMGetInsertBlock(lo->b);
    block_enter(lo, lo->entry);
    LLVMValueRef v = kiln_call(lo, id, 0, NULL);
    block_enter(lo, here);
    set_scalar(lo, &op->out[0], v);
}

/// Ops with regions, and those that only mark a place. @return false: another op
static bool lower_control(Lower *lo, Op *op)
{
    switch (op->kind) {
    case OP_FOR:
        lower_for(lo, op);
        return true;
    case OP_WHILE:
        lower_while(lo, op);
        return true;
    case OP_IF:
        lower_if(lo, op);
        return true;
    case OP_ASSUME:
    case OP_YIELD:
    case OP_CONDITION:
    case OP_RETURN:
        return true;
    default:
        return false;
    }
}

void lower_op(Lower *lo, Op *op)
{
    lo->op = op;
    if (lower_control(lo, op)) return;
    switch (op->kind) {
    case OP_PROGRAM_ID:
    case OP_NUM_PROGRAMS:
        lower_program_id(lo, op);
        break;
    case OP_ELEM:
    case OP_CAST:
    case OP_BITCAST:
    case OP_ADDPTR:
    case OP_HINT:
        lower_elementwise(lo, op);
        break;
    case OP_CONST:
    case OP_ARANGE:
    case OP_SPLAT:
    case OP_BROADCAST:
    case OP_EXPAND_DIMS:
    case OP_RESHAPE:
    case OP_TRANS:
    case OP_JOIN:
    case OP_SPLIT:
    case OP_CAT:
        lower_shape(lo, op);
        break;
    case OP_FLIP:
        lower_flip(lo, op);
        break;
    case OP_REDUCE:
        lower_reduce(lo, op);
        break;
    case OP_SCAN:
        lower_scan(lo, op);
        break;
    case OP_SORT:
        lower_sort(lo, op);
        break;
    case OP_GATHER:
        lower_gather(lo, op);
        break;
    case OP_HISTOGRAM:
        lower_histogram(lo, op);
        break;
    case OP_DOT:
        lower_dot(lo, op);
        break;
    case OP_LOAD:
    case OP_STORE:
        lower_memory(lo, op);
        break;
    case OP_ATOMIC_RMW:
    case OP_ATOMIC_CAS:
        lower_atomic(lo, op);
        break;
    case OP_BARRIER:
        barrier(lo);
        break;
    case OP_CONVERT:
        lower_convert(lo, op);
        break;
    case OP_ALLOC:
    case OP_COPY_ASYNC:
    case OP_WAIT:
    case OP_BUF_LOAD:
    case OP_BUF_STORE:
        lower_async(lo, op);
        break;
    case OP_ASSERT:
        lower_assert(lo, op);
        break;
    default:
        BUG("no lowering for %s",
            op_facts[op->kind].name); // gpu.c has refused it with a diagnostic
    }
}

void lower_region(Lower *lo, Region *r)
{
    EACH_OP(op, r)
        lower_op(lo, op);
}

// ---- the function -----------------------------------------------------------------------------

static void init_types(Lower *lo)
{
    LLVMContextRef c = lo->c;
    lo->i1 = LLVMInt1TypeInContext(c), lo->i8 = LLVMInt8TypeInContext(c),
    lo->i16 = LLVMInt16TypeInContext(c);
    lo->i32 = LLVMInt32TypeInContext(c), lo->i64 = LLVMInt64TypeInContext(c);
    lo->f16 = LLVMHalfTypeInContext(c), lo->f32 = LLVMFloatTypeInContext(c),
    lo->f64 = LLVMDoubleTypeInContext(c);
    lo->gptr = LLVMPointerTypeInContext(c, 1), lo->sptr = LLVMPointerTypeInContext(c, 3);
    lo->nothing = LLVMVoidTypeInContext(c);
}

/// i1 and fp8 arguments are bytes, bf16 ones 16-bit words, as in the argument block.
static LLVMTypeRef param_type(const Lower *lo, const Type *t)
{
    return t->kind == TYPE_PTR ? lo->gptr : gpu_memory_type(lo, element_type(lo, t));
}

static void annotate(Lower *lo, const char *name, int32_t value)
{
    LLVMMetadataRef parts[3] = {LLVMValueAsMetadata(lo->func),
                                LLVMMDStringInContext2(lo->c, name, strlen(name)),
                                LLVMValueAsMetadata(const_i32(lo, value))};
    LLVMAddNamedMetadataOperand(lo->ll->module, "nvvm.annotations",
                                LLVMMetadataAsValue(lo->c, LLVMMDNodeInContext2(lo->c, parts, 3)));
}

/// On the GPU a parameter each; in the emulator one pointer to the argument block.
static void declare_kernel(Lower *lo, const Code *code)
{
    const Func *fn = lo->cx->fn;
    LLVMTypeRef types[CODE_MAX_PARAMS];
    bool is_emu = lo->cx->is_emu;
    unsigned n = (unsigned)fn->n_params;
    for (unsigned i = 0; i < n; i++)
        types[i] = param_type(lo, fn->params[i].value->type);
    if (is_emu) n = 1, types[0] = LLVMPointerTypeInContext(lo->c, 0);
    lo->func = LLVMAddFunction(lo->ll->module, code->entry,
                               LLVMFunctionType(lo->nothing, types, n, false));
    if (!is_emu) {
        LLVMSetFunctionCallConv(lo->func, 71); // ptx_kernel
        annotate(lo, "reqntidx", 32 << lo->cx->log_warps);
        annotate(lo, "reqntidy", 1);
        annotate(lo, "reqntidz", 1);
        if (lo->cx->fn->maxnreg) annotate(lo, "maxnreg", lo->cx->fn->maxnreg);
        for (int32_t i = 0; i < fn->n_params; i++)
            if (fn->params[i].value->type->is_ptr && fn->params[i].divisible > 1)
                llvm_enum_attribute(lo->ll, lo->func, (unsigned)i + 1, "align",
                                    (uint64_t)fn->params[i].divisible);
    }
    llvm_enum_attribute(lo->ll, lo->func, LLVMAttributeFunctionIndex, "nounwind", 0);
}

static void take_params(Lower *lo, const Code *code)
{
    const Func *fn = lo->cx->fn;
    for (int32_t i = 0; i < fn->n_params; i++) {
        const Value *v = fn->params[i].value;
        LLVMTypeRef type = param_type(lo, v->type);
        LLVMValueRef x;
        if (lo->cx->is_emu) {
            LLVMValueRef index = gpu_const_i64(lo, code->params[i].offset);
            LLVMValueRef at =
                LLVMBuildGEP2(lo->b, lo->i8, LLVMGetParam(lo->func, 0), &index, 1, "");
            x = LLVMBuildLoad2(lo->b, type, at, "");
        } else {
            x = LLVMGetParam(lo->func, (unsigned)i);
        }
        set_scalar(lo, v, v->type->is_ptr ? x : gpu_from_memory(lo, x, element_type(lo, v->type)));
    }
}

void lower_function(Lower *lo, const Code *code)
{
    GpuCx *cx = lo->cx;
    lo->c = lo->ll->context;
    lo->b = lo->ll->builder;
    init_types(lo);
    lo->vals = arena_array(cx->arena, Tile, func_number(cx->fn));
    declare_kernel(lo, code);
    lo->entry = block_new(lo, "entry");
    LLVMBasicBlockRef body = block_new(lo, "start");
    block_enter(lo, lo->entry);
    take_params(lo, code);
    lo->tid = KILN0(lo, TID);
    lo->lane = LLVMBuildAnd(lo->b, lo->tid, const_i32(lo, 31), "");
    lo->warp = LLVMBuildLShr(lo->b, lo->tid, const_i32(lo, 5), "");
    lo->smem = cx->shared_bytes ? KILN0(lo, SMEM) : NULL;
    block_enter(lo, body);
    lower_region(lo, cx->fn->body);
    LLVMBuildRetVoid(lo->b);
    block_enter(lo, lo->entry);
    LLVMBuildBr(lo->b, body);
}
