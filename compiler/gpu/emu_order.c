// compiler/gpu/emu_order.c - see emu_order.h.
#include "compiler/gpu/emu_order.h"

#include "base/heap.h"

void order_reset(Order *o)
{
    heap_free(heap_default(), o->nodes);
    heap_free(heap_default(), o->stack);
    heap_free(heap_default(), o->slots);
    *o = (Order){0};
}

void order_clear(Order *o)
{
    if (!o->n_nodes && !o->is_lost) return;
    if (o->n_slots) memset(o->slots, 0, sizeof *o->slots * (size_t)o->cap_slots);
    memset(o->memo, 0, sizeof o->memo);
    o->n_nodes = 0, o->n_slots = 0, o->n_queries = 0, o->is_lost = false;
}

static bool grow_nodes(Order *o)
{
    if (o->n_nodes >= ORDER_MAX) return false;
    uint32_t cap = o->cap_nodes ? o->cap_nodes * 2 : 256;
    OrderNode *nodes = heap_array(heap_default(), OrderNode, cap);
    uint32_t *stack = heap_array(heap_default(), uint32_t, cap);
    if (!nodes || !stack) {
        heap_free(heap_default(), nodes);
        heap_free(heap_default(), stack);
        return false;
    }
    if (o->n_nodes) memcpy(nodes, o->nodes, sizeof *nodes * o->n_nodes);
    heap_free(heap_default(), o->nodes);
    heap_free(heap_default(), o->stack);
    o->nodes = nodes, o->stack = stack, o->cap_nodes = cap;
    return true;
}

/// @return the new node's number, never 0; 0: lost
static uint32_t node_new(Order *o, Stamp stamp, uint32_t a, uint32_t b)
{
    if (o->n_nodes + 2 > o->cap_nodes && !grow_nodes(o)) {
        o->is_lost = true;
        return 0;
    }
    if (!o->n_nodes) o->nodes[o->n_nodes++] = (OrderNode){0};
    o->nodes[o->n_nodes] = (OrderNode){.stamp = stamp, .parent = {a, b}};
    return o->n_nodes++;
}

static OrderSlot *slot_of(const Order *o, uint64_t at)
{
    int32_t i = (int32_t)(at * 0x9e3779b97f4a7c15u >> 40) & (o->cap_slots - 1);
    while (o->slots[i].at && o->slots[i].at != at)
        i = (i + 1) & (o->cap_slots - 1);
    return &o->slots[i];
}

static bool grow_slots(Order *o)
{
    Order bigger = {.cap_slots = o->cap_slots ? o->cap_slots * 2 : 256};
    bigger.slots = heap_array(heap_default(), OrderSlot, bigger.cap_slots);
    if (!bigger.slots) return false;
    for (int32_t i = 0; i < o->cap_slots; i++)
        if (o->slots[i].at) *slot_of(&bigger, o->slots[i].at) = o->slots[i];
    heap_free(heap_default(), o->slots);
    o->slots = bigger.slots, o->cap_slots = bigger.cap_slots;
    return true;
}

uint32_t order_join(Order *o, uint32_t a, uint32_t b)
{
    if (a == b || !b) return a;
    if (!a) return b;
    uint32_t joined = node_new(o, 0, a, b);
    return joined ? joined : a;
}

uint32_t order_acquire(Order *o, uint32_t known, uint64_t at)
{
    const OrderSlot *s = o->n_slots ? slot_of(o, at) : NULL;
    return s && s->at ? order_join(o, known, s->node) : known;
}

void order_release(Order *o, uint32_t known, Stamp stamp, uint64_t at)
{
    if (2 * (o->n_slots + 1) > o->cap_slots && !grow_slots(o)) {
        o->is_lost = true;
        return;
    }
    OrderSlot *s = slot_of(o, at);
    if (s->at) {
        const OrderNode *held = &o->nodes[s->node];
        bool says_the_same = held->stamp == stamp && held->parent[0] == known;
        if (says_the_same) return;
    }
    // What the address held goes on: a read-modify-write continues the chain it found.
    uint32_t node = node_new(o, stamp, known, s->at && s->node != known ? s->node : 0);
    if (!node) return;
    if (!s->at) o->n_slots++;
    *s = (OrderSlot){at, node};
}

/// Does the release `node` publish the access `stamp`?
static bool publishes(Stamp node, Stamp stamp)
{
    if (stamp_program(node) != stamp_program(stamp)) return false;
    return stamp_epoch(node) > stamp_epoch(stamp) ||
           (stamp_epoch(node) == stamp_epoch(stamp) && stamp_thread(node) == stamp_thread(stamp));
}

bool order_reaches(Order *o, uint32_t known, Stamp stamp)
{
    if (o->is_lost) return true;
    if (!known) return false;
    OrderMemo *memo = &o->memo[stamp_program(stamp) % ORDER_MEMO];
    if (memo->known == known && publishes(memo->stamp, stamp)) return true;
    uint32_t n = 0, query = ++o->n_queries;
    o->stack[n++] = known;
    o->nodes[known].asked = query;
    while (n) {
        const OrderNode *node = &o->nodes[o->stack[--n]];
        if (node->stamp && publishes(node->stamp, stamp)) {
            *memo = (OrderMemo){known, node->stamp};
            return true;
        }
        for (int32_t i = 0; i < 2; i++) {
            uint32_t p = node->parent[i];
            if (!p || o->nodes[p].asked == query) continue;
            o->nodes[p].asked = query;
            o->stack[n++] = p;
        }
    }
    return false;
}
