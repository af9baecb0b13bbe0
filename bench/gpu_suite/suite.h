// bench/gpu_suite/suite.h - one program, one command: is every kernel right on this GPU, and how fast is it?
//
//   kiln_gpu_suite --out DIR
//     parent   a child per stage, each with a slot of seconds; one that overruns or dies is skipped
//       child --stage ceilings      \   each opens the device, measures, and writes JSON lines at once,
//       child --stage correctness    >  so that what was measured survives whatever comes after
//       ...                         /
//       python3 gpu_peers.py            Triton, PyTorch and cuBLAS, where they are: the same lines
//     parent   joins the lines: a table, worst ratios first; exit 1 when a kernel was wrong
//
// Everything it needs is inside: kernel files, the interpreter's results of every card's cases, a model.
//
// Times are events around R launches, R so that a region takes 2 ms or more; regions are repeated and the
// median and the 10-90 % spread reported. Buffers rotate over sets that together are larger than the
// caches four times over; kernels shorter than 50 us run inside one captured graph.
#ifndef BENCH_GPU_SUITE_SUITE_H
#define BENCH_GPU_SUITE_SUITE_H
#include <stdio.h>

#include "runtime/graph.h"

typedef struct Suite Suite;
struct Suite {
    Arena arena;
    Diag diag;
    Device *dev;
    KernelCache *kernels;
    const char *program;    ///< path of this program
    const char *out;        ///< folder
    const char *cuda_lib;   ///< NULL: the system's
    FILE *lines;            ///< DIR/suite.jsonl, appended, flushed line by line
    double begin, deadline; ///< suite_now() of the whole run's begin; of the stage's end
    size_t cache_bytes;     ///< that rotating buffers must exceed
    int32_t regions;        ///< timed regions per measurement
    bool quick;             ///< sizes that an emulator can do: to test the suite itself
    bool no_judge;      ///< the device runs nothing (a recording driver): results are not compared
    bool flip;          ///< one stored byte is changed first: must be found
    int32_t first_card; ///< correctness: go on here
    int32_t n_wrong;    ///< of this process
    // the two of the loop over cards
    const uint8_t *pack;
    size_t pack_size;
};

typedef struct Stage {
    const char *name;
    double slot_s;
    KilnStatus (*run)(Suite *s);
    const char *what;
    bool is_by_request; ///< only with --only
} Stage;

extern const Stage stages[];
extern const int32_t n_stages;

/// Opens the kernels that the program carries, in place of those of before: compiled ones are let go.
MUST_USE KilnStatus suite_open_kernels(Suite *s);

double suite_now(void); ///< seconds, monotonic
static inline bool suite_is_late(const Suite *s)
{
    return suite_now() > s->deadline;
}

// ---- launches, written down once ----------------------------------------------------------------

enum { CALL_MAX_ARGS = 48, CALL_MAX_SETS = 64 };

/// A launch: from the list of its arguments come both the specialisation and the values.
typedef struct Call {
    const char *file, *func;
    StrBuf words;
    Arg args[CALL_MAX_ARGS];
    int32_t n_args;
    Grid grid;
    int32_t warps, stages; ///< 0: 4 and 3
} Call;

Call call_of(const char *file, const char *func, Grid grid);
void call_ptr(Call *c, const char *name, DType t, const void *at); ///< NULL: None
void call_int(Call *c, const char *name, int64_t v);
void call_float(Call *c, const char *name, double v);
void call_const(Call *c, const char *name, int64_t v);
void call_bool(Call *c, const char *name, bool v);
/// Finds the kernel. Ends the list; may be called again.
MUST_USE KilnStatus call_kernel(Suite *s, Call *c, Kernel **out);
void call_free(Call *c);
/// Finds the kernel, runs it once and frees the call.
MUST_USE KilnStatus call_run(Suite *s, Call *c);

// ---- memory -------------------------------------------------------------------------------------

/// Device memory with numbers in it: floats normal with deviation `scale`, integers in [-scale, scale].
MUST_USE KilnStatus suite_numbers(Suite *s, DType t, int64_t n, double scale, void **out);
MUST_USE KilnStatus suite_ints(Suite *s, int64_t n, const int32_t *values, void **out);
/// 0 step 2*step ...
MUST_USE KilnStatus suite_iota(Suite *s, int64_t n, int32_t first, int32_t step, void **out);
MUST_USE KilnStatus suite_one(Suite *s, int32_t value, void **out);
/// Frees all device memory that the stage took through these functions since `mark`.
int32_t suite_mark(const Suite *s);
void suite_release(Suite *s, int32_t mark);

// ---- measuring ----------------------------------------------------------------------------------

typedef struct Times {
    double med, p10, p90, min; ///< us per launch
    int32_t launches;          ///< per region
    bool is_graph;
} Times;

/// What a record says beside its times. Texts may be NULL.
typedef struct Record {
    const char *stage, *kernel, *impl, *dtype;
    const char *shape, *config; ///< JSON objects
    const Kernel *k;
    double bytes, flops; ///< per launch
    int32_t sets;
    const char *note;
} Record;

/// n sets of the same launch with buffers of their own: timed in turn.
MUST_USE KilnStatus suite_time(Suite *s, int32_t n, Call *const *sets, Times *out);
/// The same for any work: `run` queues `count` rounds.
MUST_USE KilnStatus suite_time_work(Suite *s,
                                    KilnStatus (*run)(void *user, int32_t count, Diag *diag),
                                    void *user, Times *out);
/// The same for a recorded graph, run whole each round.
MUST_USE KilnStatus suite_time_graph(Suite *s, Graph *g, Times *out);
void suite_record(Suite *s, const Record *r, const Times *t);
/// A ceiling or a fact: {"stage":..,"name":..,"value":..,"unit":..}
void suite_value(Suite *s, const char *stage, const char *name, double value, const char *unit,
                 const char *note);
void suite_text(Suite *s, const char *stage, const char *name, const char *text);
/// How many buffer sets of `bytes` are needed to find the caches cold, at most CALL_MAX_SETS.
int32_t suite_sets(const Suite *s, double bytes);
/// Writes what went wrong, forgets it and goes on: one measurement is lost, not the stage.
void suite_miss(Suite *s, const char *stage, const char *what);

// ---- the stages ---------------------------------------------------------------------------------

KilnStatus stage_environment(Suite *s);
KilnStatus stage_ceilings(Suite *s);
KilnStatus stage_correctness(Suite *s);
KilnStatus stage_sanitizer(Suite *s);
KilnStatus stage_streaming(Suite *s);
KilnStatus stage_gemm(Suite *s);
KilnStatus stage_attention(Suite *s);
KilnStatus stage_paged(Suite *s);
KilnStatus stage_decode(Suite *s);

/// Reads DIR/suite.jsonl and prints the table. @return wrong results and dead stages found in it
int32_t report_print(const char *path, FILE *out);
#endif
