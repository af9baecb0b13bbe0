// kiln.h - the public C API of kiln: compile tile-language kernels, launch them, run models.
//
//   KilnDevice ---- kiln_compile(source, "name(x: *fp32, n: i32, BLOCK=256)") ----> KilnKernel -- kiln_launch
//       |
//   KilnModel  ---- kiln_engine_create ----> KilnEngine -- kiln_generate, or submit / step / poll
//
// The one header an embedding program needs. Handles are opaque and end with the function that the one that
// made them names. Structs of options begin with `size_t size` (sizeof of the caller's struct), so that older
// callers keep working; a field left zero takes its default. Nothing prints, nothing exits, nothing is global.
//
// Errors   a status says what to do next; a KilnError, when given, holds the words and the code
// Threads  any thread may make any call on different devices, and launches on one device (they queue);
//          calls marked "engine thread" must not overlap for one engine
#ifndef KILN_H
#define KILN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KILN_API __attribute__((visibility("default")))

/// What a caller can do next. A diagnostic beside it tells a person what happened and where.
typedef enum KilnStatus {
    KILN_OK = 0,
    KILN_ERR_INPUT,       ///< fix what was handed in: kernel text, model file, request, argument
    KILN_ERR_UNSUPPORTED, ///< take another road: the input is legal, we do not do it
    KILN_ERR_LIMIT,       ///< ask for less: shared memory, registers, pages, context length
    KILN_ERR_NOMEM,       ///< host memory ran out
    KILN_ERR_IO,          ///< the outside world's own code is in the diagnostic
    KILN_ERR_DEVICE,      ///< the device refused or failed
} KilnStatus;

// ---- errors and memory ------------------------------------------------------------------------

typedef struct KilnError KilnError;
/// A place for messages, to be handed to any number of calls; each call clears it. NULL: no memory.
KILN_API KilnError *kiln_error_new(void);
KILN_API void kiln_error_free(KilnError *error);
/// All messages of the last call as people read them, "" when there are none. Borrowed until the next call.
KILN_API const char *kiln_error_message(const KilnError *error);
/// The code of the first error: "E0503", "K201"; "" when there is none.
KILN_API const char *kiln_error_code(const KilnError *error);
/// Frees text that a function below handed out as owned. NULL is fine.
KILN_API void kiln_free(void *text);
/// "0.1.0"
KILN_API const char *kiln_version(void);

// ---- devices ----------------------------------------------------------------------------------

typedef struct KilnDevice KilnDevice;
typedef struct KilnBuffer KilnBuffer;

/// A line of log: level 0 error .. 4 trace, a component, key=value fields.
typedef void (*KilnLogFn)(void *user, int level, const char *component, const char *line);

typedef struct KilnDeviceOptions {
    size_t size;
    const char *name;       ///< "cpu", "cpu:avx2", "interp", "emu:sm_80", "cuda:0"; NULL: the CPU
    int32_t n_threads;      ///< 0: one per CPU
    const char *cache_dir;  ///< compiled kernels are kept in cache_dir/kernels; NULL: not kept
    const char *kernel_dir; ///< kernel files that replace the ones inside the library; may be NULL
    KilnLogFn log;          ///< may be NULL
    void *log_user;
    int log_level;
} KilnDeviceOptions;

typedef struct KilnDeviceInfo {
    size_t size;
    char name[24], model[96];
    int32_t n_threads;
    uint64_t memory_total, memory_free; ///< bytes
    uint64_t bytes_live, bytes_peak;    ///< allocated here
    int64_t compiles, cached_disk, cached_mem, records, launches, allocations;
} KilnDeviceInfo;

/// Kinds of devices, usable or not. @return how many there are
KILN_API int32_t kiln_device_count(void);
/// Kind `index`. @param why_not  NULL when it can be used here
KILN_API const char *kiln_device_name(int32_t index, const char **what, const char **why_not);
/// @param options may be NULL
KILN_API KilnStatus kiln_device_open(const KilnDeviceOptions *options, KilnDevice **out,
                                     KilnError *error);
/// After everything that was made on it. NULL is fine.
KILN_API void kiln_device_close(KilnDevice *device);
KILN_API KilnStatus kiln_device_info(KilnDevice *device, KilnDeviceInfo *info, KilnError *error);
/// The best of several passes over 256 MiB with all threads, in bytes per second.
KILN_API KilnStatus kiln_bandwidth_ceiling(KilnDevice *device, double *read, double *copy,
                                           KilnError *error);

/// Zeroed device memory. @param out owned: kiln_buffer_free()
KILN_API KilnStatus kiln_buffer_alloc(KilnDevice *device, size_t bytes, KilnBuffer **out,
                                      KilnError *error);
KILN_API void kiln_buffer_free(KilnBuffer *buffer);
/// Copies `bytes` to `offset` of the buffer, or back.
KILN_API KilnStatus kiln_buffer_upload(KilnBuffer *buffer, size_t offset, const void *data,
                                       size_t bytes, KilnError *error);
KILN_API KilnStatus kiln_buffer_download(const KilnBuffer *buffer, size_t offset, void *data,
                                         size_t bytes, KilnError *error);

// ---- compiler ---------------------------------------------------------------------------------

typedef struct KilnSource KilnSource; ///< a parsed kernel file
typedef struct KilnKernel
    KilnKernel; ///< one specialisation, ready to run; lives as long as its device

/// @param out owned: kiln_source_free()
KILN_API KilnStatus kiln_source_load(const char *path, KilnSource **out, KilnError *error);
/// @param name what messages call the text
KILN_API KilnStatus kiln_source_from_text(const char *name, const char *text, size_t len,
                                          KilnSource **out, KilnError *error);
KILN_API void kiln_source_free(KilnSource *source);
/// Names of the kernels in the file; NULL past the last.
KILN_API const char *kiln_source_function(const KilnSource *source, int32_t index);
/// Compiles `spec`, or finds it compiled: "name(x: *fp32:16, n: i32, stride: 1, BLOCK=128)[num_warps=4]".
/// @param out borrowed from the device
KILN_API KilnStatus kiln_compile(KilnDevice *device, KilnSource *source, const char *spec,
                                 KilnKernel **out, KilnError *error);
/// The text of one stage of a compilation for `target` ("cpu", "sm_80", "interp"): "ast", "tile", "layout",
/// "llvm", "asm" or "ptx". No device is needed. @param out owned: kiln_free()
KILN_API KilnStatus kiln_kernel_emit(KilnSource *source, const char *spec, const char *target,
                                     const char *stage, char **out, KilnError *error);

typedef struct KilnKernelInfo {
    size_t size;
    const char *name, *spec; ///< borrowed from the kernel; spec is canonical
    int32_t n_params;        ///< run-time parameters
    int32_t num_warps, num_stages, shared_bytes;
    int64_t scratch_bytes; ///< per thread
    int64_t compile_us;    ///< 0: it was in the cache
} KilnKernelInfo;
KILN_API KilnStatus kiln_kernel_info(const KilnKernel *kernel, KilnKernelInfo *info,
                                     KilnError *error);

// ---- launch -----------------------------------------------------------------------------------

typedef enum KilnArgKind {
    KILN_ARG_BUFFER,
    KILN_ARG_ADDRESS,
    KILN_ARG_INT,
    KILN_ARG_FLOAT
} KilnArgKind;

/// One run-time argument: by name in any order, or, where the name is NULL, the next in order.
typedef struct KilnArg {
    const char *name;
    KilnArgKind kind;
    KilnBuffer *buffer; ///< BUFFER, at `offset` bytes
    size_t offset;
    void *address; ///< ADDRESS: device memory
    int64_t i;     ///< INT
    double f;      ///< FLOAT
} KilnArg;

static inline KilnArg kiln_arg_buffer(const char *name, KilnBuffer *buffer)
{
    KilnArg a = {name, KILN_ARG_BUFFER, buffer, 0, NULL, 0, 0};
    return a;
}
static inline KilnArg kiln_arg_int(const char *name, int64_t i)
{
    KilnArg a = {name, KILN_ARG_INT, NULL, 0, NULL, i, 0};
    return a;
}
static inline KilnArg kiln_arg_float(const char *name, double f)
{
    KilnArg a = {name, KILN_ARG_FLOAT, NULL, 0, NULL, 0, f};
    return a;
}

/// Runs programs (0,0,0) .. (x-1,y-1,z-1) and waits for them. Number, names and types of arguments, and the
/// promises of the specialisation, are checked first.
KILN_API KilnStatus kiln_launch(KilnKernel *kernel, const int32_t grid[3], int32_t n_args,
                                const KilnArg *args, KilnError *error);
/// Only the checks.
KILN_API KilnStatus kiln_launch_check(KilnKernel *kernel, const int32_t grid[3], int32_t n_args,
                                      const KilnArg *args, KilnError *error);

typedef struct KilnGraph KilnGraph; ///< a recorded list of launches

/// Starts recording. @param out owned: kiln_graph_free()
KILN_API KilnStatus kiln_graph_begin(KilnDevice *device, const char *name, KilnGraph **out,
                                     KilnError *error);
/// Records a launch: kernel and arguments are pinned, what is in the buffers may change from run to run.
KILN_API KilnStatus kiln_graph_add(KilnGraph *graph, KilnKernel *kernel, const int32_t grid[3],
                                   int32_t n_args, const KilnArg *args, KilnError *error);
/// Ends recording. Launches that touch nothing in common will run side by side.
KILN_API KilnStatus kiln_graph_end(KilnGraph *graph, KilnError *error);
/// Runs all of it and waits.
KILN_API KilnStatus kiln_graph_launch(KilnGraph *graph, KilnError *error);
/// The list as text. @return owned: kiln_free(); NULL: no memory
KILN_API char *kiln_graph_text(const KilnGraph *graph);
KILN_API void kiln_graph_free(KilnGraph *graph);

// ---- models -----------------------------------------------------------------------------------

typedef struct KilnModel KilnModel;

typedef struct KilnModelInfo {
    size_t size;
    char name[96], arch[32], weight_type[24];
    int32_t n_layers, n_heads, n_kv_heads, head_dim, hidden, vocab, max_context;
    int64_t n_params;
    uint64_t weight_bytes;
    int32_t bos, eos; ///< token ids, -1: none
} KilnModelInfo;

/// Opens a GGUF file or a folder of safetensors: headers and tokenizer. The weights follow with the first engine.
/// @param out owned: kiln_model_free(), before the device
KILN_API KilnStatus kiln_model_load(KilnDevice *device, const char *path, KilnModel **out,
                                    KilnError *error);
KILN_API void kiln_model_free(KilnModel *model);
KILN_API KilnStatus kiln_model_info(const KilnModel *model, KilnModelInfo *info, KilnError *error);

/// Token ids of UTF-8 text. @param add_special  BOS and EOS as the model wants them, and control tokens written out
/// @param out owned: kiln_free()
KILN_API KilnStatus kiln_tokenize(const KilnModel *model, const char *text, size_t len,
                                  bool add_special, int32_t **out, int32_t *n, KilnError *error);
/// Text of token ids, NUL-terminated. @param out owned: kiln_free()
KILN_API KilnStatus kiln_detokenize(const KilnModel *model, const int32_t *ids, int32_t n,
                                    char **out, KilnError *error);
/// What one token prints: bytes that may be part of a character. @return borrowed from the model
KILN_API const char *kiln_token_piece(const KilnModel *model, int32_t id, size_t *len);

// ---- engine -----------------------------------------------------------------------------------

typedef struct KilnEngine KilnEngine;

typedef struct KilnEngineOptions {
    size_t size;
    int32_t n_slots;     ///< sequences at once [1]
    int32_t max_context; ///< tokens per sequence [the smaller of the model's and what fits]
    int32_t n_batch;     ///< tokens per step [512]
    int32_t page_len;    ///< tokens per page of the cache [32]
    const char *kv_type; ///< "f32", "f16", "bf16", "int8" [f32]
    double mem_fraction; ///< of free memory [0.9]
    bool all_logits;     ///< kiln_logits will be used
} KilnEngineOptions;

typedef struct KilnMemoryPlan {
    size_t size;
    uint64_t weights, kv, activations, step, available, kv_per_token; ///< bytes
    int32_t max_context, n_slots;
    bool fits;
} KilnMemoryPlan;

/// What an engine would need. @return KILN_ERR_LIMIT when it does not fit; `plan` is filled in either way
KILN_API KilnStatus kiln_memory_plan(const KilnModel *model, const KilnEngineOptions *options,
                                     KilnMemoryPlan *plan, KilnError *error);
/// Loads the weights if they are not, opens the cache. @param options may be NULL
/// @param out owned: kiln_engine_free(), before the model
KILN_API KilnStatus kiln_engine_create(KilnModel *model, const KilnEngineOptions *options,
                                       KilnEngine **out, KilnError *error);
KILN_API void kiln_engine_free(KilnEngine *engine);

typedef struct KilnSampling {
    float temperature; ///< 0: the likeliest token
    int32_t top_k;     ///< 0: off
    float top_p;       ///< 0 or 1: off
    float min_p;       ///< 0: off
    uint64_t seed;     ///< the same seed, the same tokens
} KilnSampling;

/// A piece of generated text: whole characters. @return false to end the request
typedef bool (*KilnTextFn)(void *user, const char *text, size_t len, int32_t token);

typedef struct KilnRequest {
    size_t size;
    const char *prompt;    ///< UTF-8, NUL-terminated; or
    const int32_t *tokens; ///< [n_tokens]
    int32_t n_tokens;
    int32_t n_predict; ///< negative: until the model ends or the context is full
    KilnSampling sampling;
    bool ignore_end;    ///< end tokens are tokens like others
    KilnTextFn on_text; ///< may be NULL
    void *user;
} KilnRequest;

typedef enum KilnFinish {
    KILN_RUNNING,
    KILN_FINISH_STOP,
    KILN_FINISH_LENGTH,
    KILN_FINISH_CANCEL,
    KILN_FINISH_ERROR
} KilnFinish;

typedef struct KilnProgress {
    size_t size;
    KilnFinish finish;
    const int32_t *tokens; ///< [n_tokens] generated; borrowed until the next call on the engine
    int32_t n_tokens, n_prompt;
    const char *text; ///< of these tokens; borrowed as well
} KilnProgress;

/// Queues a request. Engine thread. @param id for the calls below
KILN_API KilnStatus kiln_engine_submit(KilnEngine *engine, const KilnRequest *request, int32_t *id,
                                       KilnError *error);
/// One step for all running requests. Engine thread. @param[out] busy false: nothing is left to do
KILN_API KilnStatus kiln_engine_step(KilnEngine *engine, bool *busy, KilnError *error);
/// How far a request is. Engine thread.
KILN_API KilnStatus kiln_engine_poll(const KilnEngine *engine, int32_t id, KilnProgress *progress,
                                     KilnError *error);
/// Ends a request; it can still be polled. Engine thread.
KILN_API void kiln_engine_cancel(KilnEngine *engine, int32_t id);
/// Forgets a finished request. Engine thread, not from a callback.
KILN_API void kiln_engine_forget(KilnEngine *engine, int32_t id);
/// Submits, steps to the end, and hands the text out. Engine thread.
/// @param out owned: kiln_free(); may be NULL when on_text is enough
KILN_API KilnStatus kiln_generate(KilnEngine *engine, const KilnRequest *request, char **out,
                                  KilnError *error);
/// Logits after each of n tokens: out [n][vocab]. Needs all_logits. Engine thread.
KILN_API KilnStatus kiln_logits(KilnEngine *engine, const int32_t *tokens, int32_t n, float *out,
                                KilnError *error);

typedef struct KilnEngineStats {
    size_t size;
    int64_t steps, prefill_tokens, decode_tokens, decode_steps, preemptions;
    int64_t prefill_us, decode_us;
    int64_t decode_bytes;      ///< weights and cache read by decode steps
    int64_t records, compiles; ///< since the engine was made
    int64_t flow_records, flow_compiles, flow_allocations; ///< of those, while tokens flowed
    int32_t n_running, n_waiting;
    uint64_t kv_used_bytes, kv_total_bytes;
} KilnEngineStats;
KILN_API KilnStatus kiln_engine_stats(const KilnEngine *engine, KilnEngineStats *stats,
                                      KilnError *error);

#ifdef __cplusplus
}
#endif
#endif
