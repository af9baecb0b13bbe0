// ir/passes/cse.c - equal pure ops become one.
//
//     %2 = add %0, %1
//     %3 = add %0, %1      ==>   uses of %3 read %2
//
// Two ops are equal when kind, opcode, operands, attributes and result types are. One op serves another where it
// is visible: earlier in the same region, or in a region around it. Loads of equal address are not merged.
//
// Cost    one walk; a hash table whose entries are dropped when their region ends
// Leaves  nothing: merged ops are erased at once
#include "ir/pass.h"

typedef struct Entry {
    Op *op;
    uint64_t hash;
    int32_t next; ///< entry with the same slot, or -1
} Entry;

typedef struct Cse {
    PassCx *cx;
    VEC(Entry) entries;
    int32_t *slots;   ///< newest entry, or -1
    uint64_t n_slots; ///< a power of two, at least the values of the function
} Cse;

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 29;
}

/// Of a floating attribute, by which 0.0 and -0.0 differ and a NaN is itself.
static uint64_t attr_bits(const Attr *a)
{
    uint64_t bits;
    memcpy(&bits, &a->f, sizeof bits);
    return bits;
}

static uint64_t attr_hash(AttrKey key, const Attr *a)
{
    uint64_t h = mix(mix((uint64_t)key, (uint64_t)a->i), attr_bits(a));
    for (int32_t i = 0; i < a->n_list; i++)
        h = mix(h, (uint64_t)a->list[i]);
    return h;
}

static uint64_t op_hash(const Op *op)
{
    uint64_t h = mix((uint64_t)op->kind, (uint64_t)op->elem);
    for (int32_t i = 0; i < op->n_in; i++)
        h = mix(h, (uint64_t)op->in[i]->id);
    for (int32_t i = 0; i < op->n_out; i++)
        h = mix(h, (uint64_t)op->out[i].type->numel << 8 | (uint64_t)op->out[i].type->dtype);
    for (int32_t i = 0; i < OP_MAX_ATTRS && op_facts[op->kind].attrs[i]; i++)
        h = mix(h, attr_hash(op_facts[op->kind].attrs[i], &op->attrs[i]));
    return h;
}

static bool same_attr(const Attr *a, const Attr *b)
{
    return a->i == b->i && attr_bits(a) == attr_bits(b) && a->n_list == b->n_list &&
           (!a->n_list || memcmp(a->list, b->list, sizeof(int32_t) * (size_t)a->n_list) == 0);
}

static bool equal(const Op *a, const Op *b)
{
    if (a->kind != b->kind || a->elem != b->elem || a->n_in != b->n_in || a->n_out != b->n_out)
        return false;
    for (int32_t i = 0; i < a->n_in; i++)
        if (a->in[i] != b->in[i]) return false;
    for (int32_t i = 0; i < a->n_out; i++)
        if (a->out[i].type != b->out[i].type) return false;
    for (int32_t i = 0; i < OP_MAX_ATTRS; i++)
        if (!same_attr(&a->attrs[i], &b->attrs[i])) return false;
    return true;
}

static bool can_merge(const Op *op)
{
    return op_facts[op->kind].effects == EFFECT_PURE && op->n_regions == 0 &&
           op->kind != OP_MMA_WAIT;
}

static Op *find(const Cse *c, const Op *op, uint64_t hash)
{
    for (int32_t i = c->slots[hash & (c->n_slots - 1)]; i >= 0; i = c->entries.data[i].next)
        if (c->entries.data[i].hash == hash && equal(c->entries.data[i].op, op))
            return c->entries.data[i].op;
    return NULL;
}

static void walk(Cse *c, Region *r)
{
    int32_t outside = c->entries.len;
    EACH_OP_SAFE(op, r)
    {
        for (int32_t i = 0; i < op->n_regions; i++)
            walk(c, op->regions[i]);
        if (!can_merge(op)) continue;
        uint64_t hash = op_hash(op);
        Op *known = find(c, op, hash);
        if (known) {
            for (int32_t i = 0; i < op->n_out; i++)
                replace_uses(&op->out[i], &known->out[i]);
            op_erase(op);
            pass_count(c->cx, "merged");
        } else {
            vec_push(c->cx->scratch, &c->entries,
                     (Entry){op, hash, c->slots[hash & (c->n_slots - 1)]});
            c->slots[hash & (c->n_slots - 1)] = c->entries.len - 1;
        }
    }
    while (c->entries.len > outside) { // newest first, so each slot gets its older entry back
        Entry e = vec_pop(&c->entries);
        c->slots[e.hash & (c->n_slots - 1)] = e.next;
    }
}

static KilnStatus run(PassCx *cx, Func *fn)
{
    Cse *c = arena_new(cx->scratch, Cse);
    c->cx = cx;
    c->n_slots = (uint64_t)next_pow2(func_number(fn) + 1);
    c->slots = arena_array(cx->scratch, int32_t, c->n_slots);
    memset(c->slots, 0xFF, sizeof(int32_t) * c->n_slots);
    walk(c, fn->body);
    return KILN_OK;
}

const Pass pass_cse = {.name = "cse", .run = run};
