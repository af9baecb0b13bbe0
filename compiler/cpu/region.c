// compiler/cpu/region.c - the walk over a region's ops, and control flow.
//
// Scalars are emitted where they stand. Lazy tiles are not emitted at all, roots wait in a group, and control
// flow flushes it. A tile carried by a loop lives in one buffer: the body's last value of it is written there,
// directly when nothing reads the old value afterwards, by way of a second buffer otherwise.
#include "compiler/cpu/cpu.h"

static int32_t position(const Op *op)
{
    return (int32_t)(intptr_t)op->note;
}

static LLVMBasicBlockRef new_block(Cx *cx)
{
    return LLVMAppendBasicBlockInContext(cx->c, cx->function, "");
}

/// Straight-line code goes on in `block`.
static void continue_in(Cx *cx, LLVMBasicBlockRef block)
{
    cx->at[0] = block;
    at_depth(cx, 0);
}

static bool is_tile(const Value *v)
{
    return v->type->kind == TYPE_TILE;
}

/// Scalar operands, and whatever they hang on, must have been emitted.
static void settle(Cx *cx, Op *op)
{
    for (int32_t i = 0; i < op->n_in; i++)
        if (group_blocks(cx, op->in[i])) group_flush(cx);
    at_depth(cx, 0);
}

static void write_to(Cx *cx, Value *v, Held to)
{
    group_add(cx, (Root){.kind = ROOT_WRITE, .value = v, .to = to, .elem = v->type->element});
}

// ---- single ops ---------------------------------------------------------------------------------------

static void scalar_op(Cx *cx, Op *op)
{
    settle(cx, op);
    if (op->kind == OP_LOAD && group_has_stores(cx)) group_flush(cx);
    info_of(cx, op->out)->scalar = emit_scalar_op(cx, op);
    depth_moved(cx, 0);
    memo_drop(cx, 0);
}

static void scalar_store(Cx *cx, Op *op)
{
    group_flush(cx);
    Chunk one = chunk_zero();
    Place p = place_of_pointer(cx, op->in[0], &one);
    LLVMValueRef v = eval_here(cx, op->in[1], &one),
                 mask = op->n_in > 2 ? eval_here(cx, op->in[2], &one) : NULL;
    if (mask && is_all_ones(mask)) mask = NULL;
    place_store(cx, &p, v, mask);
    cx->last_write = MAX(cx->last_write, position(op));
    memo_drop(cx, 0);
}

/// Records the first failure and leaves the program: tls->fault = line, tls->fault_program.
static void assert_op(Cx *cx, Op *op)
{
    group_flush(cx);
    const Type *t = op->in[0]->type;
    int32_t line = 1, column = 0;
    if (op->span.file >= 0)
        diag_line_column(cx->diag, op->span.file, op->span.begin, &line, &column);
    LLVMValueRef flag = stack_slot(cx, cx->i1, 1);
    LLVMBuildStore(cx->b, LLVMConstInt(cx->i1, 1, false), flag);
    Cone cone = {0};
    for (int32_t i = 0; i < op->n_in; i++)
        cone_add(cx, &cone, op->in[i], NULL, 0);
    Loop l = {0};
    bool tile = t->kind == TYPE_TILE;
    Chunk c = chunk_zero();
    if (tile) {
        l = loop_open(cx, const_i64(cx, 0), const_i64(cx, t->numel), 1);
        chunk_add_field(&c, (Field){l.var, 0, (int8_t)log_numel(t), 0, (int8_t)cx->depth, true});
    }
    LLVMValueRef ok = eval_here(cx, op->in[0], &c);
    if (op->n_in > 1)
        ok = LLVMBuildOr(cx->b, ok, LLVMBuildNot(cx->b, eval_here(cx, op->in[1], &c), ""), "");
    at_depth(cx, cx->depth);
    LLVMBuildStore(cx->b, LLVMBuildAnd(cx->b, ok, LLVMBuildLoad2(cx->b, cx->i1, flag, ""), ""),
                   flag);
    if (tile) loop_close(cx, &l);
    LLVMBasicBlockRef fails = new_block(cx), on = new_block(cx);
    LLVMBuildCondBr(cx->b, LLVMBuildLoad2(cx->b, cx->i1, flag, ""), on, fails);
    continue_in(cx, fails);
    LLVMValueRef at = const_i64(cx, offsetof(Tls, fault)),
                 who = const_i64(cx, offsetof(Tls, fault_program));
    LLVMValueRef fault = LLVMBuildGEP2(cx->b, cx->i8, cx->tls, &at, 1, "");
    LLVMBuildStore(cx->b, LLVMConstInt(cx->i32, (uint64_t)line, false), fault);
    LLVMBuildStore(cx->b, LLVMBuildTrunc(cx->b, cx->pid, cx->i32, ""),
                   LLVMBuildGEP2(cx->b, cx->i8, cx->tls, &who, 1, ""));
    LLVMBuildBr(cx->b, cx->next_program);
    continue_in(cx, on);
    memo_drop(cx, 0);
}

static void grid_op(Cx *cx, Op *op)
{
    int32_t axis = (int32_t)op_attr_i(op, ATTR_AXIS);
    info_of(cx, op->out)->scalar =
        op->kind == OP_PROGRAM_ID ? cx->program[axis] : cx->n_programs[axis];
}

// ---- if -------------------------------------------------------------------------------------------------

/// Gives the tile results of a control op their buffers.
static void hold_results(Cx *cx, Op *op)
{
    for (int32_t i = 0; i < op->n_out; i++) {
        Info *info = info_of(cx, &op->out[i]);
        if (info->mode == MODE_HELD && !info->held.base) info->held = held_new(cx, op->out[i].type);
    }
}

static bool is_open(Cx *cx)
{
    return !LLVMGetBasicBlockTerminator(cx->at[0]);
}

static void if_op(Cx *cx, Op *op)
{
    group_flush(cx);
    hold_results(cx, op);
    LLVMValueRef cond = eval_scalar(cx, op->in[0]);
    LLVMBasicBlockRef arms[2] = {new_block(cx), new_block(cx)}, ends[2] = {NULL, NULL},
                      after = new_block(cx);
    LLVMValueRef *values[2];
    LLVMBuildCondBr(cx->b, cond, arms[0], arms[1]);
    for (int32_t k = 0; k < 2; k++) {
        int64_t mark = scratch_mark(cx);
        values[k] = arena_array(cx->arena, LLVMValueRef, op->n_out + 1);
        continue_in(cx, arms[k]);
        region_emit(cx, op->regions[k]);
        Op *yield = op->regions[k]->last;
        if (!is_open(cx)) continue; // it returned
        for (int32_t i = 0; i < op->n_out; i++) {
            Value *y = yield->in[i];
            if (is_tile(y)) write_to(cx, y, info_of(cx, &op->out[i])->held);
        }
        group_flush(cx);
        for (int32_t i = 0; i < op->n_out; i++)
            if (!is_tile(yield->in[i])) values[k][i] = eval_scalar(cx, yield->in[i]);
        ends[k] = cx->at[0];
        LLVMBuildBr(cx->b, after);
        scratch_release(cx, mark);
    }
    continue_in(cx, after);
    if (!ends[0] && !ends[1]) LLVMBuildBr(cx->b, cx->next_program);
    for (int32_t i = 0; i < op->n_out; i++) {
        Value *out = &op->out[i];
        if (is_tile(out)) continue;
        LLVMValueRef phi = LLVMBuildPhi(cx->b, elem_type(cx, out->type), "");
        for (int32_t k = 0; k < 2; k++)
            if (ends[k]) LLVMAddIncoming(phi, &values[k][i], &ends[k], 1);
        info_of(cx, out)->scalar = phi;
    }
}

// ---- loops ------------------------------------------------------------------------------------------------

/// Can the value that the body yields for a carried tile be written over the tile where it is computed? Then
/// nothing that comes later reads the old one, and the computation itself reads it in place.
static bool may_forward(Cx *cx, Region *body, int32_t i, Value *arg)
{
    Value *y = body->last->in[i];
    const Info *info = info_of(cx, y);
    if (!y->def || y->def->parent != body || y->def->n_regions > 1 || y->def->kind == OP_FOR)
        return false;
    if (!(info->mode == MODE_HELD || info->is_keep) || info->held.base) return false;
    if (y->def->kind == OP_ATOMIC_RMW || y->def->kind == OP_ATOMIC_CAS || y->def->kind == OP_GATHER)
        return false;
    for (int32_t k = 0; k < body->last->n_in; k++)
        if (k != i && body->last->in[k] == y) return false;
    int32_t at = position(y->def), last = info_of(cx, arg)->last_root;
    if (last < at) return true;
    if (last > at) return false;
    if (y->def->kind == OP_DOT)
        return value_reads(cx, y->def->in[2], arg) != READS_ANYWHERE &&
               value_reads(cx, y->def->in[0], arg) == READS_NOT &&
               value_reads(cx, y->def->in[1], arg) == READS_NOT;
    return info->is_keep && value_reads(cx, y, arg) != READS_ANYWHERE;
}

/// Writes what the body yields into the carried buffers. A tile that another yield still reads goes through
/// a second buffer.
static void write_yields(Cx *cx, Op *yield, Region *region, int32_t first_arg, int32_t first_yield,
                         Fused **fused)
{
    int32_t n = region->n_args - first_arg;
    Held *aside = arena_array(cx->arena, Held, n + 1);
    for (int32_t i = 0; i < n; i++) {
        Value *arg = region->args[first_arg + i], *y = yield->in[first_yield + i];
        const Info *to = info_of(cx, arg);
        if (to->mode != MODE_HELD || y == arg || fused[i]) continue;
        const Info *from = info_of(cx, y);
        if (from->mode == MODE_HELD && from->held.base == to->held.base) continue; // forwarded
        bool safe = value_reads(cx, y, arg) != READS_ANYWHERE;
        for (int32_t k = 0; k < n; k++)
            if (k != i && is_tile(yield->in[first_yield + k]))
                safe &= value_reads(cx, yield->in[first_yield + k], arg) == READS_NOT;
        if (!safe) aside[i] = held_new(cx, arg->type);
        write_to(cx, y, safe ? to->held : aside[i]);
    }
    group_flush(cx);
    for (int32_t i = 0; i < n; i++) {
        if (!aside[i].base) continue;
        Value *arg = region->args[first_arg + i];
        Info *info = info_of(cx, arg);
        Held to = info->held;
        info->held = aside[i]; // `arg` reads the new value now, and writes it to its own buffer
        write_to(cx, arg, to);
        group_flush(cx);
        info->held = to;
    }
}

typedef struct ForLoop {
    Op *op;
    Region *body;
    int32_t n;
    LLVMBasicBlockRef before, head, exit;
    LLVMValueRef index;
    LLVMValueRef *phi;  ///< [n] scalars and deltas; NULL for held tiles
    LLVMValueRef *next; ///< [n]
    Fused **fused;      ///< [n] NULL, or dots that write the carried tile
} ForLoop;

static LLVMValueRef delta_type_zero(Cx *cx, const Value *v)
{
    return LLVMConstNull(v->type->is_ptr ? cx->i64 : elem_type(cx, v->type));
}

static LLVMValueRef for_condition(Cx *cx, Op *op, LLVMValueRef i, LLVMValueRef end,
                                  LLVMValueRef step)
{
    bool is_signed = dtype_is_signed(op->in[0]->type->dtype);
    LLVMValueRef up = LLVMBuildICmp(cx->b, is_signed ? LLVMIntSLT : LLVMIntULT, i, end, "");
    int64_t constant;
    if (!is_signed) return up;
    if (value_const_int(op->in[2], &constant) && constant > 0) return up;
    LLVMValueRef down = LLVMBuildICmp(cx->b, LLVMIntSGT, i, end, "");
    LLVMValueRef rises =
        LLVMBuildICmp(cx->b, LLVMIntSGT, step, LLVMConstNull(LLVMTypeOf(step)), "");
    return LLVMBuildSelect(cx->b, rises, up, down, "");
}

/// Buffers and phis of what the loop carries; the head's phis come first.
static void for_begin(Cx *cx, ForLoop *l)
{
    Op *op = l->op;
    for (int32_t i = 0; i < l->n; i++) {
        Value *arg = l->body->args[1 + i];
        Info *info = info_of(cx, arg), *out = info_of(cx, &op->out[i]);
        if (info->mode != MODE_HELD) continue;
        info->held = l->fused[i] ? dot_fused_held(cx, l->fused[i]) : held_new(cx, arg->type);
        out->held = info->held;
        write_to(cx, op->in[3 + i], info->held);
    }
    group_flush(cx);
    l->before = cx->at[0];
    l->head = new_block(cx);
    l->exit = new_block(cx);
    LLVMBuildBr(cx->b, l->head);
    continue_in(cx, l->head);
    l->index = LLVMBuildPhi(cx->b, elem_type(cx, op->in[0]->type), "");
    info_of(cx, l->body->args[0])->scalar = l->index;
    for (int32_t i = 0; i < l->n; i++) {
        Value *arg = l->body->args[1 + i];
        Info *info = info_of(cx, arg);
        if (info->mode == MODE_HELD) continue;
        LLVMValueRef initial =
            info->mode == MODE_DELTA ? delta_type_zero(cx, arg) : eval_scalar(cx, op->in[3 + i]);
        l->phi[i] = LLVMBuildPhi(cx->b, LLVMTypeOf(initial), "");
        LLVMAddIncoming(l->phi[i], &initial, &l->before, 1);
        if (info->mode == MODE_DELTA)
            info->delta = info_of(cx, &op->out[i])->delta = l->phi[i];
        else
            info->scalar = info_of(cx, &op->out[i])->scalar = l->phi[i];
    }
    for (int32_t i = 0; i < l->n; i++) {
        Value *arg = l->body->args[1 + i];
        if (info_of(cx, arg)->mode == MODE_HELD && may_forward(cx, l->body, i, arg))
            info_of(cx, l->body->last->in[i])->held = info_of(cx, arg)->held;
    }
}

/// The next running sum of a delta.
static LLVMValueRef next_delta(Cx *cx, ForLoop *l, int32_t i)
{
    bool minus;
    Value *step = carried_step(cx, l->op, i, &minus), *arg = l->body->args[1 + i];
    Chunk zero = chunk_zero();
    LLVMValueRef d = eval_here(cx, step, &zero);
    if (arg->type->is_ptr) {
        if (LLVMGetIntTypeWidth(LLVMTypeOf(d)) < 64)
            d = dtype_is_signed(step->type->dtype) ? LLVMBuildSExt(cx->b, d, cx->i64, "")
                                                   : LLVMBuildZExt(cx->b, d, cx->i64, "");
        d = LLVMBuildMul(cx->b, d, const_i64(cx, dtype_bytes(arg->type->dtype)), "");
    }
    return minus ? LLVMBuildSub(cx->b, l->phi[i], d, "") : LLVMBuildAdd(cx->b, l->phi[i], d, "");
}

static void for_op(Cx *cx, Op *op)
{
    group_flush(cx);
    ForLoop l = {.op = op, .body = op->regions[0], .n = op->n_out};
    l.phi = arena_array(cx->arena, LLVMValueRef, l.n + 1);
    l.next = arena_array(cx->arena, LLVMValueRef, l.n + 1);
    l.fused = arena_array(cx->arena, Fused *, l.n + 1);
    for (int32_t i = 0; i < l.n; i++)
        l.fused[i] = dot_fuse(cx, op, i);
    LLVMValueRef begin = eval_scalar(cx, op->in[0]), end = eval_scalar(cx, op->in[1]),
                 step = eval_scalar(cx, op->in[2]);
    for_begin(cx, &l);
    int64_t mark = scratch_mark(cx);
    LLVMBasicBlockRef body = new_block(cx);
    LLVMBuildCondBr(cx->b, for_condition(cx, op, l.index, end, step), body, l.exit);
    continue_in(cx, body);
    region_emit(cx, l.body);
    Op *yield = l.body->last;
    for (int32_t i = 0; i < l.n; i++) {
        Mode mode = info_of(cx, l.body->args[1 + i])->mode;
        if (mode == MODE_DELTA) l.next[i] = next_delta(cx, &l, i);
        if (mode == MODE_SCALAR) l.next[i] = eval_scalar(cx, yield->in[i]);
    }
    memo_drop(cx, 0);
    for (int32_t i = 0; i < l.n; i++)
        if (l.fused[i]) dot_emit_fused(cx, l.fused[i], info_of(cx, l.body->args[1 + i])->held);
    write_yields(cx, yield, l.body, 1, 0, l.fused);
    LLVMValueRef next = LLVMBuildAdd(cx->b, l.index, step, "");
    LLVMBasicBlockRef latch = cx->at[0];
    LLVMBuildBr(cx->b, l.head);
    LLVMAddIncoming(l.index, (LLVMValueRef[]){begin, next}, (LLVMBasicBlockRef[]){l.before, latch},
                    2);
    for (int32_t i = 0; i < l.n; i++)
        if (l.phi[i]) LLVMAddIncoming(l.phi[i], &l.next[i], &latch, 1);
    continue_in(cx, l.exit);
    scratch_release(cx, mark);
}

static void while_op(Cx *cx, Op *op)
{
    group_flush(cx);
    Region *test = op->regions[0], *body = op->regions[1];
    int32_t n = op->n_in;
    for (int32_t i = 0; i < n; i++) {
        if (!is_tile(test->args[i])) continue;
        info_of(cx, test->args[i])->held = held_new(cx, test->args[i]->type);
        write_to(cx, op->in[i], info_of(cx, test->args[i])->held);
    }
    group_flush(cx);
    hold_results(cx, op);
    for (int32_t i = 0; i < body->n_args; i++)
        if (is_tile(body->args[i]))
            info_of(cx, body->args[i])->held = info_of(cx, &op->out[i])->held;
    LLVMBasicBlockRef before = cx->at[0], head = new_block(cx), inside = new_block(cx),
                      exit = new_block(cx);
    LLVMBuildBr(cx->b, head);
    continue_in(cx, head);
    for (int32_t i = 0; i < n; i++) {
        if (is_tile(test->args[i])) continue;
        LLVMValueRef initial = eval_scalar(cx, op->in[i]),
                     phi = LLVMBuildPhi(cx->b, LLVMTypeOf(initial), "");
        LLVMAddIncoming(phi, &initial, &before, 1);
        info_of(cx, test->args[i])->scalar = phi;
    }
    int64_t mark = scratch_mark(cx);
    region_emit(cx, test);
    Op *condition = test->last; // i1, then what the body gets and the loop returns
    for (int32_t i = 0; i < op->n_out; i++) {
        Value *v = condition->in[1 + i];
        if (is_tile(v)) write_to(cx, v, info_of(cx, &op->out[i])->held);
    }
    group_flush(cx);
    for (int32_t i = 0; i < op->n_out; i++)
        if (!is_tile(&op->out[i]))
            info_of(cx, &op->out[i])->scalar = info_of(cx, body->args[i])->scalar =
                eval_scalar(cx, condition->in[1 + i]);
    LLVMBuildCondBr(cx->b, eval_scalar(cx, condition->in[0]), inside, exit);
    continue_in(cx, inside);
    region_emit(cx, body);
    Op *yield = body->last;
    for (int32_t i = 0; i < n; i++)
        if (is_tile(test->args[i])) write_to(cx, yield->in[i], info_of(cx, test->args[i])->held);
    group_flush(cx);
    LLVMBasicBlockRef latch = cx->at[0];
    for (int32_t i = 0; i < n; i++) {
        if (is_tile(test->args[i])) continue;
        LLVMValueRef next = eval_scalar(cx, yield->in[i]);
        LLVMAddIncoming(info_of(cx, test->args[i])->scalar, &next, &latch, 1);
    }
    LLVMBuildBr(cx->b, head);
    continue_in(cx, exit);
    scratch_release(cx, mark);
}

// ---- the walk ---------------------------------------------------------------------------------------------

static void memory_op(Cx *cx, Op *op)
{
    bool tile = is_tile(op->in[0]);
    if (op->kind == OP_STORE && tile) {
        group_add(cx, (Root){.kind = ROOT_STORE, .op = op});
    } else if (op->kind == OP_STORE) {
        scalar_store(cx, op);
    } else {
        group_flush(cx);
        if (tile)
            atomic_emit(cx, op);
        else
            atomic_emit_scalar(cx, op);
        cx->last_write = MAX(cx->last_write, position(op));
    }
}

/// Scalars are computed now, kept tiles with the next group, others where they are consumed.
static void value_op(Cx *cx, Op *op)
{
    for (int32_t i = 0; i < op->n_out; i++) {
        Value *v = &op->out[i];
        if (!is_tile(v)) {
            scalar_op(cx, op);
            return;
        }
        if (info_of(cx, v)->is_keep) value_keep(cx, v);
    }
}

static void op_emit(Cx *cx, Op *op)
{
    at_depth(cx, 0);
    switch (op->kind) {
    case OP_PROGRAM_ID:
    case OP_NUM_PROGRAMS:
        grid_op(cx, op);
        return;
    case OP_STORE:
    case OP_ATOMIC_RMW:
    case OP_ATOMIC_CAS:
        memory_op(cx, op);
        return;
    case OP_REDUCE:
        group_add(cx, (Root){.kind = ROOT_REDUCE, .op = op});
        return;
    case OP_SCAN:
        group_flush(cx);
        scan_emit(cx, op);
        return;
    case OP_SORT:
        group_flush(cx);
        sort_emit(cx, op);
        return;
    case OP_HISTOGRAM:
        group_flush(cx);
        histogram_emit(cx, op);
        return;
    case OP_DOT:
        group_flush(cx);
        dot_emit(cx, op);
        return;
    case OP_BARRIER:
        group_flush(cx);
        cx->last_write = MAX(cx->last_write, position(op));
        return;
    case OP_ASSERT:
        assert_op(cx, op);
        return;
    case OP_ASSUME:
        return;
    case OP_FOR:
        for_op(cx, op);
        return;
    case OP_WHILE:
        while_op(cx, op);
        return;
    case OP_IF:
        settle(cx, op);
        if_op(cx, op);
        return;
    case OP_YIELD:
    case OP_CONDITION:
        group_flush(cx);
        return;
    case OP_RETURN:
        group_flush(cx);
        LLVMBuildBr(cx->b, cx->next_program);
        return;
    case OP_PRINT:
    case OP_ALLOC:
    case OP_COPY_ASYNC:
    case OP_WAIT:
    case OP_BUF_LOAD:
    case OP_BUF_STORE:
    case OP_MMA_ASYNC:
    case OP_MMA_WAIT:
        cpu_error(cx, KILN_ERR_UNSUPPORTED, "E0901", op->span,
                  "not supported yet: `%s` on the CPU target", op_facts[op->kind].name);
        return;
    default:
        value_op(cx, op);
    }
}

void region_emit(Cx *cx, Region *r)
{
    EACH_OP(op, r) {
        if (cx->st != KILN_OK) return;
        op_emit(cx, op);
    }
}
