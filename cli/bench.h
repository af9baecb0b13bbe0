// cli/bench.h - what the files of `kiln bench` share: rows, ceilings, forms of output.
//
//   settings --> rows to measure --bench_model.c, bench_kernel.c--> BenchRow --bench_report.c--> md csv json jsonl
//                                      `--bench_peak.c: what this machine can do, now          `--bench_svg.c
//
// A row's share of the ceiling is the time that the ceilings of the same run allow, over the time it took:
//
//   least seconds = sum over steps of max(bytes / read bandwidth, operations / peak)
//
// Bytes and operations are counted from shapes, not measured: weights and cache once per step, two operations
// per multiply-add. A model that fits the caches can be above 1: its bytes do not come from memory.
#ifndef CLI_BENCH_H
#define CLI_BENCH_H
#include "cli/session.h"

/// Multiply-adds whose peak is measured. PEAK_I4: int8 by codes below 16, whose sums of two fit 16 bits: without an
/// instruction for quads of int8 twice as many fit a vector.
typedef enum BenchPeak { PEAK_F32, PEAK_BF16, PEAK_I8, PEAK_I4, PEAK_COUNT } BenchPeak;

typedef struct BenchCeiling {
    double read, copy;       ///< bytes per second
    double peak[PEAK_COUNT]; ///< operations per second; 0: not measured
    const char *why_no_peak; ///< NULL when measured
} BenchCeiling;

const char *bench_peak_name(BenchPeak which);

/// Bandwidth and peaks, which move while other programs run: measured first, and again after rows. Peaks are those
/// of dots on operands that lie in the first cache, compiled as any kernel is; on devices where they are not
/// measured they stay 0, and the ceiling says why.
typedef struct BenchMeter {
    Session *x;
    Arena *arena;
    Source *
        source; ///< of the peaks' kernel: source_close() after the session's kernels; NULL: no peaks
    DeviceBandwidth last;
    double peak[PEAK_COUNT]; ///< the last measured
    double at;               ///< seconds_now() of it
} BenchMeter;
/// Measures for the first time. @param x borrowed: outlives the meter, its device and kernels are open
void bench_meter_open(BenchMeter *m, Session *x, Arena *arena, BenchCeiling *out);
/// Gives a row that was just measured the better of before and after it. What is less than 2 s old counts as after.
void bench_meter_row(BenchMeter *m, BenchCeiling *out);

enum { BENCH_MAX_REPS = 256 };

/// What was measured of one row. Text: arena of the command.
typedef struct BenchRow {
    // what
    const char *test; ///< "pp512", "tg128 @ d2048"; of a kernel its specialisation
    int32_t n_prompt, n_gen, n_depth, n_parallel;
    int32_t n_batch, n_ubatch, n_threads;
    const char *type_k, *type_v;
    const char *model, *path, *device,
        *device_model; ///< model: name and weight type; of a kernel the file
    size_t model_bytes;
    int64_t n_params;
    // measured
    int32_t n_reps;
    double seconds[BENCH_MAX_REPS]; ///< of the timed part
    double ttft
        [BENCH_MAX_REPS]; ///< from the first step of the request, its depth included, to its first token
    double tokens;        ///< per repetition, of all sequences
    char ids[33];         ///< hash of the ids of a repetition
    double load_seconds;
    // counted
    double bytes, flops; ///< of the timed part of one repetition
    double least;        ///< seconds that the ceilings allow; 0: unknown
    bool is_compute;     ///< most of `least` is arithmetic
    bool is_kernel;
    BenchPeak peak;
    BenchCeiling ceiling; ///< the better of before and after the row
    size_t weights, kv, activations, rss;
} BenchRow;

/// Mean and standard deviation (of the sample), as llama-bench prints them, and the median.
typedef struct BenchSpread {
    double mean, deviation, median;
} BenchSpread;
BenchSpread bench_spread(int32_t n, const double *values);
/// Tokens per second (bytes per second of a kernel) over the repetitions.
BenchSpread bench_rate(const BenchRow *row);
/// Seconds allowed over the median of seconds taken; 0: unknown.
double bench_share(const BenchRow *row);

/// Rows to standard output, in the form of -o. Rows of md, csv and jsonl appear when they are done.
typedef struct BenchReport {
    const Settings *s;
    Arena *arena;
    VEC(BenchRow *) rows;
    bool is_kernel;
} BenchReport;
/// @return false: `form` is none of md csv json jsonl
bool bench_form_known(const char *form);
void bench_report_row(BenchReport *r, BenchRow *row);
void bench_report_end(BenchReport *r);
/// The roofline picture of all rows. @return as file_replace
MUST_USE KilnStatus bench_svg(const BenchReport *r, const char *path, Diag *diag);

/// Set by Ctrl-C: the row at hand ends, what was measured is printed, the exit code is 130.
bool bench_interrupted(void);
/// "tg128 3/5" on a terminal, in place; NULL removes it.
void bench_progress(const Settings *s, const char *test, int32_t rep, int32_t n_reps);

/// Numbers of a list option: commas, ranges a-b, a-b+step, a-b*factor. `n` 0 when the option was not given. Arena.
MUST_USE KilnStatus bench_numbers(const char *flag, const TextList *list, Arena *arena, int32_t *n,
                                  int64_t **out, Diag *diag);
/// Rows of a model, of kernels. @return an exit code
int bench_model(BenchReport *r, Diag *diag);
int bench_kernel(BenchReport *r, Diag *diag);
#endif
