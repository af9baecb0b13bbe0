// compiler/gpu/lower_mem.c - global loads and stores.
//
//   registers whose elements are neighbours in memory move together, up to 16 bytes:
//       ld.global.v4.b32 {%r0, %r1, %r2, %r3}, [%p + 512]
//   a mask is a predicate of the access, uniform over it (anchors.c saw to that); what is masked
//   off is not touched and reads as `other`:
//       @%m ld.global.v4.b32 {...}, [%p]     registers hold `other` before
//   elements that several threads hold are stored by one of them
#include "compiler/gpu/lower.h"

#include <stdio.h>

/// Words in which the elements of one access travel: i32 for up to 4-byte elements, i64 for 8-byte
/// ones, i16 for single small ones.
typedef struct Words {
    int32_t n;     ///< words
    int32_t bytes; ///< of one word in memory
    int32_t per;   ///< elements per word
    char letter;
    LLVMTypeRef type;
} Words;

static Words words_of(Lower *lo, int32_t element_bytes, int32_t n)
{
    int32_t total = element_bytes * n;
    if (element_bytes == 8) return (Words){n, 8, 1, 'l', lo->i64};
    if (total < 4) return (Words){1, total, n, 'h', lo->i16};
    return (Words){total / 4, 4, 4 / element_bytes, 'i', lo->i32};
}

/// An element's bits, zero-extended to the word.
static LLVMValueRef to_word(Lower *lo, const Words *w, LLVMValueRef x)
{
    x = gpu_to_memory(lo, x);
    LLVMTypeRef t = LLVMTypeOf(x);
    if (t == lo->f16) x = LLVMBuildBitCast(lo->b, x, lo->i16, "");
    if (t == lo->f32) x = LLVMBuildBitCast(lo->b, x, lo->i32, "");
    if (t == lo->f64) x = LLVMBuildBitCast(lo->b, x, lo->i64, "");
    return LLVMBuildZExt(lo->b, x, w->type, "");
}

static void pack(Lower *lo, const Words *w, const LLVMValueRef *in, LLVMValueRef *out)
{
    int32_t bits = w->bytes * 8 / w->per;
    for (int32_t i = 0; i < w->n; i++) {
        if (w->bytes == 4 && w->per > 1) {
            out[i] = word_pack(lo, w->per, in + i * w->per);
            continue;
        }
        out[i] = to_word(lo, w, in[i * w->per]);
        for (int32_t k = 1; k < w->per; k++) {
            LLVMValueRef part = to_word(lo, w, in[i * w->per + k]);
            part =
                LLVMBuildShl(lo->b, part, LLVMConstInt(w->type, (unsigned)(k * bits), false), "");
            out[i] = LLVMBuildOr(lo->b, out[i], part, "");
        }
    }
}

static void unpack(Lower *lo, const Words *w, LLVMTypeRef type, const LLVMValueRef *in,
                   LLVMValueRef *out)
{
    LLVMTypeRef mem = gpu_memory_type(lo, type);
    int32_t bits = w->bytes * 8 / w->per;
    LLVMTypeRef ints = LLVMIntTypeInContext(lo->c, (unsigned)bits);
    for (int32_t i = 0; i < w->n * w->per; i++) {
        LLVMValueRef x = in[i / w->per];
        if (i % w->per)
            x = LLVMBuildLShr(lo->b, x, LLVMConstInt(w->type, (unsigned)(i % w->per * bits), false),
                              "");
        if (LLVMTypeOf(x) != ints) x = LLVMBuildTrunc(lo->b, x, ints, "");
        if (mem != ints) x = LLVMBuildBitCast(lo->b, x, mem, "");
        out[i] = gpu_from_memory(lo, x, type);
    }
}

// ---- one access -------------------------------------------------------------------------------

static const char *vector_text(int32_t n)
{
    return n == 4 ? ".v4" : n == 2 ? ".v2" : "";
}

/// "$0" or "{$0,$1,...}" from operand `first`.
static void operands(char *out, size_t size, int32_t first, int32_t n)
{
    size_t at = 0;
    if (n > 1) at += (size_t)snprintf(out + at, size - at, "{");
    for (int32_t i = 0; i < n; i++)
        at += (size_t)snprintf(out + at, size - at, "%s$%d", i ? "," : "", first + i);
    if (n > 1) snprintf(out + at, size - at, "}");
}

/// How the op's cache hints read in PTX, e.g. ".cg" or ".L1::evict_first"; volatile comes in front
/// of the space.
static const char *hint_text(const Op *op)
{
    static const char *const cache[] = {"", ".ca", ".cg", ".cs", ".cv", ".wb", ".wt"};
    static const char *const evict[] = {"", ".L1::evict_first", ".L1::evict_last"};
    if (op->kind == OP_COPY_ASYNC) return "";
    int64_t c = op_attr_i(op, ATTR_CACHE), e = op_attr_i(op, ATTR_EVICT);
    return c ? cache[c] : evict[e];
}

static bool is_volatile(const Op *op)
{
    return op->kind == OP_LOAD && op_attr_i(op, ATTR_VOLATILE);
}

static void check_global(Lower *lo, LLVMValueRef at, int32_t bytes, bool is_write)
{
    if (!lo->cx->is_emu) return;
    char *name = arena_printf(lo->cx->arena, "check.%s.%d", is_write ? "write" : "read", bytes);
    Intrinsic row = {name, "",   "p", KIND_ASM, "", is_write ? EMU_CHECK_WRITE : EMU_CHECK_READ,
                     "SL", bytes};
    kiln_call_row(lo, &row, &at);
}

static void load_plain(Lower *lo, const Words *w, LLVMValueRef at, LLVMValueRef *out)
{
    LLVMTypeRef unit = w->bytes == 1 ? lo->i8 : w->type;
    LLVMTypeRef type = w->n > 1 ? LLVMVectorType(unit, (unsigned)w->n) : unit;
    check_global(lo, at, w->n * w->bytes, false);
    LLVMValueRef x = LLVMBuildLoad2(lo->b, type, at, "");
    LLVMSetAlignment(x, (unsigned)(w->n * w->bytes));
    for (int32_t i = 0; i < w->n; i++)
        out[i] = w->n > 1 ? LLVMBuildExtractElement(lo->b, x, const_i32(lo, i), "") : x;
    if (w->bytes == 1) out[0] = LLVMBuildZExt(lo->b, out[0], lo->i16, "");
}

static void load_predicated(Lower *lo, const Op *op, const Words *w, LLVMValueRef pred,
                            LLVMValueRef *keep, LLVMValueRef at, LLVMValueRef *out)
{
    char ret[8] = {0}, args[16] = {0}, list[64], text[160];
    for (int32_t i = 0; i < w->n; i++)
        ret[i] = w->letter;
    snprintf(args, sizeof args, "b%sp", ret);
    operands(list, sizeof list, 0, w->n);
    const char *hint = hint_text(op);
    snprintf(text, sizeof text, "@$%d ld%s.global%s%s.%s%d %s, [$%d];", w->n,
             is_volatile(op) ? ".volatile" : "", is_volatile(op) ? "" : hint, vector_text(w->n),
             w->bytes == 1 ? "u" : "b", w->bytes * 8, list, 2 * w->n + 1);
    char *name = arena_printf(lo->cx->arena, "ld%s%s.%dx%d", is_volatile(op) ? ".volatile" : "",
                              hint, w->n, w->bytes);
    Intrinsic row = {name,
                     arena_strdup(lo->cx->arena, ret),
                     arena_strdup(lo->cx->arena, args),
                     KIND_ASM,
                     arena_strdup(lo->cx->arena, text),
                     EMU_LOAD,
                     "STL",
                     w->bytes | w->n << 8 | is_volatile(op) << 16};
    LLVMValueRef in[16] = {pred};
    for (int32_t i = 0; i < w->n; i++)
        in[1 + i] = keep[i];
    in[1 + w->n] = at;
    LLVMValueRef x = kiln_call_row(lo, &row, in);
    for (int32_t i = 0; i < w->n; i++)
        out[i] = w->n > 1 ? LLVMBuildExtractValue(lo->b, x, (unsigned)i, "") : x;
}

static void store_plain(Lower *lo, const Words *w, LLVMValueRef at, LLVMValueRef *in)
{
    LLVMValueRef x = in[0];
    if (w->bytes == 1) x = LLVMBuildTrunc(lo->b, x, lo->i8, "");
    if (w->n > 1) {
        x = LLVMGetUndef(LLVMVectorType(w->type, (unsigned)w->n));
        for (int32_t i = 0; i < w->n; i++)
            x = LLVMBuildInsertElement(lo->b, x, in[i], const_i32(lo, i), "");
    }
    check_global(lo, at, w->n * w->bytes, true);
    LLVMSetAlignment(LLVMBuildStore(lo->b, x, at), (unsigned)(w->n * w->bytes));
}

static void store_predicated(Lower *lo, const Op *op, const Words *w, LLVMValueRef pred,
                             LLVMValueRef at, LLVMValueRef *in)
{
    char words[8] = {0}, args[16], list[64], text[160];
    for (int32_t i = 0; i < w->n; i++)
        words[i] = w->letter;
    snprintf(args, sizeof args, "bp%s", words);
    operands(list, sizeof list, 2, w->n);
    snprintf(text, sizeof text, "@$0 st.global%s%s.b%d [$1], %s;", hint_text(op), vector_text(w->n),
             w->bytes * 8, list);
    char *name = arena_printf(lo->cx->arena, "st%s.%dx%d", hint_text(op), w->n, w->bytes);
    Intrinsic row = {name,
                     "",
                     arena_strdup(lo->cx->arena, args),
                     KIND_ASM,
                     arena_strdup(lo->cx->arena, text),
                     EMU_STORE,
                     "SL",
                     w->bytes | w->n << 8};
    LLVMValueRef all[16] = {pred, at};
    for (int32_t i = 0; i < w->n; i++)
        all[2 + i] = in[i];
    kiln_call_row(lo, &row, all);
}

// ---- all of a tile ----------------------------------------------------------------------------

/// Which registers form one access.
typedef struct Group {
    int32_t v;        ///< lg of the elements
    uint32_t bits[5]; ///< register bit of element bit i
    uint32_t mask;    ///< all of them
} Group;

static Group group_of(const Op *op)
{
    Group g = {0};
    const Layout *l = op->in[pointer_operand(op)]->type->layout;
    const MemFacts *facts = &op_note(op)->mem;
    if (!l) return g;
    while (g.v < facts->v_max) {
        int32_t at = -1;
        for (int32_t i = 0; i < l->n_col[IN_REG]; i++)
            if (layout_cols(l, IN_REG)[i] == 1u << facts->chain[g.v]) at = i;
        if (at < 0) break;
        g.mask |= 1u << at;
        g.bits[g.v++] = 1u << at;
    }
    return g;
}

/// Register of element `e` of the access that starts at register `r`.
static uint32_t member(const Group *g, uint32_t r, uint32_t e)
{
    return r | gf2_apply(g->bits, e);
}

static LLVMValueRef both(Lower *lo, LLVMValueRef a, LLVMValueRef b)
{
    return a && b ? LLVMBuildAnd(lo->b, a, b, "") : a ? a : b;
}

/// Do registers a and b of `v` hold one LLVM value?
static bool is_same(Lower *lo, const Value *v, uint32_t a, uint32_t b)
{
    const Tile *t = tile_of(lo, v);
    return t->n == 1 || (t->v[a] == t->v[b] && (!t->off || t->off[a] == t->off[b]));
}

/// An earlier register that reads the same address under the same mask; -1: none does.
static int32_t loaded_before(Lower *lo, const Op *op, int32_t first, const Group *g, uint32_t r)
{
    enum { LOOK_BACK = 64 };
    for (uint32_t k = r > LOOK_BACK ? r - LOOK_BACK : 0; k < r; k++) {
        bool same = !(k & g->mask) && is_same(lo, op->in[first], k, r);
        for (int32_t i = first + 1; i < op->n_in && same; i++)
            for (uint32_t e = 0; e < 1u << g->v && same; e++)
                same = is_same(lo, op->in[i], member(g, k, e), member(g, r, e));
        if (same) return (int32_t)k;
    }
    return -1;
}

/// The mask of register r, or NULL where it is known to be true.
static LLVMValueRef mask_of(Lower *lo, const Op *op, int32_t input, uint32_t r)
{
    if (op->n_in <= input) return NULL;
    const Value *m = op->in[input];
    LLVMValueRef x = reg_of(lo, m, m->type->kind == TYPE_TILE ? (int32_t)r : 0);
    bool is_true = LLVMIsAConstantInt(x) && LLVMConstIntGetZExtValue(x);
    return is_true ? NULL : x;
}

typedef struct Loader {
    Lower *lo;
    const Op *op;
    int32_t first; ///< the pointer's operand; mask and `other` follow it
    Group group;
    uint32_t still; ///< register bits along which the address stands still: one access serves all
    LLVMTypeRef type;
    Words words;
    LLVMValueRef *out;
} Loader;

static uint32_t still_bits(const Op *op, const Layout *l)
{
    uint32_t bits = 0;
    for (int32_t i = 0; l && !is_volatile(op) && i < l->n_col[IN_REG]; i++)
        if (!(layout_cols(l, IN_REG)[i] & ~op_note(op)->mem.still)) bits |= 1u << i;
    return bits;
}

static LLVMValueRef other_of(const Loader *ld, uint32_t r)
{
    const Value *v = ld->op->n_in > ld->first + 2 ? ld->op->in[ld->first + 2] : NULL;
    return v ? reg_of(ld->lo, v, v->type->kind == TYPE_TILE ? (int32_t)r : 0)
             : LLVMConstNull(ld->type);
}

/// The access that starts at register r, under `pred` (NULL: always); what is masked off reads as
/// `other`, or as 0.
static void load_one(const Loader *ld, uint32_t r, LLVMValueRef pred, bool with_other,
                     LLVMValueRef *elements)
{
    Lower *lo = ld->lo;
    LLVMValueRef words[16], keep[16], at = reg_of(lo, ld->op->in[ld->first], (int32_t)r);
    if (!pred && !is_volatile(ld->op) && !*hint_text(ld->op)) {
        load_plain(lo, &ld->words, at, words);
    } else {
        for (uint32_t e = 0; e < 1u << ld->group.v; e++)
            elements[e] =
                with_other ? other_of(ld, member(&ld->group, r, e)) : LLVMConstNull(ld->type);
        pack(lo, &ld->words, elements, keep);
        load_predicated(lo, ld->op, &ld->words, pred ? pred : LLVMConstInt(lo->i1, 1, false), keep,
                        at, words);
    }
    unpack(lo, &ld->words, ld->type, words, elements);
}

/// One access for register r and those that share its address. Where their masks differ it is done if
/// one of them asks, and each chooses.
static void load_twins(const Loader *ld, uint32_t r)
{
    Lower *lo = ld->lo;
    const Group *g = &ld->group;
    LLVMValueRef any = mask_of(lo, ld->op, ld->first + 1, r), elements[16];
    bool alike = true, always = !any;
    uint32_t n = 1u << __builtin_popcount(ld->still);
    for (uint32_t i = 1; i < n; i++)
        for (int32_t k = ld->first + 1; k < ld->op->n_in; k++)
            for (uint32_t e = 0; e < 1u << g->v; e++)
                alike &= is_same(lo, ld->op->in[k], member(g, r, e),
                                 member(g, r | gf2_deposit(i, ld->still), e));
    for (uint32_t i = 1; i < n && !alike; i++) {
        LLVMValueRef one = mask_of(lo, ld->op, ld->first + 1, r | gf2_deposit(i, ld->still));
        always |= !one;
        if (!always && one != any) any = LLVMBuildOr(lo->b, any, one, "");
    }
    load_one(ld, r, always ? NULL : any, alike, elements);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t e = 0; e < 1u << g->v; e++) {
            uint32_t t = member(g, r | gf2_deposit(i, ld->still), e);
            LLVMValueRef own = alike ? NULL : mask_of(lo, ld->op, ld->first + 1, t);
            ld->out[t] =
                own ? LLVMBuildSelect(lo->b, own, elements[e], other_of(ld, t), "") : elements[e];
        }
}

void load_registers(Lower *lo, const Op *op, int32_t first, LLVMValueRef *out)
{
    const Value *ptr = op->in[first];
    Loader ld = {lo,
                 op,
                 first,
                 group_of(op),
                 still_bits(op, ptr->type->layout),
                 gpu_dtype_type(lo, ptr->type->dtype),
                 {0},
                 out};
    ld.words = words_of(lo, type_bytes(lo, gpu_memory_type(lo, ld.type)), 1 << ld.group.v);
    for (uint32_t r = 0; r < (uint32_t)value_regs(ptr); r++) {
        if (r & (ld.group.mask | ld.still)) continue;
        int32_t before =
            is_volatile(op) || ld.still ? -1 : loaded_before(lo, op, first, &ld.group, r);
        if (before < 0) {
            load_twins(&ld, r);
            continue;
        }
        for (uint32_t e = 0; e < 1u << ld.group.v; e++)
            out[member(&ld.group, r, e)] = out[member(&ld.group, (uint32_t)before, e)];
    }
}

static void lower_load(Lower *lo, Op *op)
{
    Tile result = tile_new(lo, value_regs(&op->out[0]), false);
    load_registers(lo, op, 0, result.v);
    tile_set(lo, &op->out[0], result);
}

static void lower_store(Lower *lo, Op *op)
{
    const Value *ptr = op->in[0], *value = op->in[1];
    bool is_tile = ptr->type->kind == TYPE_TILE;
    int32_t n = value_regs(ptr);
    Group g = group_of(op);
    LLVMTypeRef type = element_type(lo, value->type);
    Words w = words_of(lo, type_bytes(lo, gpu_memory_type(lo, type)), 1 << g.v);
    LLVMValueRef owner = is_tile ? owner_predicate(lo, ptr->type->layout)
                                 : LLVMBuildICmp(lo->b, LLVMIntEQ, lo->tid, const_i32(lo, 0), "");
    for (uint32_t r = 0; r < (uint32_t)n; r++) {
        if (r & g.mask) continue;
        LLVMValueRef elements[16], words[16], at = reg_of(lo, ptr, (int32_t)r);
        LLVMValueRef pred = both(lo, mask_of(lo, op, 2, r), owner);
        for (uint32_t e = 0; e < 1u << g.v; e++)
            elements[e] =
                reg_of(lo, value, value->type->kind == TYPE_TILE ? (int32_t)member(&g, r, e) : 0);
        pack(lo, &w, elements, words);
        if (!pred && !*hint_text(op))
            store_plain(lo, &w, at, words);
        else
            store_predicated(lo, op, &w, pred ? pred : LLVMConstInt(lo->i1, 1, false), at, words);
    }
}

void lower_memory(Lower *lo, Op *op)
{
    if (op_note(op)->global_barrier) barrier(lo);
    if (op->kind == OP_LOAD)
        lower_load(lo, op);
    else
        lower_store(lo, op);
}
