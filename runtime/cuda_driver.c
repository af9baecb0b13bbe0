// runtime/cuda_driver.c - finds the driver's functions, and says why CUDA is off where it is.
//
//   libcuda.so.1 ? --no--> "was not found (no NVIDIA driver on this machine)"
//   its version  ? --old-> "driver 11.4 is too old (expected 12.0 or newer)"
//   its functions? --no--> "has no cuLinkCreate_v2 ..."
//   cuInit       ? --100-> "no NVIDIA GPU is there" ...
#include <dlfcn.h>
#include <stdio.h>

#include "runtime/cuda.h"

typedef enum Need { MUST, MAY } Need;

typedef struct Row {
    Need need;
    int32_t since;
    const char *name;
    size_t offset; ///< of the pointer in CudaLib or LtLib
} Row;

static const Row cuda_rows[] = {
#define CUDA(need, since, name, params) {need, since, #name, offsetof(CudaLib, name)},
#define LT(need, since, name, params)
#include "runtime/cuda.def"
#undef CUDA
#undef LT
};

static const Row lt_rows[] = {
#define CUDA(need, since, name, params)
#define LT(need, since, name, params) {need, since, #name, offsetof(LtLib, name)},
#include "runtime/cuda.def"
#undef CUDA
#undef LT
};

/// Fills in the pointers. @return the first MUST that is missing, or NULL
static const char *resolve(void *handle, int32_t n, const Row *rows, void *lib)
{
    const char *missing = NULL;
    for (int32_t i = 0; i < n; i++) {
        void *fn = dlsym(handle, rows[i].name);
        memcpy((char *)lib + rows[i].offset, &fn, sizeof fn);
        if (!fn && rows[i].need == MUST && !missing) missing = rows[i].name;
    }
    return missing;
}

static const struct {
    CUresult error;
    const char *what, *hint;
} init_errors[] = {
    {100, "no NVIDIA GPU is there that CUDA can use",
     "in a container: is the GPU passed in? else: nvidia-smi, and CUDA_VISIBLE_DEVICES"},
    {101, "CUDA_VISIBLE_DEVICES names a GPU that is not there", "unset CUDA_VISIBLE_DEVICES"},
    {802, "the system is not ready yet", "the fabric manager of a machine with NVSwitch must run"},
    {803, "the driver's library and its kernel module differ in version",
     "restart the machine after the driver was updated"},
    {804, "the compatibility package of CUDA does not support this GPU", "remove it"},
    {999, "unknown error",
     "usually the kernel module is not loaded: nvidia-modprobe, or a restart after an update"},
};

static KilnStatus init_failed(const CudaLib *lib, CUresult e, Diag *diag)
{
    for (int32_t i = 0; i < COUNT_OF(init_errors); i++)
        if (init_errors[i].error == e)
            return fail_hint(diag, KILN_ERR_DEVICE, "K302", init_errors[i].hint,
                             "CUDA is off: cuInit failed with error %d: %s", e,
                             init_errors[i].what);
    char text[160];
    cuda_error_text(lib, e, text, sizeof text);
    return fail(diag, KILN_ERR_DEVICE, "K302", "CUDA is off: cuInit failed: %s", text);
}

KilnStatus cuda_lib_open(const char *name, CudaLib *out, Diag *diag)
{
    *out = (CudaLib){.name = name && *name ? name : "libcuda.so.1"};
    void *handle = dlopen(out->name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        const char *why = dlerror();
        bool is_missing = !why || strstr(why, "No such file");
        return fail_hint(diag, KILN_ERR_DEVICE, "K302",
                         "leave --device out to use the CPU, or try --device emu:sm_90a",
                         "CUDA is off: %s %s", is_missing ? out->name : why,
                         is_missing ? "was not found (no NVIDIA driver on this machine)"
                                    : "(the driver's library cannot be opened)");
    }
    const char *missing = resolve(handle, COUNT_OF(cuda_rows), cuda_rows, out);
    int version = 0;
    if (!out->cuDriverGetVersion || out->cuDriverGetVersion(&version) != 0)
        return fail(diag, KILN_ERR_DEVICE, "K302",
                    "CUDA is off: %s does not tell its version (is it a CUDA driver?)", out->name);
    out->driver = version;
    if (version < CUDA_MIN_DRIVER)
        return fail_hint(diag, KILN_ERR_DEVICE, "K302", "install a newer NVIDIA driver (525 or up)",
                         "CUDA is off: the driver is too old: found CUDA %d.%d, expected %d.%d or "
                         "newer",
                         version / 1000, version % 1000 / 10, CUDA_MIN_DRIVER / 1000,
                         CUDA_MIN_DRIVER % 1000 / 10);
    if (missing)
        return fail(diag, KILN_ERR_DEVICE, "K302", "CUDA is off: %s has no %s", out->name, missing);
    out->has_pools = out->cuMemAllocAsync && out->cuMemFreeAsync;
    out->has_graphs = out->cuStreamBeginCapture_v2 && out->cuStreamEndCapture &&
                      out->cuGraphInstantiateWithFlags && out->cuGraphUpload &&
                      out->cuGraphLaunch && out->cuGraphDestroy && out->cuGraphExecDestroy;
    CUresult e = out->cuInit(0);
    return e ? init_failed(out, e, diag) : KILN_OK;
}

bool lt_lib_open(const char *name, LtLib *out)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    *out = (LtLib){0};
    if (name && !*name) return false;
    void *handle = name ? dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) : NULL;
    for (int32_t i = 0; !name && !handle && i < COUNT_OF(names); i++)
        handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle || resolve(handle, COUNT_OF(lt_rows), lt_rows, out)) return false;
    void *version = dlsym(handle, "cublasLtGetVersion");
    if (!version) return false;
    memcpy(&out->cublasLtGetVersion, &version, sizeof version);
    out->version = out->cublasLtGetVersion();
    return true;
}

void cuda_error_text(const CudaLib *lib, CUresult e, char *out, size_t size)
{
    const char *name = NULL, *text = NULL;
    if (lib->cuGetErrorName(e, &name) != 0 || !name) name = "an error without a name";
    if (lib->cuGetErrorString(e, &text) != 0 || !text) text = "no description";
    snprintf(out, size, "%s (%s, %d)", text, name, e);
}

bool cuda_error_is_final(CUresult e)
{
    static const struct {
        CUresult first, last;
    } ranges[] = {
        {214, 214}, // an uncorrectable memory error
        {700, 700}, // an illegal address
        {702, 702}, // a launch that ran too long
        {709, 710}, // the context is gone; a device assertion
        {714,
         719}, // hardware stack, illegal instruction, misaligned, address space, program counter, failed
    };
    for (int32_t i = 0; i < COUNT_OF(ranges); i++)
        if (e >= ranges[i].first && e <= ranges[i].last) return true;
    return false;
}

/// The newest target that code for this GPU can be made of: 90a is for 9.0 alone.
static Target target_of(int32_t major, int32_t minor)
{
    static const int32_t sms[] = {90, 89, 86, 80, 75};
    Target t = {.kind = TARGET_SM, .sm = 75};
    for (int32_t i = COUNT_OF(sms) - 1; i >= 0; i--)
        if (sms[i] <= major * 10 + minor) t.sm = sms[i];
    t.sm_a = major == 9 && minor == 0;
    return t;
}

KilnStatus cuda_card(const CudaLib *lib, int32_t ordinal, CudaCard *out, Diag *diag)
{
    CUdevice dev = 0;
    *out = (CudaCard){0};
    CUresult e = lib->cuDeviceGet(&dev, ordinal);
    if (!e) e = lib->cuDeviceGetName(out->model, (int)sizeof out->model, dev);
    if (!e) e = lib->cuDeviceTotalMem_v2(&out->memory_total, dev);
    if (!e) e = lib->cuDeviceGetAttribute(&out->major, CU_ATTRIBUTE_MAJOR, dev);
    if (!e) e = lib->cuDeviceGetAttribute(&out->minor, CU_ATTRIBUTE_MINOR, dev);
    if (!e) e = lib->cuDeviceGetAttribute(&out->n_sms, CU_ATTRIBUTE_SMS, dev);
    if (e) {
        char text[160];
        cuda_error_text(lib, e, text, sizeof text);
        return fail(diag, KILN_ERR_DEVICE, "K302", "cuda:%d cannot be described: %s", ordinal,
                    text);
    }
    out->model[sizeof out->model - 1] = 0;
    out->target = target_of(out->major, out->minor);
    out->is_old = out->major * 10 + out->minor < 75;
    return KILN_OK;
}

KilnStatus device_cuda_list(const char *name, CudaList *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    CudaLib lib;
    int n = 0;
    *out = (CudaList){0};
    TRY(cuda_lib_open(name, &lib, diag));
    out->driver = lib.driver;
    CUresult e = lib.cuDeviceGetCount(&n);
    if (e || n < 1) TRY(init_failed(&lib, e ? e : CU_ERROR_NO_DEVICE, diag));
    for (int32_t i = 0; i < MIN(n, COUNT_OF(out->cards)); i++) {
        TRY(cuda_card(&lib, i, &out->cards[i], diag));
        out->n = i + 1;
    }
done:
    return st;
}
