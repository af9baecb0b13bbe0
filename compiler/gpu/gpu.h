// compiler/gpu/gpu.h - what the files of the GPU back end share.
//
//   tile IR --anchors--> MemFacts per memory op       where neighbours lie, how wide an access may
//   be
//           --propagate--> every tile type has a layout; CONVERT where two meet
//           --scratch--> Scratch per op that needs shared memory; offsets, barriers
//           --lower--> LLVM IR of one thread          a tile is one value per register
//           --nvptx or emu--> PTX text, or a host object that the emulator runs
//
// Only facts about the program live in the first three; only lower*.c know LLVM (lower.h).
#ifndef COMPILER_GPU_GPU_H
#define COMPILER_GPU_GPU_H
#include "compiler/backend.h"
#include "ir/affine.h"
#include "ir/layout.h"

typedef struct SmFacts {
    int32_t sm;
    bool a;
    const char *cpu, *features;
    int32_t shared_bytes;
    bool has_bf16, has_cp_async, has_fp8;
} SmFacts;

/// @return NULL: no such architecture
const SmFacts *sm_facts(int32_t sm, bool a);

/// What the bit-affine form of a memory op's pointer and mask says (anchors.c).
typedef struct MemFacts {
    const Layout *anchor; ///< the layout that accesses memory best; NULL for scalars
    int32_t n_chain; ///< coordinate bits whose addresses are contiguous: 1, 2, 4 ... elements apart
    int8_t chain[5];
    int32_t
        v_max; ///< lg of the elements that one aligned access may move (mask uniform, <= 16 bytes)
} MemFacts;

/// One op's use of shared memory (scratch.c). Two regions take turns, so that one barrier per op
/// suffices: whoever writes region A has met a barrier after the last reads of A, the one inside
/// B's op.
typedef struct Scratch {
    int64_t bytes;
    int32_t region;     ///< 0 or 1
    int32_t offset;     ///< bytes in dynamic shared memory
    bool needs_barrier; ///< before the first write: reads of this region may be pending
} Scratch;

typedef enum ConvertClass {
    CONVERT_SAME,
    CONVERT_REGISTERS,
    CONVERT_SHUFFLE,
    CONVERT_SHARED
} ConvertClass;

/// T of layouts.md 4.1: where the destination finds its elements in the source, for classes up to
/// SHUFFLE.
typedef struct ConvertPlan {
    ConvertClass kind;
    uint32_t reg_reg[GF2_MAX],
        reg_lane[GF2_MAX]; ///< T of destination register bits: register and lane part
    uint32_t lane_reg[GF2_MAX], lane_lane[GF2_MAX]; ///< T of lane bits
    uint32_t warp_reg[GF2_MAX], warp_lane[GF2_MAX]; ///< T of warp bits, the own warp taken out
} ConvertPlan;

/// Which kind of move takes a tile from `src` to `dst`, decided by algebra (convert.c).
ConvertPlan convert_classify(const Layout *src, const Layout *dst);

/// What emulated code asks of the emulator.
typedef enum EmuOp {
#define EMU(NAME) EMU_##NAME,
#include "compiler/gpu/emu_ops.def"
#undef EMU
    EMU_OP_COUNT,
} EmuOp;

/// The notes that passes leave on ops (Op.note).
typedef struct OpNote {
    MemFacts mem;
    Scratch scratch;
    bool global_barrier; ///< a barrier before this memory op orders it behind other threads'
                         ///< accesses
} OpNote;

typedef struct GpuCx {
    Func *fn;
    Module *module;
    Arena *arena;
    Diag *diag;
    const SmFacts *sm;
    bool is_emu;
    int32_t log_warps;
    int32_t shared_bytes; ///< result of scratch_assign
} GpuCx;

static inline OpNote *op_note(const Op *op)
{
    return op->note;
}

/// Elements of a tile value per thread.
static inline int32_t value_regs(const Value *v)
{
    return v->type->kind == TYPE_TILE ? layout_regs(v->type->layout) : 1;
}

/// Fills the MemFacts of every memory op and gives every op an OpNote.
void anchors_choose(GpuCx *cx, AffineCx *affine);
/// Gives every tile type a layout and inserts CONVERTs.
/// @return KILN_OK; KILN_ERR_LIMIT: a tile has more elements per thread than we keep (E0904)
MUST_USE KilnStatus layouts_assign(GpuCx *cx);
/// Sizes, places and orders shared memory.
/// @return KILN_OK; KILN_ERR_LIMIT: the architecture has less (E0904)
MUST_USE KilnStatus scratch_assign(GpuCx *cx);
/// Bytes of shared memory that `op` needs, 0 for most.
int64_t scratch_bytes(const GpuCx *cx, const Op *op);
/// The layout in which a dot accumulates: a block of registers per thread, batch axes on warps
/// first.
Layout anchor_dot(const GpuCx *cx, const Type *acc);
/// Shared memory, LLVM IR and code of a function whose tiles all have layouts; fills in `out` as
/// gpu_compile() does.
MUST_USE KilnStatus gpu_generate(GpuCx *cx, const Emit *emit, Code *out);
/// Appends every tile value with its layout, and pictures, as --emit=layout shows them.
void layouts_print(Func *fn, StrBuf *out);
void layouts_draw(Func *fn, StrBuf *out);
#endif
