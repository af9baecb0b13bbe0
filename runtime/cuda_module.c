// runtime/cuda_module.c - PTX to machine code by the driver, machine code to kernels, kernels to launches.
//
//   PTX --cuLinkAddData, cuLinkComplete--> machine code --cuModuleLoadDataEx--> CUfunction
//         the driver's log in the message       | kept on disk by kernel.c
//
// Where the linker refuses PTX, the loader has the last word (and its own log): then PTX itself is kept.
//
// A launch hands its argument block over as it is: launch.c lays it out as the driver wants it.
#include <stdio.h>
#include <stdlib.h>

#include "runtime/cuda.h"
#include "runtime/launch.h"

enum { LOG_BYTES = 4096 };

/// A loaded kernel: Kernel.handle.
typedef struct CudaFunction {
    CUmodule module;
    CUfunction fn;
    size_t args_bytes; ///< exactly, without padding behind the last
} CudaFunction;

/// The version in ".version 8.0", times ten: 80; 0 when there is none.
static int32_t ptx_version(const Code *code)
{
    static const char word[] = ".version ";
    const char *at = code->bytes ? strstr((const char *)code->bytes, word) : NULL;
    if (!at) return 0;
    char *dot;
    long major = strtol(at + sizeof word - 1, &dot, 10);
    long minor = *dot == '.' ? strtol(dot + 1, NULL, 10) : -1;
    return major > 0 && major < 100 && minor >= 0 && minor < 10 ? (int32_t)(major * 10 + minor) : 0;
}

/// The driver that brought a version of PTX: 8.0 came with 12.0, 7.8 with 11.8, 9.0 with 13.0.
static int32_t driver_for(int32_t ptx)
{
    return ptx / 10 >= 7 ? (ptx / 10 + 4) * 1000 + ptx % 10 * 10 : CUDA_MIN_DRIVER;
}

/// Why the driver took no PTX. `log` is its own text.
static KilnStatus not_assembled(Device *dev, const Code *code, CUresult e, const char *log,
                                Diag *diag)
{
    const Cuda *c = dev->self;
    char text[160];
    if (cuda_error_is_final(e)) {
        (void)cuda_ok(dev, e, "cuLinkComplete");
        return device_check(dev, diag);
    }
    if (e == CU_ERROR_NEW_PTX) {
        int32_t ptx = ptx_version(code), want = driver_for(ptx);
        return fail_hint(diag, KILN_ERR_DEVICE, "K305",
                         "install a newer NVIDIA driver; the CPU and emu:sm_80 need none",
                         "%s: %s: the driver is too old for this PTX: version %d.%d needs CUDA "
                         "%d.%d, found %d.%d (error %d)",
                         dev->facts.name, code->entry, ptx / 10, ptx % 10, want / 1000,
                         want % 1000 / 10, c->lib.driver / 1000, c->lib.driver % 1000 / 10, e);
    }
    cuda_error_text(&c->lib, e, text, sizeof text);
    const char *hint = e == CU_ERROR_NO_JIT
                           ? "libnvidia-ptxjitcompiler is part of the driver: install it whole"
                       : e == CU_ERROR_NO_MEMORY ? "free some memory of the GPU"
                                                 : "report it with the kernel";
    return fail_hint(diag, e == CU_ERROR_NO_MEMORY ? KILN_ERR_NOMEM : KILN_ERR_DEVICE,
                     e == CU_ERROR_NO_MEMORY ? "K301" : "K303", hint,
                     "%s: %s cannot be assembled: %s%s%s", dev->facts.name, code->entry, text,
                     *log ? "\n" : "", log);
}

/// Cuts the line breaks at the end of a log off.
static void trim(char *log)
{
    log[LOG_BYTES - 1] = 0;
    for (size_t n = strlen(log); n && strchr(" \n\r\t", log[n - 1]); n--)
        log[n - 1] = 0;
}

KilnStatus cuda_assemble(Device *dev, const Code *code, StrBuf *out, Diag *diag)
{
    Cuda *c = dev->self;
    CUlinkState link = NULL;
    char errors[LOG_BYTES] = "", info[LOG_BYTES] = "";
    void *image = NULL;
    size_t size = 0;
    int options[] = {CU_JIT_ERROR_LOG, CU_JIT_ERROR_LOG_BYTES, CU_JIT_INFO_LOG,
                     CU_JIT_INFO_LOG_BYTES, CU_JIT_LOG_VERBOSE};
    void *values[] = {errors, (void *)(uintptr_t)(LOG_BYTES - 1), info,
                      (void *)(uintptr_t)(LOG_BYTES - 1), (void *)(uintptr_t)1};
    if (dev->fault != KILN_OK || !cuda_enter(dev)) return device_check(dev, diag);
    CUresult e = c->lib.cuLinkCreate_v2(COUNT_OF(options), options, values, &link);
    if (!e) // with its NUL
        e = c->lib.cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, code->bytes, code->size + 1,
                                    code->entry, 0, NULL, NULL);
    if (!e) e = c->lib.cuLinkComplete(link, &image, &size);
    if (!e) strbuf_add(out, image, size); // the link owns it
    if (link) (void)c->lib.cuLinkDestroy(link);
    cuda_leave(dev);
    trim(errors);
    trim(info);
    bool is_ours = e == CU_ERROR_NEW_PTX || e == CU_ERROR_NO_JIT || e == CU_ERROR_NO_MEMORY;
    if (e && (is_ours || cuda_error_is_final(e))) return not_assembled(dev, code, e, errors, diag);
    if (e) {
        log_info(dev->log, "cuda", "%s is not linked but loaded as PTX: error %d %s", code->entry,
                 e, errors);
        strbuf_add(out, (const char *)code->bytes, code->size);
    }
    if (*info) log_debug(dev->log, "cuda", "%s", info);
    return KILN_OK;
}

/// Bytes of the parameters as the code declares them.
static size_t exact_args_bytes(const Code *code)
{
    size_t n = 0;
    for (int32_t i = 0; i < code->n_params; i++)
        n = MAX(n, (size_t)(code->params[i].offset + code->params[i].bytes));
    return n;
}

/// Finds the entry and lets it have its shared memory. The context is current.
static CUresult find_function(const Cuda *c, const Code *code, CudaFunction *f)
{
    enum { SHARED_WITHOUT_ASKING = 48 << 10 };
    CUresult e = c->lib.cuModuleGetFunction(&f->fn, f->module, code->entry);
    if (!e && code->shared_bytes > SHARED_WITHOUT_ASKING)
        e = c->lib.cuFuncSetAttribute(f->fn, CU_FUNCTION_DYNAMIC_SHARED, code->shared_bytes);
    return e;
}

KilnStatus cuda_load(Device *dev, const Code *code, void **handle, Diag *diag)
{
    Cuda *c = dev->self;
    char errors[LOG_BYTES] = "";
    int options[] = {CU_JIT_ERROR_LOG, CU_JIT_ERROR_LOG_BYTES};
    void *values[] = {errors, (void *)(uintptr_t)(LOG_BYTES - 1)};
    *handle = NULL;
    CudaFunction *f = heap_new(dev->heap, CudaFunction);
    if (!f) return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for the kernel", code->entry);
    f->args_bytes = exact_args_bytes(code);
    if (dev->fault != KILN_OK || !cuda_enter(dev)) {
        heap_free(dev->heap, f);
        return device_check(dev, diag);
    }
    CUresult e =
        c->lib.cuModuleLoadDataEx(&f->module, code->bytes, COUNT_OF(options), options, values);
    if (e) f->module = NULL;
    if (!e) e = find_function(c, code, f);
    if (e && f->module) (void)c->lib.cuModuleUnload(f->module);
    cuda_leave(dev);
    if (e) {
        heap_free(dev->heap, f);
        trim(errors);
        return not_assembled(dev, code, e, errors, diag);
    }
    *handle = f;
    return KILN_OK;
}

void cuda_unload(Device *dev, void *handle)
{
    Cuda *c = dev->self;
    CudaFunction *f = handle;
    c->last_kernel = NULL; // its name goes with it
    if (cuda_enter(dev)) {
        (void)cuda_ok(dev, c->lib.cuModuleUnload(f->module), "cuModuleUnload");
        cuda_leave(dev);
    }
    heap_free(dev->heap, f);
}

/// Attributes of a launch. @return how many
static unsigned attributes_of(const Cuda *c, const Launch *l, CUlaunchAttribute out[2])
{
    unsigned n = 0;
    if (l->cluster > 1 && c->has_clusters)
        out[n++] = (CUlaunchAttribute){.id = CU_LAUNCH_CLUSTER,
                                       .value.cluster = {(unsigned)l->cluster, 1, 1}};
    if (l->overlaps && c->has_clusters) // both came with 9.0
        out[n++] = (CUlaunchAttribute){.id = CU_LAUNCH_OVERLAP, .value.overlap = 1};
    return n;
}

void cuda_launch(Device *dev, const Launch *l)
{
    Cuda *c = dev->self;
    const Code *code = &l->kernel->code;
    const CudaFunction *f = l->kernel->handle;
    size_t args_bytes = f->args_bytes;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER, (void *)(uintptr_t)l->args, CU_LAUNCH_PARAM_SIZE,
                     &args_bytes, NULL};
    CUlaunchAttribute attributes[2];
    CUlaunchConfig config = {.grid_x = (unsigned)l->grid.x,
                             .grid_y = (unsigned)l->grid.y,
                             .grid_z = (unsigned)l->grid.z,
                             .block_x = 32 * (unsigned)code->num_warps,
                             .block_y = 1,
                             .block_z = 1,
                             .shared_bytes = (unsigned)code->shared_bytes,
                             .stream = c->stream,
                             .attributes = attributes,
                             .n_attributes = attributes_of(c, l, attributes)};
    cuda_note(c, code->entry, NULL, 1);
    CUresult e = c->lib.cuLaunchKernelEx
                     ? c->lib.cuLaunchKernelEx(&config, f->fn, NULL, extra)
                     : c->lib.cuLaunchKernel(f->fn, config.grid_x, config.grid_y, config.grid_z,
                                             config.block_x, 1, 1, config.shared_bytes, c->stream,
                                             NULL, extra);
    if (!e) return;
    char call[96];
    snprintf(call, sizeof call, "the launch of %s", code->entry);
    (void)cuda_ok(dev, e, call);
}
