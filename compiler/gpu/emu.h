// compiler/gpu/emu.h - the emulator's inside: a block of GPU threads, each a fiber on this host.
//
//   block    threads 0 .. n-1, shared memory, the program's indices; one program after the other
//   thread   runs until it is done, faults, or meets a collective; then the next one runs
//
//   collective  the 32 lanes of a warp have arrived: it is served for all of them, all go on
//   barrier     all threads of the block have arrived: all go on, a new epoch begins
//   nobody can go on and somebody waits: divergence, reported with both places
//
//   emu.c        scheduling, reports, images          emu_memory.c  what a thread may touch
//   emu_ops.c    what kiln.<name> does                emu_shadow.c  who touched a byte last
//   emu_async.c  copies that land later               emu_order.c   what atomics order
//   emu_mma.c    matrix instructions                  emu_count.c   what a warp's accesses cost
//
// What is checked: every global access lies in a given range and is aligned; shared accesses are
// inside the block's memory, read only what was written, and wait for copies; no two threads touch a
// byte, one of them writing, without a barrier, an atomic or a chain of atomics between. docs/emulator.md
// is for those who read the reports.
#ifndef COMPILER_GPU_EMU_H
#define COMPILER_GPU_EMU_H
#include "base/fiber.h"
#include "compiler/backend.h"
#include "compiler/gpu/emu_order.h"
#include "compiler/gpu/emu_shadow.h"
#include "compiler/gpu/gpu.h"

typedef enum EmuState { EMU_READY, EMU_AT_BARRIER, EMU_AT_COLLECTIVE, EMU_DONE } EmuState;

typedef struct EmuBlock EmuBlock;
typedef struct EmuThread EmuThread;

/// Serves a warp collective once its 32 lanes have arrived: reads lanes[i].args, writes
/// lanes[i].ret. Runs outside of the lanes; a fault there (emu_fault of a lane) returns.
typedef void (*EmuServe)(EmuThread *lanes, int32_t imm);

/// What a thread keeps for its asynchronous copies. Whoever issues the first one hangs a struct
/// that begins with this into EmuThread.async.
typedef struct EmuAsync {
    void (*reset)(EmuThread *t); ///< a new program begins: nothing is in flight
    void (*free)(EmuThread *t);
} EmuAsync;

struct EmuThread {
    EmuBlock *block;
    Fiber *fiber;
    int32_t id;
    EmuState state;
    const uint64_t *args; ///< of the collective it waits in
    uint64_t *ret;
    EmuServe serve; ///< of that collective, with its constant; NULL: a barrier
    int32_t imm;
    int64_t place;     ///< span of the last op that told us: begin << 32 | end, -1: none
    EmuAsync *async;   ///< NULL: has issued none
    int32_t cursor;    ///< the request of the warp's log that the next access is looked for from
    uint32_t turn;     ///< of the warp, in which it last ran
    int32_t n_atomics; ///< since the thread last let others run
    uint32_t known;    ///< node of the order of atomics (emu_order.h)
};

enum {
    EMU_MAX_THREADS = 1024,
    EMU_LANES = 32,
    EMU_LOG = 128,        ///< requests of a warp that are kept
    EMU_NEAR = 64,        ///< ranges remembered by address
    EMU_MAX_PLACES = 1024 ///< places of one kernel that reports can name as the other party's
};

typedef enum EmuCount {
    COUNT_LOADS,
    COUNT_STORES,
    COUNT_SHARED_LOADS,
    COUNT_SHARED_STORES
} EmuCount;

/// One access of the lanes of a warp that made it (emu_count.c).
typedef struct EmuRequest {
    int64_t place;
    EmuCount kind;
    int32_t lg_bytes;       ///< of a lane
    uint32_t mask;          ///< lanes
    uint32_t at[EMU_LANES]; ///< low words of the addresses
} EmuRequest;

typedef struct EmuLog {
    int32_t n;
    EmuRequest requests[EMU_LOG];
} EmuLog;

/// Places by small numbers from 1.
typedef struct EmuPlaces {
    int32_t n;
    uint16_t near[64];
    int64_t list[EMU_MAX_PLACES];
} EmuPlaces;

struct EmuBlock {
    EmuThread threads[EMU_MAX_THREADS];
    int32_t n_threads;
    void (*entry)(const void *args);
    const void *args;
    int32_t program[3], grid[3];
    uint8_t *shared;
    int32_t shared_bytes;
    uint32_t number, epoch; ///< of the program over all launches, from 1; of barriers within it
    Stamp now;              ///< both, without a thread
    int64_t first;          ///< program index of the launch's first
    uint32_t first_number;  ///< and its number
    Shadow within, global;  ///< of shared memory by offset, of global memory by address
    Order order;
    uint32_t known; ///< what all threads know of it; `has_news`: some know more
    bool has_news;
    int32_t n_ranges;
    const MemRange *ranges; ///< NULL: everything is allowed
    bool *is_watched;       ///< [n_ranges] reads are recorded: the launch writes there
    int32_t cap_ranges;
    int32_t near[EMU_NEAR]; ///< a range that was found for an address, by its bits 12 and up
    EmuPlaces places;
    EmuLog *logs; ///< [n_threads / 32]
    bool has_fault;
    Diag *diag;
    EmuThread *running; ///< NULL: between threads
    uint32_t turn;      ///< passes over the lanes of a warp so far
    uint64_t seed;      ///< of the order in which copies land, with the program's index
    ImageCounters *counters, own_counters;
};

/// What a handler may do: its thread, the row's constant, arguments and results as 64-bit words.
typedef void (*EmuHandler)(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);
extern const EmuHandler emu_handlers[EMU_OP_COUNT];

/// A block of `n_threads` (a multiple of 32) without an entry. @return owned: emu_block_free();
/// NULL: no memory
EmuBlock *emu_block_new(int32_t n_threads, int32_t shared_bytes);
void emu_block_free(EmuBlock *b);
/// Runs entry(args) in every thread; `has_fault` says how it went, `diag` why.
void emu_block_run(EmuBlock *b);

/// Reports at the thread's place and stops the block; does not return to emulated code when called
/// on its fiber.
void emu_fault(EmuThread *t, const char *code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/// The same in two steps, so that notes and help can be added between.
DiagItem *emu_report(EmuThread *t, const char *code, const char *fmt, ...) PRINTF_LIKE(3, 4);
void emu_stop(EmuThread *t);
/// A place as a span of file 0.
Span emu_span(int64_t place);
/// The indices of program `i` of the launch.
void emu_program_of(const EmuBlock *b, int64_t i, int32_t out[3]);
/// Lets the other threads run, then goes on. Within a served collective: empties the log only.
void emu_yield(EmuThread *t);
/// The same now and then, so that a thread that spins on an atomic does not starve the others.
void emu_breathe(EmuThread *t);
/// Waits until all 32 lanes of the warp wait with the same `serve`, `imm` and place, and it has
/// served them. `args` and `ret` are what `serve` finds in the lane.
void emu_collect(EmuThread *t, EmuServe serve, int32_t imm, const uint64_t *args, uint64_t *ret,
                 int64_t place);

/// How a thread touches memory. An asynchronous copy issues its writes and lands them later:
/// between the two nobody may touch the bytes. Polling is a volatile read: it races with no atomic,
/// and orders nothing. Adding is an atomic on shared memory.
typedef enum EmuTouch {
    EMU_READS,
    EMU_WRITES,
    EMU_ADDS,
    EMU_ISSUES,
    EMU_LANDS,
    EMU_POLLS
} EmuTouch;

/// Checks and records an access of `bytes` (a power of two) at a host address; the thread's place
/// is set before. @return false: reported, do not touch
bool emu_touch_shared(EmuThread *t, uint64_t at, int32_t bytes, EmuTouch how);
bool emu_touch_global(EmuThread *t, uint64_t at, int32_t bytes, EmuTouch how);
/// An atomic. order: MemSem | MemScope << 2
bool emu_touch_atomic(EmuThread *t, uint64_t at, int32_t bytes, int32_t order);

/// Counts an access of a lane; the touch functions do.
void emu_count(EmuThread *t, EmuCount kind, uint64_t at, int32_t bytes);
/// A lane's turn at an access that it is masked off from: keeps the lanes in step.
void emu_count_none(EmuThread *t, EmuCount kind, int32_t bytes);
/// Adds up the requests of a warp and begins anew.
void emu_flush(EmuThread *lanes);

/// Handlers of the matrix instructions (emu_mma.c).
void emu_ldmatrix(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);
void emu_tf32(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);
void emu_mma(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);

/// Handlers of cp.async, its groups and waits (emu_async.c).
void emu_copy_issue(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);
void emu_copy_commit(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);
void emu_copy_wait(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);
#endif
