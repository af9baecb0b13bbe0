// tests/far/far.h - kernels for AArch64, run from a test on another machine by qemu-aarch64.
//
//   the test                                    qemu-aarch64 -cpu ... far_runner
//     far_image_load(code)   -- object file -->   our loader: sections, relocations, entry
//     image_run(image, ...)  -- memory ------->   guard | buffers | guard, entry(...)
//                            <-- memory -------
//
// One runner per level and process, on a processor that has what the level names and little more, so that an
// instruction of a higher level is an illegal one. The runner is the loader and the heap of this source tree,
// compiled for AArch64: loading is tested with it.
#ifndef TESTS_FAR_FAR_H
#define TESTS_FAR_FAR_H
#include "compiler/backend.h"

/// Can kernels of `level` run in an emulator here? AArch64 levels, with qemu-aarch64 and a cross compiler.
bool far_can_run(CpuLevel level);
/// Fails the test under CI=true, and skips it elsewhere, where far_can_run() says no for all.
void far_needed(void);
/// The level that the emulated processor for `level` has, as target_host_level() says there.
MUST_USE KilnStatus far_host_level(CpuLevel level, CpuLevel *out, Diag *diag);
/// Loads an object there. Sets out->ops, out->self; there is no entry, only image_run().
/// Ranges that image_run() is given are the memory the kernel sees; without ranges, each pointer argument brings
/// the whole mapping of this process that it points into. `code` is borrowed until the image is freed.
MUST_USE KilnStatus far_image_load(const Code *code, Image *out, Diag *diag);
#endif
