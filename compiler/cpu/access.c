// compiler/cpu/access.c - vectors of memory: where the lanes of a chunk lie, and how they are moved.
//
//   lanes step by the element's size           one vector access            n_contiguous = log_w
//   the low lanes do, the others by strides    a few vectors, concatenated
//   no lane does                               one scalar access per lane
//   no form at all (indirection)               a vector of addresses, one scalar access per lane
//
// Where a lane's mask is off, its element is not touched: masked vector accesses where the level has
// them for the element's size, otherwise a loop over the lanes that are on. A single element's address is
// replaced by that of a slot on the stack.
// Needs  affine_of() for pointers; addresses of one chunk do not wrap (ir/affine.h)
#include "compiler/cpu/cpu.h"

// ---- where --------------------------------------------------------------------------------------------

/// A coefficient in bytes as an i64, outside all loops.
static LLVMValueRef coeff_value(Cx *cx, const Coeff *k)
{
    LLVMValueRef v = const_i64(cx, k->scale);
    Chunk zero = chunk_zero();
    for (int32_t i = 0; i < AFFINE_MAX_FACTORS && k->factor[i]; i++) {
        Value *factor = (Value *)(uintptr_t)k->factor[i];
        Ev e = eval(cx, factor, &zero);
        at_depth(cx, 0);
        LLVMValueRef x = e.v;
        if (LLVMGetIntTypeWidth(LLVMTypeOf(x)) < 64)
            x = dtype_is_signed(factor->type->dtype) ? LLVMBuildSExt(cx->b, x, cx->i64, "")
                                                     : LLVMBuildZExt(cx->b, x, cx->i64, "");
        v = k->scale == 1 && !i ? x : LLVMBuildMul(cx->b, v, x, "");
    }
    return v;
}

static bool coeff_same_factors(const Coeff *a, const Coeff *b)
{
    return a->factor[0] == b->factor[0] && a->factor[1] == b->factor[1];
}

/// An address under construction: outer loops' parts first, so that inner loops add as little as possible, and the
/// constant last, where it becomes part of the instruction.
typedef struct Cursor {
    LLVMValueRef at;
    int32_t depth;
    int64_t constant;
} Cursor;

static void advance(Cx *cx, Cursor *p, LLVMValueRef offset, int32_t depth)
{
    if (LLVMIsAConstantInt(offset)) {
        p->constant += LLVMConstIntGetSExtValue(offset);
        return;
    }
    p->depth = MAX(p->depth, depth);
    at_depth(cx, p->depth);
    p->at = LLVMBuildGEP2(cx->b, cx->i8, p->at, &offset, 1, "");
}

static LLVMValueRef cursor_end(Cx *cx, const Cursor *p)
{
    at_depth(cx, p->depth);
    LLVMValueRef k = const_i64(cx, p->constant);
    return p->constant ? LLVMBuildGEP2(cx->b, cx->i8, p->at, &k, 1, "") : p->at;
}

/// Adds what the loop bits of `f` contribute: runs of bits whose coefficients double are one multiplication.
static void add_field(Cx *cx, const Field *f, const Coeff *coeff, Cursor *p)
{
    for (int32_t from = 0, n; from < f->width; from += n) {
        const Coeff *first = &coeff[f->at + from];
        n = 1;
        while (from + n < f->width && coeff_same_factors(first, &coeff[f->at + from + n]) &&
               coeff[f->at + from + n].scale == first->scale << n)
            n++;
        if (coeff_is_zero(first)) continue;
        LLVMValueRef stride = coeff_value(cx, first);
        at_depth(cx, f->depth);
        LLVMValueRef v = f->var;
        if (f->is_whole && n == f->width) {
            bool divides =
                coeff_is_const(first) && f->lo && !(first->scale & (((int64_t)1 << f->lo) - 1));
            if (divides) stride = const_i64(cx, first->scale >> f->lo);
            if (f->lo && !divides) v = LLVMBuildLShr(cx->b, v, const_i64(cx, f->lo), "");
        } else {
            if (f->lo + from) v = LLVMBuildLShr(cx->b, v, const_i64(cx, f->lo + from), "");
            v = LLVMBuildAnd(cx->b, v, const_i64(cx, ((int64_t)1 << n) - 1), "");
        }
        advance(cx, p, LLVMBuildMul(cx->b, v, stride, ""), f->depth);
    }
}

/// The parts of `c` on bits of `mask` as a scalar chunk.
static Chunk chunk_bits(const Chunk *c, uint32_t mask)
{
    int8_t map[MAX_BITS];
    for (int32_t b = 0; b < MAX_BITS; b++)
        map[b] = mask >> b & 1 ? (int8_t)b : (int8_t)-1;
    Chunk scalar = *c, r;
    scalar.log_w = 0;
    chunk_map(&scalar, map, &r);
    return r;
}

Place place_of_pointer(Cx *cx, Value *pointer, const Chunk *c)
{
    Place p = {.log_w = c->log_w, .elem = pointer->type->element};
    if (pointer->type->kind == TYPE_PTR) p.elem = pointer->type;
    const Affine *a = affine_of(cx->affine, pointer);
    p.elem = type_scalar(cx->fn->module, pointer->type->dtype);
    int64_t size = dtype_bytes(pointer->type->dtype);
    bool has_form = true;
    for (int32_t j = 0; j < c->log_w; j++)
        has_form &= !(a->slow >> c->lane[j] & 1);
    if (!has_form) {
        Ev e = eval(cx, pointer, c);
        p.each = e.v;
        p.depth = e.depth;
        return p;
    }
    Chunk base = chunk_bits(c, a->slow);
    Ev e = eval(cx, pointer, &base);
    Cursor at = {e.v, e.depth, 0};
    for (uint32_t left = c->fixed & ~a->slow; left; left &= left - 1)
        advance(cx, &at, coeff_value(cx, &a->coeff[__builtin_ctz(left)]), 0);
    for (int32_t d = 0; d <= cx->depth; d++)
        for (int32_t i = 0; i < c->n_fields; i++)
            if (c->fields[i].depth == d) add_field(cx, &c->fields[i], a->coeff, &at);
    for (int32_t j = 0; j < c->log_w; j++) {
        const Coeff *k = &a->coeff[c->lane[j]];
        p.step[j] = coeff_value(cx, k);
        if (p.n_contiguous == j && coeff_is_const(k) && k->scale == size << j)
            p.n_contiguous = j + 1;
    }
    p.depth = at.depth;
    p.base = cursor_end(cx, &at);
    return p;
}

Place place_of_held(Cx *cx, const Held *h, const Type *tile, const Chunk *c)
{
    Place p = {.log_w = c->log_w, .elem = tile->element, .is_small = h->is_small};
    int64_t size = type_element_bytes(tile);
    Coeff coeff[MAX_BITS] = {0};
    for (int32_t b = 0; b < MAX_BITS; b++)
        coeff[b].scale = size << b;
    Cursor at = {h->base, 0, (int64_t)c->fixed * size};
    for (int32_t d = 0; d <= cx->depth; d++)
        for (int32_t i = 0; i < c->n_fields; i++)
            if (c->fields[i].depth == d) add_field(cx, &c->fields[i], coeff, &at);
    for (int32_t j = 0; j < c->log_w; j++) {
        p.step[j] = const_i64(cx, size << c->lane[j]);
        if (p.n_contiguous == j && c->lane[j] == j) p.n_contiguous = j + 1;
    }
    p.depth = at.depth;
    p.base = cursor_end(cx, &at);
    return p;
}

// ---- how ----------------------------------------------------------------------------------------------

static bool has_masked(const Cx *cx, int64_t bytes)
{
    return bytes >= 4 ? (cx->isa->facts & ISA_MASK4) != 0 : (cx->isa->facts & ISA_MASK1) != 0;
}

static LLVMValueRef lane_of(Cx *cx, LLVMValueRef v, int32_t lane)
{
    if (LLVMGetTypeKind(LLVMTypeOf(v)) != LLVMVectorTypeKind) return v;
    return LLVMBuildExtractElement(cx->b, v, LLVMConstInt(cx->i32, (uint64_t)lane, false), "");
}

/// Lanes [from, from + n) of v.
static LLVMValueRef lanes_from(Cx *cx, LLVMValueRef v, int32_t from, int32_t n)
{
    if (!v || n == lanes_of(LLVMTypeOf(v))) return v;
    if (n == 1) return lane_of(cx, v, from);
    int32_t order[PLACE_MAX_LANES];
    for (int32_t l = 0; l < n; l++)
        order[l] = from + l;
    return shuffle(cx, v, NULL, n, order);
}

/// The address of lane `l`; a stack slot where its mask is off.
static LLVMValueRef lane_address(Cx *cx, const Place *p, int32_t l, LLVMValueRef mask)
{
    LLVMValueRef at;
    if (p->each) {
        at = lane_of(cx, p->each, l);
    } else {
        LLVMValueRef offset = const_i64(cx, 0);
        for (int32_t j = 0; j < p->log_w; j++)
            if (l >> j & 1) offset = LLVMBuildAdd(cx->b, offset, p->step[j], "");
        at = is_zero(offset) ? p->base : LLVMBuildGEP2(cx->b, cx->i8, p->base, &offset, 1, "");
    }
    return mask ? LLVMBuildSelect(cx->b, lane_of(cx, mask, l), at, cx->dummy, "") : at;
}

static unsigned alignment(const Type *elem)
{
    return (unsigned)type_element_bytes(elem);
}

static LLVMValueRef load_at(Cx *cx, const Type *elem, LLVMTypeRef t, LLVMValueRef at)
{
    LLVMValueRef v = LLVMBuildLoad2(cx->b, t, at, "");
    LLVMSetAlignment(v, alignment(elem));
    return v;
}

static LLVMValueRef masked_load(Cx *cx, const Type *elem, LLVMTypeRef t, LLVMValueRef at,
                                LLVMValueRef mask)
{
    LLVMTypeRef overload[] = {t, cx->ptr}, type;
    LLVMValueRef f = llvm_intrinsic(&cx->ll, "llvm.masked.load", 2, overload, &type);
    LLVMValueRef in[] = {at, LLVMConstInt(cx->i32, alignment(elem), false), mask, LLVMConstNull(t)};
    return LLVMBuildCall2(cx->b, type, f, in, 4, "");
}

static void masked_store(Cx *cx, const Type *elem, LLVMValueRef v, LLVMValueRef at,
                         LLVMValueRef mask)
{
    LLVMTypeRef overload[] = {LLVMTypeOf(v), cx->ptr}, type;
    LLVMValueRef f = llvm_intrinsic(&cx->ll, "llvm.masked.store", 2, overload, &type);
    LLVMValueRef in[] = {v, at, LLVMConstInt(cx->i32, alignment(elem), false), mask};
    LLVMBuildCall2(cx->b, type, f, in, 4, "");
}

// ---- lanes in the order of memory ------------------------------------------------------------------------

/// `p` with lane bits reordered so that contiguous ones come first, where that makes accesses wider.
/// order[j]: the old lane bit that is bit j of the new order. @return false: as it is
static bool reorder(const Place *p, Place *out, int32_t order[MAX_LANE_BITS])
{
    int64_t size = type_element_bytes(p->elem);
    int32_t n = 0;
    uint32_t used = 0;
    if (p->each || p->n_contiguous == p->log_w) return false;
    for (bool found = true; found;) {
        found = false;
        for (int32_t j = 0; j < p->log_w; j++) {
            if (used >> j & 1 || !LLVMIsAConstantInt(p->step[j]) ||
                LLVMConstIntGetSExtValue(p->step[j]) != size << n)
                continue;
            order[n++] = j;
            used |= 1u << j;
            found = true;
            break;
        }
    }
    if (n <= p->n_contiguous || n < 2) return false;
    *out = *p;
    out->n_contiguous = n;
    for (int32_t j = 0; j < p->log_w; j++)
        if (!(used >> j & 1)) order[n++] = j;
    for (int32_t j = 0; j < p->log_w; j++)
        out->step[j] = p->step[order[j]];
    return true;
}

/// Moves lane bit order[j] to j for every j, by exchanging two bits at a time: each exchange reads two registers
/// per register, so an 8 x 8 transposition is 24 shuffles.
static LLVMValueRef move_lanes(Cx *cx, LLVMValueRef v, int32_t log_w, const int32_t *order)
{
    int32_t at[MAX_LANE_BITS], lanes[PLACE_MAX_LANES];
    if (!v) return NULL;
    for (int32_t j = 0; j < log_w; j++)
        at[j] = j; // at[j]: which old bit is at j now
    for (int32_t j = 0; j < log_w; j++) {
        int32_t k = j;
        while (at[k] != order[j])
            k++;
        if (k == j) continue;
        for (int32_t l = 0; l < 1 << log_w; l++) {
            int32_t low = l >> j & 1, high = l >> k & 1;
            lanes[l] = (l & ~(1 << j) & ~(1 << k)) | low << k | high << j;
        }
        v = shuffle(cx, v, NULL, 1 << log_w, lanes);
        int32_t t = at[j];
        at[j] = at[k];
        at[k] = t;
    }
    return v;
}

/// log2 of the lanes that one access moves.
static int32_t piece_bits(Cx *cx, const Place *p, LLVMValueRef mask)
{
    int32_t bytes = type_element_bytes(p->elem);
    if (p->each || (mask && !has_masked(cx, bytes))) return 0;
    int32_t vector = log2_floor((uint64_t)(cx->isa->vector_bytes / bytes));
    return p->is_small ? MIN(p->n_contiguous, vector) : p->n_contiguous;
}

/// Addresses of all lanes as a vector.
static LLVMValueRef all_addresses(Cx *cx, const Place *p)
{
    if (p->each) return p->each;
    LLVMTypeRef t = vector_of(cx->i64, p->log_w);
    LLVMValueRef offset = LLVMConstNull(t);
    for (int32_t j = 0; j < p->log_w; j++) {
        LLVMValueRef on[PLACE_MAX_LANES];
        for (int32_t l = 0; l < 1 << p->log_w; l++)
            on[l] = LLVMConstInt(cx->i64, l >> j & 1 ? (uint64_t)-1 : 0, false);
        LLVMValueRef part = LLVMBuildAnd(cx->b, splat(cx, p->step[j], p->log_w),
                                         LLVMConstVector(on, 1u << p->log_w), "");
        offset = LLVMBuildAdd(cx->b, offset, part, "");
    }
    return LLVMBuildGEP2(cx->b, cx->i8, splat(cx, p->base, p->log_w), &offset, 1, "");
}

/// Lane by lane where the mask is on, in a loop over its set bits: `buffer` (on the stack) receives or supplies the
/// elements. Short code for what happens once per row, at its ragged end.
static void masked_lanes(Cx *cx, const Place *p, LLVMValueRef mask, LLVMValueRef buffer,
                         bool is_store)
{
    LLVMTypeRef mem = memory_type(cx, p->elem);
    int32_t n = 1 << p->log_w;
    bool contiguous = !p->each && p->n_contiguous == p->log_w;
    LLVMValueRef table = NULL, size = const_i64(cx, type_element_bytes(p->elem));
    if (!contiguous) {
        LLVMValueRef all = all_addresses(cx, p);
        table = stack_slot(cx, LLVMTypeOf(all), 64);
        LLVMBuildStore(cx->b, all, table);
    }
    LLVMValueRef first =
        LLVMBuildBitCast(cx->b, mask, LLVMIntTypeInContext(cx->c, (unsigned)n), "");
    first = n == 64 ? first : LLVMBuildZExt(cx->b, first, cx->i64, "");
    LLVMBasicBlockRef before = LLVMGetInsertBlock(cx->b), body, after;
    body = LLVMAppendBasicBlockInContext(cx->c, cx->function, "");
    after = LLVMAppendBasicBlockInContext(cx->c, cx->function, "");
    LLVMValueRef zero = const_i64(cx, 0);
    LLVMBuildCondBr(cx->b, LLVMBuildICmp(cx->b, LLVMIntEQ, first, zero, ""), after, body);
    LLVMPositionBuilderAtEnd(cx->b, body);
    LLVMValueRef left = LLVMBuildPhi(cx->b, cx->i64, "");
    LLVMValueRef in[] = {left, LLVMConstInt(cx->i1, 1, false)};
    LLVMValueRef lane = call_intrinsic(cx, "llvm.cttz", cx->i64, 2, in),
                 offset = LLVMBuildMul(cx->b, lane, size, ""), at;
    if (contiguous) {
        at = LLVMBuildGEP2(cx->b, cx->i8, p->base, &offset, 1, "");
    } else {
        at = LLVMBuildLoad2(cx->b, cx->ptr, LLVMBuildGEP2(cx->b, cx->ptr, table, &lane, 1, ""), "");
    }
    LLVMValueRef slot = LLVMBuildGEP2(cx->b, cx->i8, buffer, &offset, 1, "");
    LLVMValueRef v = load_at(cx, p->elem, mem, is_store ? slot : at);
    LLVMSetAlignment(LLVMBuildStore(cx->b, v, is_store ? at : slot), alignment(p->elem));
    LLVMValueRef next =
        LLVMBuildAnd(cx->b, left, LLVMBuildSub(cx->b, left, const_i64(cx, 1), ""), "");
    LLVMBuildCondBr(cx->b, LLVMBuildICmp(cx->b, LLVMIntEQ, next, zero, ""), after, body);
    LLVMAddIncoming(left, (LLVMValueRef[]){first, next}, (LLVMBasicBlockRef[]){before, body}, 2);
    LLVMPositionBuilderAtEnd(cx->b, after);
}

LLVMValueRef place_load(Cx *cx, const Place *p, LLVMValueRef mask)
{
    Place sorted;
    int32_t order[MAX_LANE_BITS], back[MAX_LANE_BITS];
    if (reorder(p, &sorted, order)) {
        for (int32_t j = 0; j < p->log_w; j++)
            back[order[j]] = j;
        LLVMValueRef in_order = place_load(cx, &sorted, move_lanes(cx, mask, p->log_w, order));
        return move_lanes(cx, in_order, p->log_w, back);
    }
    LLVMTypeRef mem = memory_type(cx, p->elem);
    int32_t log_piece = piece_bits(cx, p, mask), n = 1 << p->log_w, piece = 1 << log_piece;
    if (mask && !log_piece && p->log_w >= 2) {
        LLVMTypeRef t = vector_of(mem, p->log_w);
        LLVMValueRef buffer = stack_slot(cx, t, 64);
        LLVMBuildStore(cx->b, LLVMConstNull(t), buffer);
        masked_lanes(cx, p, mask, buffer, false);
        return from_memory(cx, p->elem, LLVMBuildLoad2(cx->b, t, buffer, ""));
    }
    LLVMValueRef parts[PLACE_MAX_LANES];
    for (int32_t l = 0; l < n; l += piece) {
        LLVMTypeRef t = vector_of(mem, log_piece);
        if (log_piece && mask)
            parts[l / piece] = masked_load(cx, p->elem, t, lane_address(cx, p, l, NULL),
                                           lanes_from(cx, mask, l, piece));
        else
            parts[l / piece] = load_at(cx, p->elem, t, lane_address(cx, p, l, mask));
    }
    LLVMValueRef v;
    if (!log_piece && n > 1) {
        v = LLVMGetPoison(vector_of(mem, p->log_w));
        for (int32_t l = 0; l < n; l++)
            v = LLVMBuildInsertElement(cx->b, v, parts[l],
                                       LLVMConstInt(cx->i32, (uint64_t)l, false), "");
    } else {
        for (int32_t width = piece; width < n; width *= 2) { // concatenate neighbours
            int32_t both[PLACE_MAX_LANES];
            for (int32_t l = 0; l < 2 * width; l++)
                both[l] = l;
            for (int32_t i = 0; i < n / (2 * width); i++)
                parts[i] = shuffle(cx, parts[2 * i], parts[2 * i + 1], 2 * width, both);
        }
        v = parts[0];
    }
    if (mask && !log_piece) { // the stack slot's content is nobody's value
        LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(v));
        v = LLVMBuildSelect(cx->b, mask, v, zero, "");
    }
    return from_memory(cx, p->elem, v);
}

void place_store(Cx *cx, const Place *p, LLVMValueRef value, LLVMValueRef mask)
{
    Place sorted;
    int32_t order[MAX_LANE_BITS];
    if (reorder(p, &sorted, order)) {
        value = move_lanes(cx, value, p->log_w, order);
        place_store(cx, &sorted, value, move_lanes(cx, mask, p->log_w, order));
        return;
    }
    LLVMValueRef v = to_memory(cx, p->elem, value);
    int32_t log_piece = piece_bits(cx, p, mask), n = 1 << p->log_w, piece = 1 << log_piece;
    if (mask && !log_piece && p->log_w >= 2) {
        LLVMValueRef buffer = stack_slot(cx, LLVMTypeOf(v), 64);
        LLVMBuildStore(cx->b, v, buffer);
        masked_lanes(cx, p, mask, buffer, true);
        return;
    }
    for (int32_t l = 0; l < n; l += piece) {
        LLVMValueRef part = lanes_from(cx, v, l, piece);
        if (log_piece && mask) {
            masked_store(cx, p->elem, part, lane_address(cx, p, l, NULL),
                         lanes_from(cx, mask, l, piece));
        } else {
            LLVMValueRef s = LLVMBuildStore(cx->b, part, lane_address(cx, p, l, mask));
            LLVMSetAlignment(s, alignment(p->elem));
            if (p->is_past_caches && !mask && log_piece == p->log_w) store_past_caches(cx, s);
        }
    }
}

// ---- memory of ours -------------------------------------------------------------------------------------

Held held_scratch(Cx *cx, int64_t bytes)
{
    bytes = round_up(bytes, 64);
    Held h = {.bytes = bytes};
    LLVMBasicBlockRef here = LLVMGetInsertBlock(cx->b);
    LLVMPositionBuilderAtEnd(cx->b, cx->entry);
    LLVMValueRef at = const_i64(cx, cx->scratch_top);
    h.base = LLVMBuildGEP2(cx->b, cx->i8, cx->scratch, &at, 1, "");
    LLVMPositionBuilderAtEnd(cx->b, here);
    // buffers a multiple of 4 KB apart would share cache sets: an odd number of lines between them
    cx->scratch_top += bytes + (bytes % 4096 ? 0 : 64);
    cx->scratch_max = MAX(cx->scratch_max, cx->scratch_top);
    return h;
}

Held held_bytes(Cx *cx, int64_t bytes)
{
    bytes = round_up(bytes, 64);
    if (bytes > (int64_t)cx->isa->n_registers / 2 * cx->isa->vector_bytes)
        return held_scratch(cx, bytes);
    LLVMTypeRef t = LLVMArrayType2(cx->i8, (uint64_t)bytes);
    return (Held){.base = stack_slot(cx, t, 64), .bytes = bytes, .is_small = true};
}

Held held_new(Cx *cx, const Type *t)
{
    return held_bytes(cx, t->numel * type_element_bytes(t));
}

int64_t scratch_mark(const Cx *cx)
{
    return cx->scratch_top;
}

void scratch_release(Cx *cx, int64_t mark)
{
    cx->scratch_top = mark;
}
