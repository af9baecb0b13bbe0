// compiler/gpu/shared.c - where buffers and scratches lie in shared memory.
//
//   program order   alloc a ... loop { copy a, read a, [convert] } ... wait | [reduce] | alloc b ...
//   a               |------------------------------------------------------|
//   convert's                          |---|
//   reduce's                                                                  |---|
//   b                                                                                |------
//                   lives that do not meet share space
//
// A buffer lives from its ALLOC to the last op that touches it: to the end of the outermost loop
// between the two, and where copies go into it, on to the wait that leaves none in flight. What an
// op needs for itself lives while the op runs.
//
// Two ops that follow each other take different places all the same, while there is room: the
// barrier inside the second also ends the reads of the first, so that none is needed in front.
//
// Placed by size, largest first, ties by program order, each at the lowest place that is free of
// all that it meets: the same input gives the same bytes.
//
// Source: layouts.md 7.8
#include "compiler/gpu/gpu.h"

enum { BUFFER_ALIGN = 128, SCRATCH_ALIGN = 16, MAX_FOLLOWERS = 4, FOLLOW_STEPS = 1 << 20 };

typedef struct Item {
    Op *op;
    int32_t start, end;            ///< first and last op of its life, in program order
    int32_t before[MAX_FOLLOWERS]; ///< items that may run right before it, no barrier between; -1
    bool is_placed;
} Item;

typedef struct Shared {
    GpuCx *cx;
    VEC(Item) items;
    int32_t n_ops;
    int32_t steps; ///< that follow() may still take; what it does not see may cost barriers
    bool apart;    ///< ops that follow each other do not share space
} Shared;

/// Who ran last, on each way to a place in the program.
typedef struct Last {
    int32_t n, item[MAX_FOLLOWERS];
} Last;

// ---- lives ------------------------------------------------------------------------------------

static int64_t buffer_bytes(const Type *t)
{
    return round_up(t->numel * dtype_bytes(t->dtype), SCRATCH_ALIGN) * t->stages;
}

/// Numbers the ops in program order; an op with regions ends with its last inner one.
static void number(Shared *s, Region *r)
{
    EACH_OP(op, r) {
        if (!op->note) op->note = arena_new(s->cx->arena, OpNote);
        op_note(op)->first = s->n_ops++;
        for (int32_t i = 0; i < op->n_regions; i++)
            number(s, op->regions[i]);
        op_note(op)->last = s->n_ops - 1;
    }
}

/// The op at the level of `home` that holds `op`, which is somewhere inside that region.
static const Op *ancestor_in(const Op *op, const Region *home)
{
    while (op->parent != home) {
        ASSERT(op->parent->owner);
        op = op->parent->owner;
    }
    return op;
}

/// The last op of a buffer's life.
static int32_t buffer_end(const Shared *s, const Op *alloc)
{
    int32_t end = op_note(alloc)->first;
    const Op *last = alloc;
    bool has_copies = false;
    EACH_USE(use, &alloc->out[0]) {
        const Op *op = ancestor_in(use->op, alloc->parent);
        has_copies |= use->op->kind == OP_COPY_ASYNC;
        if (op_note(op)->last <= end) continue;
        end = op_note(op)->last;
        last = op;
    }
    if (!has_copies) return end;
    for (const Op *op = last; op; op = op->next)
        if (op->kind == OP_WAIT && op_attr_i(op, ATTR_PENDING) == 0) return op_note(op)->last;
    return s->n_ops;
}

static void collect(Op *op, void *user)
{
    Shared *s = user;
    Scratch *x = &op_note(op)->scratch;
    *x = (Scratch){0};
    x->bytes = op->kind == OP_ALLOC ? buffer_bytes(op->out[0].type) : scratch_bytes(s->cx, op);
    if (!x->bytes) return;
    Item item = {.op = op, .before = {-1, -1, -1, -1}};
    item.start = op_note(op)->first;
    item.end = op->kind == OP_ALLOC ? buffer_end(s, op) : item.start;
    vec_push(s->cx->arena, &s->items, item);
}

// ---- who follows whom -------------------------------------------------------------------------

static void last_add(Last *l, int32_t item)
{
    for (int32_t i = 0; i < l->n; i++)
        if (l->item[i] == item) return;
    if (l->n < MAX_FOLLOWERS) l->item[l->n++] = item;
}

static void last_join(Last *into, const Last *from)
{
    for (int32_t i = 0; i < from->n; i++)
        last_add(into, from->item[i]);
}

static int32_t item_of(const Shared *s, const Op *op)
{
    for (int32_t i = 0; i < s->items.len; i++)
        if (s->items.data[i].op == op) return i;
    return -1;
}

static void note_before(Item *x, int32_t self, const Last *l)
{
    for (int32_t i = 0; i < l->n; i++) {
        if (l->item[i] == self) continue;
        for (int32_t k = 0; k < MAX_FOLLOWERS; k++) {
            if (x->before[k] == l->item[i]) break;
            if (x->before[k] >= 0) continue;
            x->before[k] = l->item[i];
            break;
        }
    }
}

static void follow(Shared *s, Last *l, const Region *r)
{
    EACH_OP(op, r) {
        if (s->steps-- <= 0) return;
        if (op->kind == OP_BARRIER) l->n = 0;
        if (op->kind == OP_IF) {
            Last other = *l;
            follow(s, l, op->regions[0]);
            follow(s, &other, op->regions[1]);
            last_join(l, &other);
        } else if (op->kind == OP_FOR || op->kind == OP_WHILE) {
            Last entry = *l;
            for (int32_t k = 0; k < 2 * op->n_regions; k++) { // twice: the way back is a way too
                follow(s, l, op->regions[k % op->n_regions]);
                last_join(l, &entry);
            }
        } else if (op->kind != OP_ALLOC && op_note(op)->scratch.bytes) {
            int32_t i = item_of(s, op);
            note_before(&s->items.data[i], i, l);
            *l = (Last){.n = 1, .item = {i}};
        }
    }
}

// ---- places -----------------------------------------------------------------------------------

static bool follows(const Item *x, int32_t other)
{
    for (int32_t k = 0; k < MAX_FOLLOWERS; k++)
        if (x->before[k] == other) return true;
    return false;
}

static bool meet(const Shared *s, int32_t a, int32_t b)
{
    const Item *x = &s->items.data[a], *y = &s->items.data[b];
    if (x->start <= y->end && y->start <= x->end) return true;
    return s->apart && (follows(x, b) || follows(y, a));
}

static int64_t bytes_of(const Item *x)
{
    return op_note(x->op)->scratch.bytes;
}

/// The lowest place for item `i` beside the placed ones it meets.
static int64_t lowest_place(const Shared *s, int32_t i)
{
    int64_t align = s->items.data[i].op->kind == OP_ALLOC ? BUFFER_ALIGN : SCRATCH_ALIGN, at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int32_t k = 0; k < s->items.len; k++) {
            const Item *other = &s->items.data[k];
            int64_t begin = op_note(other->op)->scratch.offset, end = begin + bytes_of(other);
            if (!other->is_placed || !meet(s, i, k)) continue;
            if (at >= end || at + bytes_of(&s->items.data[i]) <= begin) continue;
            at = round_up(end, align);
            moved = true;
        }
    }
    return at;
}

/// @return bytes in all
static int64_t place_all(Shared *s)
{
    int64_t total = 0;
    for (int32_t i = 0; i < s->items.len; i++)
        s->items.data[i].is_placed = false;
    for (int32_t n = 0; n < s->items.len; n++) {
        int32_t next = -1;
        for (int32_t i = 0; i < s->items.len; i++)
            if (!s->items.data[i].is_placed &&
                (next < 0 || bytes_of(&s->items.data[i]) > bytes_of(&s->items.data[next])))
                next = i;
        Item *x = &s->items.data[next];
        int64_t at = lowest_place(s, next);
        total = MAX(total, at + bytes_of(x));
        if (total > INT32_MAX) return total;
        op_note(x->op)->scratch.offset = (int32_t)at;
        x->is_placed = true;
    }
    return round_up(total, SCRATCH_ALIGN);
}

static void refuse(const Shared *s, int64_t total)
{
    const GpuCx *cx = s->cx;
    const Item *largest = &s->items.data[0];
    for (int32_t i = 1; i < s->items.len; i++)
        if (bytes_of(&s->items.data[i]) > bytes_of(largest)) largest = &s->items.data[i];
    DiagItem *item =
        diag_add(cx->diag, DIAG_ERROR, "E0904", largest->op->span,
                 "kernel needs %lld bytes of shared memory, sm_%d%s has %d", (long long)total,
                 cx->sm->sm, cx->sm->a ? "a" : "", cx->sm->shared_bytes);
    if (largest->op->kind == OP_ALLOC)
        diag_help(cx->diag, item,
                  "use smaller tiles or fewer stages; this one takes %d x %lld bytes",
                  largest->op->out[0].type->stages,
                  (long long)(bytes_of(largest) / largest->op->out[0].type->stages));
    else
        diag_help(cx->diag, item, "use smaller tiles; this operation alone takes %lld bytes",
                  (long long)bytes_of(largest));
}

KilnStatus shared_assign(GpuCx *cx, bool report)
{
    Shared s = {.cx = cx, .apart = true, .steps = FOLLOW_STEPS};
    Last last = {0};
    number(&s, cx->fn->body);
    region_walk(cx->fn->body, collect, &s);
    follow(&s, &last, cx->fn->body);
    int64_t total = place_all(&s);
    if (total > cx->sm->shared_bytes) {
        s.apart = false;
        total = place_all(&s);
    }
    if (total > cx->sm->shared_bytes) {
        if (report) refuse(&s, total);
        return KILN_ERR_LIMIT;
    }
    cx->shared_bytes = (int32_t)total;
    return KILN_OK;
}
