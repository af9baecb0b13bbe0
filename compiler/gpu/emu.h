// compiler/gpu/emu.h - the emulator's inside: a block of GPU threads, each a fiber on this host.
//
//   block    threads 0 .. n-1, shared memory and its shadow, the program's indices
//   thread   runs until it is done, faults, or meets a collective; then the next one runs
//
//   shuffle  the 32 lanes of a warp have arrived: exchange, all go on
//   barrier  all threads of the block have arrived: all go on, a new epoch of shared memory begins
//   nobody can go on and somebody waits: divergence, reported with both places
//
// What is checked: every global access lies in a given range and is aligned; shared accesses are
// inside the block's memory, read only what was written, and no two threads touch a byte (one
// writing) without a barrier between.
#ifndef COMPILER_GPU_EMU_H
#define COMPILER_GPU_EMU_H
#include "base/fiber.h"
#include "compiler/backend.h"
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
    int64_t place;   ///< span of the last op that told us: begin << 32 | end, -1: none
    EmuAsync *async; ///< NULL: has issued none
};

/// One byte of shared memory: who wrote and read it last, and in which epoch (0: never).
typedef struct EmuShadow {
    int32_t written, read;
    int16_t writer, reader; ///< reader -1: several
    int16_t pending;        ///< 1 + the thread whose asynchronous copy is to land here
} EmuShadow;

enum { EMU_MAX_THREADS = 1024, EMU_LANES = 32 };

struct EmuBlock {
    EmuThread threads[EMU_MAX_THREADS];
    int32_t n_threads;
    void (*entry)(const void *args);
    const void *args;
    int32_t program[3], grid[3];
    uint8_t *shared;
    EmuShadow *shadow; ///< [shared_bytes]
    int32_t shared_bytes, epoch;
    int32_t n_ranges;
    const MemRange *ranges;
    bool has_fault;
    Diag *diag;
    EmuThread *running; ///< NULL: between threads
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
/// Waits until all 32 lanes of the warp wait with the same `serve`, `imm` and place, and it has
/// served them. `args` and `ret` are what `serve` finds in the lane.
void emu_collect(EmuThread *t, EmuServe serve, int32_t imm, const uint64_t *args, uint64_t *ret,
                 int64_t place);

/// How a thread touches memory. An asynchronous copy issues its writes and lands them later:
/// between the two nobody may touch the bytes.
typedef enum EmuTouch { EMU_READS, EMU_WRITES, EMU_ISSUES, EMU_LANDS } EmuTouch;

/// Checks and records an access of `bytes` (a power of two) at a host address; the thread's place
/// is set before. @return false: reported, do not touch
bool emu_touch_shared(EmuThread *t, uint64_t at, int32_t bytes, EmuTouch how);
bool emu_touch_global(EmuThread *t, uint64_t at, int32_t bytes, EmuTouch how);

/// Handlers of the matrix instructions (emu_mma.c).
void emu_ldmatrix(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);
void emu_mma(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);

/// Handlers of cp.async, its groups and waits (emu_async.c).
void emu_copy_issue(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);
void emu_copy_commit(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);
void emu_copy_wait(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret);
#endif
