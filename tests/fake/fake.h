// tests/fake/fake.h - a CUDA driver and cuBLASLt that run on the host, write every call down, and object.
//
//   kiln --dlopen--> libcuda.so.1 (this)      a test links the same library and asks it:
//                       |                         fake_log()      every call with its arguments, in order
//                       | records, checks         fake_errors()   what no caller may do, one line each
//                       v                         fake_fail()     the 3rd cuMemAllocAsync returns 2
//                    host memory, queues          fake_hook()     who runs the kernels
//
// Streams are queues that run when somebody waits, so that a buffer reused too early gives wrong numbers
// here as it would there. Freed memory is never given out again. Kernels do nothing unless a hook runs
// them. What is objected to: calls before cuInit or without the right context, destroyed handles, freed
// memory in copies and kernel arguments, argument buffers of the wrong size, more shared memory than was
// asked for, calls that a capture forbids, captures left open, and whatever is alive when the last
// context goes. A scripted fault that kills a context answers every later call with the same error.
//
// From outside (a shell test) the same is done by the environment:
//   FAKE_CUDA="driver=11040 devices=2 fail=cuMemAllocAsync:3:2 fail=run/kiln_sample:1:700"
//   FAKE_CUDA_LOG=FILE   the log, then the objections, written when the process ends
#ifndef TESTS_FAKE_FAKE_H
#define TESTS_FAKE_FAKE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Forgets everything: objects, log, scripts, settings.
void fake_reset(void);
/// driver 12040, devices 1, major 8, minor 0, memory (bytes), pools 1, clusters 0, ptx (newest version, times
/// ten; 0: as the driver's version says).
void fake_set(const char *name, int64_t value);
/// From now on the nth call of `call` returns `error`; "run/ENTRY": the nth time that kernel runs, it fails.
void fake_fail(const char *call, int32_t nth, int32_t error);
/// One line per call: "cuMemcpyHtoDAsync_v2 dst=d3+64 bytes=128 stream=s1".
const char *fake_log(void);
/// Forgets the log and the counts, nothing else.
void fake_clear_log(void);
/// How often a function was called since the log was cleared.
int32_t fake_count(const char *call);
/// Objections, one line each; "" for none.
const char *fake_errors(void);
/// Objects that are alive: memory, modules, graphs, streams, events.
int32_t fake_live(void);

typedef struct FakeLaunch {
    const char *entry, *ptx; ///< the text of its module
    unsigned grid[3], block[3], shared_bytes;
    const void *args;
    size_t args_bytes;
} FakeLaunch;

/// Runs a kernel on host memory. @return 0 or an error of the driver
typedef int (*FakeKernel)(void *user, const FakeLaunch *launch);
void fake_hook(FakeKernel run, void *user);

// -- for the libraries beside the driver ---------------------------------------------------------

/// Writes a line into the log and counts `call`. @return the scripted error of this call, or 0
int fake_enter(const char *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/// Queues a function on a stream, or adds it to the capture that the stream is in.
int fake_enqueue(void *stream, const char *call, void (*run)(const void *payload),
                 const void *payload, size_t size);
/// Objects to use of memory that is not there. @return is it all right?
bool fake_check_memory(const char *call, const void *at, size_t bytes);
/// Adds an objection.
void fake_object(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/// Counts objects of another library that are alive.
void fake_track(const char *kind, int change);
#endif
