// compiler/compile.h - the driver, and all of the compiler that runtime/ may see.
//
//   Source (kernel text)  +  Spec (types, constants, hints)  +  Target
//        |  compile_kernel: lex, parse, lower, passes, back end
//        v
//   Code (object bytes or PTX, argument layout, resources)  -> cached on disk by its key, as bytes
//        |  image_load: link into this process / interpreter / emulator
//        v
//   Image -> image_entry (native function) or image_run (any target that runs on this CPU)
//
// Threads  a Source may be read by several threads; compile_kernel keeps no state between calls;
//          two compilations may run at once
#ifndef COMPILER_COMPILE_H
#define COMPILER_COMPILE_H
#include "base/diag.h"
#include "base/hash.h"
#include "base/num.h"

// ---- sources and specialisations --------------------------------------------------------------

typedef struct Source Source; ///< a parsed kernel file; immutable

/// Reads and parses `path`. Errors in host code outside kernels are not errors here.
/// @param out owned: source_close(); NULL unless KILN_OK
MUST_USE KilnStatus source_open(const char *path, Source **out, Diag *diag);
/// The same from memory; `path` is what diagnostics say.
MUST_USE KilnStatus source_from_text(const char *path, Str text, Source **out, Diag *diag);
void source_close(Source *s);
const char *source_path(const Source *s);
/// Names of its jit functions that have no caller in the file or a launch card, in order of definition.
int32_t source_n_kernels(const Source *s);
const char *source_kernel(const Source *s, int32_t index);

/// What one kernel parameter is in a specialisation (tile-language.md 14.2).
typedef enum SpecKind {
    SPEC_PTR,    ///< pointer to dtype
    SPEC_SCALAR, ///< run-time scalar of dtype
    SPEC_CONST,  ///< compile-time value
} SpecKind;

typedef enum ConstKind {
    CONST_NONE,
    CONST_BOOL,
    CONST_INT,
    CONST_FLOAT,
    CONST_STR,
    CONST_DTYPE
} ConstKind;

typedef struct SpecConst {
    ConstKind kind;
    int64_t i; ///< BOOL, INT; DTYPE: the DType
    double f;
    const char *s;
} SpecConst;

typedef struct SpecParam {
    const char *name;
    SpecKind kind;
    DType dtype;       ///< PTR, SCALAR
    bool is_const_ptr; ///< *k
    bool divisible;    ///< attribute D: value or address is a multiple of 16
    SpecConst value;   ///< CONST
} SpecParam;

typedef struct Spec {
    const char *func;
    int32_t n_params;
    SpecParam *params; ///< in the order of the definition
    int32_t num_warps, num_stages;
    int32_t maxnreg; ///< registers a thread may have on a GPU; 0: the assembler decides
    bool fp_fusion;  ///< [true]
    bool debug;      ///< asserts, bounds and hint checks
} Spec;

/// Parses the written form `name(q: *fp16:16, n: i32:16, stride: 1, m: None, BLOCK=128)[num_warps=4]`
/// against the definition in `s`; parameters left out take their defaults. Everything in `arena`.
MUST_USE KilnStatus spec_parse(const Source *s, Str text, Arena *arena, Spec *out, Diag *diag);
/// The written form, canonical: equal specialisations give equal text. Arena.
const char *spec_text(Arena *arena, const Spec *spec);

/// One `name=expression` of a launch card after the grid, e.g. rows={1,7}, pages=page_table(...).
typedef struct CardLet {
    const char *name, *text;
} CardLet;

/// A launch card (comment above a kernel), with alternatives expanded: one per specialisation.
typedef struct Card {
    Spec spec;
    const char *grid[3]; ///< expressions over parameters and lets; NULL: 1
    int32_t n_lets;
    CardLet *lets;
    int32_t line; ///< in the file
} Card;

/// All cards of `func` (NULL: of every kernel), in order. A kernel asked for by name that has no card is an
/// error that shows how to write one. Arena.
MUST_USE KilnStatus source_cards(const Source *s, const char *func, Arena *arena, int32_t *n,
                                 Card **out, Diag *diag);
/// Evaluates an integer expression of a card (Python arithmetic, min, max, cdiv, next_power_of_2) over named values.
MUST_USE KilnStatus card_eval(const char *text, int32_t n, const char *const *names,
                              const int64_t *values, int64_t *out, Diag *diag);

// ---- targets ----------------------------------------------------------------------------------

typedef enum TargetKind { TARGET_CPU, TARGET_SM, TARGET_EMU, TARGET_INTERP } TargetKind;
/// x86-64, then AArch64; in each family a level runs on the machines of those after it.
typedef enum CpuLevel {
    CPU_GENERIC,
    CPU_AVX2,
    CPU_AVX512,
    CPU_NEON,
    CPU_NEON_DOT,
    CPU_NEON_I8MM,
    CPU_LEVEL_COUNT
} CpuLevel;

typedef struct Target {
    TargetKind kind;
    CpuLevel cpu; ///< CPU
    int32_t sm;   ///< SM, EMU: 75 80 86 89 90
    bool sm_a;    ///< 90a
} Target;

/// "cpu" (the host's best), "cpu:avx512|avx2|generic|neon|neon-dot|neon-i8mm", "sm_75".."sm_90a", "emu:sm_80",
/// "interp".
MUST_USE KilnStatus target_parse(const char *text, Target *out, Diag *diag);
/// Into `out` (at least 24 bytes).
void target_text(const Target *t, char *out);
/// The best level this machine can run.
CpuLevel target_host_level(void);
/// "avx2", without "cpu:".
const char *target_level_name(CpuLevel level);
/// Is it code for x86-64, or for AArch64?
bool target_is_arm(CpuLevel level);
/// Can code for `t` run in this process?
bool target_runs_here(const Target *t);

// ---- compiling --------------------------------------------------------------------------------

/// The layout of the argument block: as CUDA lays out kernel parameters (natural alignment, in order,
/// compile-time parameters left out).
typedef struct CodeParam {
    char name[48];
    SpecKind kind; ///< PTR or SCALAR
    DType dtype;
    int32_t offset, bytes;
    int32_t divisible; ///< the specialisation promises this multiple (1 or 16)
    bool is_written;   ///< PTR: some store or atomic may go through it
} CodeParam;

enum { CODE_MAX_PARAMS = 64 };

/// A compiled kernel: plain data, relocatable, the same bytes for the same key.
typedef struct Code {
    Target target;
    char entry[64]; ///< symbol
    int32_t n_params, args_bytes;
    CodeParam params[CODE_MAX_PARAMS];
    int32_t num_warps, num_stages;
    int32_t shared_bytes;  ///< SM, EMU: static + dynamic shared memory of a block
    int64_t scratch_bytes; ///< CPU: per thread
    int64_t compile_us;    ///< wall clock of compile_kernel; 0 when read from a cache
    int64_t llvm_us;       ///< of that, in LLVM
    uint8_t *bytes;        ///< CPU, EMU: object file; SM: PTX with a final NUL; INTERP: none
    size_t size;           ///< PTX: without the NUL
} Code;

/// What to print on the way; text is appended to the buffer named, where it is not NULL.
typedef struct Emit {
    StrBuf *ast, *tile, *layout, *layout_svg, *llvm, *assembly, *ptx;
    StrBuf *tile_after; ///< with the pass's name below
    const char
        *tile_after_pass; ///< one of compile_passes; the last two exist for GPU targets alone
} Emit;

/// Names for Emit.tile_after_pass, in the order in which they run; ends in NULL.
extern const char *const compile_passes[];

/// The cache key: source text that the kernel uses, specialisation, target and its features, ABI number, LLVM
/// version, the compiler's own build id.
Hash128 compile_key(const Source *s, const Spec *spec, const Target *target);
/// Compiles one specialisation. Diagnostics carry E and W codes.
/// @param emit may be NULL
/// @param out  owned: code_free()
/// @return KILN_OK; KILN_ERR_INPUT kernel text; KILN_ERR_LIMIT resources (E0904); KILN_ERR_UNSUPPORTED E09xx
MUST_USE KilnStatus compile_kernel(const Source *s, const Spec *spec, const Target *target,
                                   const Emit *emit, Code *out, Diag *diag);
void code_free(Code *c);
/// A self-describing, checksummed file image of `c` (appended) and back.
void code_write(const Code *c, Hash128 key, StrBuf *out);
/// @return KILN_OK; KILN_ERR_INPUT when the bytes are not an intact image for `key` (no diagnostic: a cache miss)
MUST_USE KilnStatus code_read(const void *bytes, size_t size, Hash128 key, Code *out);

// ---- running on this CPU ----------------------------------------------------------------------

/// Extents of the launch grid; program `i` has x = i % x, y = i / x % y, z = i / (x * y).
typedef struct Grid {
    int32_t x, y, z, reserved;
} Grid;

/// What one thread gives a kernel. Field order is ABI (CODE_ABI).
typedef struct Tls {
    void *scratch;          ///< [scratch_bytes], 64-byte aligned
    volatile int32_t fault; ///< nonzero after a failed device assert: its line
    int32_t fault_program;
    void *checks; ///< bounds table in debug code, else NULL
    void *user;
} Tls;

enum { CODE_ABI = 1 };

/// Runs programs first .. first + n - 1 of the grid on the calling thread.
typedef void (*KernelEntry)(const void *args, const Grid *grid, int64_t first, int64_t n, Tls *tls);

/// A block of addressable memory, for checks by the interpreter and the emulator.
typedef struct MemRange {
    void *begin;
    size_t bytes;
    const char *name;
} MemRange;

typedef struct Image Image;
/// Makes `c` runnable. CPU objects are linked; INTERP and EMU need `s` and `spec` again (they run IR).
/// @param out owned: image_free()
MUST_USE KilnStatus image_load(const Code *c, const Source *s, const Spec *spec, Image **out,
                               Diag *diag);
void image_free(Image *img);
/// The native function, or NULL when only image_run can run it.
KernelEntry image_entry(const Image *img);
/// Bytes of code from image_entry() on, for profilers.
size_t image_entry_bytes(const Image *img);
/// Runs programs first .. first + n - 1 with checks where the target has them. `ranges` may be NULL: unchecked.
/// @return KILN_OK; KILN_ERR_DEVICE: out of bounds, divergence, race, assert: the place is in diag
MUST_USE KilnStatus image_run(Image *img, const void *args, const Grid *grid, int64_t first,
                              int64_t n, int32_t n_ranges, const MemRange *ranges, Diag *diag);

/// Requests of warps to one memory. A request is one access of the 32 threads of a warp.
typedef struct MemCounters {
    int64_t requests;
    int64_t
        units; ///< what they took: sectors of 32 bytes (global), passes over the 32 banks (shared)
    int64_t ideal; ///< what the same bytes take at best
} MemCounters;

/// What an emulated kernel did since its image was loaded.
typedef struct ImageCounters {
    int64_t programs;
    MemCounters loads, stores;               ///< of global memory, copies among the loads
    MemCounters shared_loads, shared_stores; ///< copies among the stores, ldmatrix among the loads
    int64_t atomics;                         ///< threads' read-modify-writes
    int64_t barriers;                        ///< of a block
    int64_t shuffles, matrix_loads, mmas;    ///< of a warp
    int64_t copies;                          ///< asynchronous ones, of a thread
    int64_t copies_in_flight; ///< most groups of one thread that were under way at once
} ImageCounters;

/// @return false, with zeros: the image does not count (only the emulator does)
bool image_counters(const Image *img, ImageCounters *out);
#endif
