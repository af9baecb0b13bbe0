// compiler/gpu/gpu.h - what the files of the GPU back end share.
//
//   tile IR --anchors--> MemFacts per memory op       where neighbours lie, how wide an access may
//   be
//           --propagate--> every tile type has a layout; CONVERT where two meet
//           --pipeline--> loads of loops become copies that run iterations ahead
//           --shared--> a place in shared memory for every buffer and every op that needs some
//           --barriers--> the ops in front of which all threads of the block meet
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
    uint32_t still;       ///< coordinate bits along which the address stands still
    int32_t n_chain; ///< coordinate bits whose addresses are contiguous: 1, 2, 4 ... elements apart
    int8_t chain[5];
    int32_t
        v_max; ///< lg of the elements that one aligned access may move (mask uniform, <= 16 bytes)
} MemFacts;

/// One op's use of shared memory: an ALLOC's buffer, live from there to its last reader, or what an
/// op needs while it runs (it writes, meets the other threads, and reads).
typedef struct Scratch {
    int64_t bytes;      ///< of all stages
    int32_t offset;     ///< bytes in dynamic shared memory
    bool needs_barrier; ///< before the op's first access of shared memory (barriers.c)
} Scratch;

typedef enum ConvertClass {
    CONVERT_SAME,
    CONVERT_REGISTERS,
    CONVERT_SHUFFLE,
    CONVERT_SHARED
} ConvertClass;

/// T of layouts.md 4.1: where the destination finds its elements in the source, and the schedule of
/// 4.2 that moves them between the lanes of a warp.
typedef struct ConvertPlan {
    ConvertClass kind;
    int32_t cost; ///< issue slots of a warp, layouts.md 4.6
    uint32_t reg_reg[GF2_MAX],
        reg_lane[GF2_MAX]; ///< T of destination register bits: register and lane part
    uint32_t lane_reg[GF2_MAX], lane_lane[GF2_MAX]; ///< T of lane bits
    uint32_t warp_reg[GF2_MAX], warp_lane[GF2_MAX]; ///< T of warp bits, the own warp taken out
    // Shuffles: round r brings register r ^ take(lane) from lane from(lane) ^ reg_lane(r), which
    // offers its register send(r) ^ give(lane).
    uint32_t take[LAYOUT_LANES], give[LAYOUT_LANES], from[LAYOUT_LANES];
    uint32_t send[GF2_MAX], give_warp[GF2_MAX];
    bool is_butterfly; ///< from(lane) = lane: rounds that stay home cost nothing
    uint32_t packed;   ///< register bits whose two elements travel in one 32-bit word
} ConvertPlan;

/// Which kind of move takes a tile of elements of `bytes` from `src` to `dst`, decided by algebra and,
/// between shuffles and shared memory, by cost (convert.c).
ConvertPlan convert_classify(const Layout *src, const Layout *dst, int32_t bytes);
/// Up to shuffles, whatever they cost. @return false: data crosses warps
bool convert_in_warps(const Layout *src, const Layout *dst, int32_t bytes, ConvertPlan *p);

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
    const struct DotPlan *dot; ///< mma.h; NULL: not a dot, or one of multiply-adds
    Scratch scratch;
    bool global_barrier; ///< a barrier before this memory op orders it behind other threads'
                         ///< accesses
    int32_t first, last; ///< program order of the op and of the last one inside it (shared.c)
} OpNote;

typedef struct GpuCx {
    Func *fn;
    Module *module;
    Arena *arena;
    Diag *diag;
    const SmFacts *sm;
    bool is_emu;
    int32_t log_warps;
    int32_t shared_bytes;             ///< result of shared_assign
    bool told_tf32;                   ///< W0805 has been given
    int32_t most_stages;              ///< of pipelined loops; 0: as many as they ask for
    int32_t n_barriers;               ///< result of barriers_place: barriers between ops
    int32_t left_out;                 ///< for tests: the barrier of this number is missing; 0: none
    int32_t n_pipelined, stages_used; ///< loops that pipeline_loops() rewrote, their most stages
    int32_t stages_left; ///< the fewest that shared memory left of what was asked for; 0: all
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
/// Gives dots their matrix instruction and layouts, where there is one (select_dot.c). W0805 once
/// when f32 is multiplied as tf32 without having been asked.
void dots_select(GpuCx *cx);
/// Gives every tile type a layout and inserts CONVERTs.
/// @return KILN_OK; KILN_ERR_LIMIT: a tile has more elements per thread than we keep (E0904)
MUST_USE KilnStatus layouts_assign(GpuCx *cx);
/// The layout of the threads that copy what `load` loads: the widest vectors its address allows.
const Layout *anchor_copy(const GpuCx *cx, const AffineCx *affine, const Op *load);
/// Turns loads inside `for` loops into copies that run num_stages - 1 iterations ahead
/// (pipeline.c). Between anchors_choose() and layouts_assign().
MUST_USE KilnStatus pipeline_loops(GpuCx *cx, const AffineCx *affine);
/// Gives every buffer the layout in which its elements lie, from those of writers and readers
/// (async.c).
void buffers_assign(GpuCx *cx);
/// Is every element of the buffer written and read by one and the same thread?
bool buffer_is_private(const Op *alloc);
/// Measures and places shared memory: what lives at the same time has places of its own.
/// @param report  says in the diagnostics what does not fit
/// @return KILN_OK; KILN_ERR_LIMIT: the architecture has less (E0904)
MUST_USE KilnStatus shared_assign(GpuCx *cx, bool report);
/// Decides which ops a barrier goes in front of: Scratch.needs_barrier, OpNote.global_barrier.
void barriers_place(GpuCx *cx);
/// The kernel's pointer argument that `v` (a pointer or a tile of them) comes from; NULL: unknown.
const Value *pointer_root(const Value *v);
/// Are there lanes or warps that hold the same elements as others?
bool layout_repeats(const Layout *l);
/// Does a thread read and write memory here, and through which operand? @return -1: no
int32_t pointer_operand(const Op *op);
/// Bytes of shared memory that `op` needs, 0 for most.
int64_t scratch_bytes(const GpuCx *cx, const Op *op);
/// The layout in which a dot accumulates: a block of registers per thread, batch axes on warps
/// first.
Layout anchor_dot(const GpuCx *cx, const Type *acc);
/// Everything between the common passes and lowering: pipelining, layouts.
MUST_USE KilnStatus gpu_decide(GpuCx *cx, const Emit *emit);
/// Shared memory, LLVM IR and code of a function whose tiles all have layouts; fills in `out` as
/// gpu_compile() does.
MUST_USE KilnStatus gpu_generate(GpuCx *cx, const Emit *emit, Code *out);
/// Appends every tile value with its layout, and pictures, as --emit=layout shows them.
void layouts_print(Func *fn, StrBuf *out);
void layouts_draw(Func *fn, StrBuf *out);
#endif
