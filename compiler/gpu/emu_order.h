// compiler/gpu/emu_order.h - what atomics order: releases, acquires and the chains they make.
//
//   program 0    store data; barrier; release flag ----.
//   program 1                          acquire flag <--'   barrier; load data      no race
//
//   node   one release: (program, epoch, thread), and what the thread knew: edges to older nodes
//   thread knows one node, or none; an acquire adds the node that the address holds; a barrier
//          makes what one thread of the block knows known to all
//
// A release publishes what every thread of its program did in earlier epochs and what the releasing
// thread did in this one. "Is access A ordered before me" asks whether a node that publishes A can
// be reached from the node that the thread knows. Nodes are made by synchronising atomics alone, so
// kernels without them pay nothing.
//
// Source   vector clocks (Lamport 1978; Flanagan and Freund 2009), kept as a graph because a launch
//          has many programs and few edges; acquire and release as in the PTX memory model:
//          Lustig, Sahasrabuddhe, Giroux, ASPLOS 2019
// Limits   from ORDER_MAX releases in one launch on, everything counts as ordered between programs
#ifndef COMPILER_GPU_EMU_ORDER_H
#define COMPILER_GPU_EMU_ORDER_H
#include "compiler/gpu/emu_shadow.h"

enum { ORDER_MAX = 1 << 20, ORDER_MEMO = 256 };

typedef struct OrderNode {
    Stamp stamp; ///< of a release; 0: joins what two nodes know
    uint32_t parent[2];
    uint32_t asked; ///< the last query that came by
} OrderNode;

typedef struct OrderSlot {
    uint64_t at;
    uint32_t node;
} OrderSlot;

/// What a query found last: from `known`, all of `stamp`'s program that its release published.
typedef struct OrderMemo {
    uint32_t known;
    Stamp stamp;
} OrderMemo;

typedef struct Order {
    OrderNode *nodes; ///< [0] is "nothing"
    uint32_t n_nodes, cap_nodes;
    OrderSlot *slots; ///< the release that each address holds, open addressing
    int32_t n_slots, cap_slots;
    uint32_t n_queries;
    uint32_t *stack; ///< [cap_nodes], room for a query
    OrderMemo memo[ORDER_MEMO];
    bool is_lost; ///< too many nodes, or no memory
} Order;

void order_reset(Order *o);
/// Forgets all releases but keeps the memory: a new launch.
void order_clear(Order *o);
/// What a thread knows that knew `known` and then acquires at address `at`.
uint32_t order_acquire(Order *o, uint32_t known, uint64_t at);
/// Records at `at` a release by the thread that `stamp` names, which knows `known`.
void order_release(Order *o, uint32_t known, Stamp stamp, uint64_t at);
/// What both know.
uint32_t order_join(Order *o, uint32_t a, uint32_t b);
/// Is the access `stamp` published to a thread that knows `known`?
bool order_reaches(Order *o, uint32_t known, Stamp stamp);
#endif
