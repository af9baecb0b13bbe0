// bench/gpu_suite/streaming.c - row kernels in bf16 against the ceilings of the same run.
//
//   8192 rows x {2048, 4096, 8192}   memory-bound: bytes in + bytes out over the time, cold caches
//   1 row                            what a launch of each costs when a token is decoded
#include "bench/gpu_suite/suite.h"

typedef struct Shape {
    int32_t rows, width;
} Shape;

static const Shape shapes[] = {{8192, 2048}, {8192, 4096}, {8192, 8192}, {1, 4096}};
static const Shape quick_shapes[] = {{4, 256}};

typedef struct RowKernel {
    const char *name, *file, *func;
    double arrays; ///< of rows x width that cross the memory
    KilnStatus (*arguments)(Suite *s, Call *c, Shape shape);
} RowKernel;

static int32_t warps_of(int32_t width)
{
    return width >= 8192 ? 16 : width >= 4096 ? 8 : 4;
}

static KilnStatus array(Suite *s, Call *c, const char *name, int64_t n)
{
    void *at;
    KilnStatus st = suite_numbers(s, DTYPE_BF16, n, 1, &at);
    if (st == KILN_OK) call_ptr(c, name, DTYPE_BF16, at);
    return st;
}

static KilnStatus count(Suite *s, Call *c, const char *name, int32_t value)
{
    void *at;
    KilnStatus st = suite_one(s, value, &at);
    if (st == KILN_OK) call_ptr(c, name, DTYPE_I32, at);
    return st;
}

static KilnStatus rmsnorm_arguments(Suite *s, Call *c, Shape shape)
{
    KilnStatus st = KILN_OK;
    int64_t n = (int64_t)shape.rows * shape.width;
    TRY(array(s, c, "y", n));
    TRY(array(s, c, "x", n));
    TRY(array(s, c, "r", n));
    TRY(array(s, c, "g", shape.width));
    TRY(count(s, c, "rows", shape.rows));
    call_ptr(c, "ends", DTYPE_I32, NULL);
    call_int(c, "n", shape.width);
    call_float(c, "eps", 1e-5);
    call_int(c, "sy", shape.width), call_int(c, "sx", shape.width), call_int(c, "sr", shape.width);
    call_const(c, "BLOCK", next_pow2(shape.width));
done:
    return st;
}

static KilnStatus silu_arguments(Suite *s, Call *c, Shape shape)
{
    KilnStatus st = KILN_OK;
    int64_t n = (int64_t)shape.rows * shape.width;
    int32_t block = (int32_t)MIN(next_pow2(shape.width), 4096);
    TRY(array(s, c, "y", n));
    TRY(array(s, c, "gate", n));
    TRY(array(s, c, "up", n));
    TRY(count(s, c, "rows", shape.rows));
    call_int(c, "n", shape.width);
    call_int(c, "sy", shape.width), call_int(c, "sg", shape.width), call_int(c, "su", shape.width);
    call_const(c, "BLOCK", block);
    c->grid.y = (int32_t)div_up(shape.width, block);
done:
    return st;
}

static KilnStatus softmax_arguments(Suite *s, Call *c, Shape shape)
{
    KilnStatus st = KILN_OK;
    int64_t n = (int64_t)shape.rows * shape.width;
    void *cols;
    TRY(array(s, c, "y", n));
    TRY(array(s, c, "x", n));
    TRY(suite_iota(s, shape.rows, shape.width, 0, &cols));
    call_ptr(c, "cols", DTYPE_I32, cols);
    TRY(count(s, c, "rows", shape.rows));
    call_int(c, "sy", shape.width), call_int(c, "sx", shape.width);
    call_const(c, "BLOCK", next_pow2(shape.width));
done:
    return st;
}

static const RowKernel kernels[] = {
    {"rmsnorm+residual", "rmsnorm.py", "rmsnorm", 4, rmsnorm_arguments},
    {"silu*mul", "silu_mul.py", "silu_mul", 3, silu_arguments},
    {"softmax", "softmax.py", "softmax", 2, softmax_arguments},
};

static KilnStatus measure(Suite *s, const RowKernel *rk, Shape shape)
{
    KilnStatus st = KILN_OK;
    int32_t mark = suite_mark(s), n_sets, n = 0;
    double bytes = rk->arrays * shape.rows * (double)shape.width * 2;
    static Call calls[CALL_MAX_SETS];
    Call *sets[CALL_MAX_SETS];
    char text[64];
    Kernel *k = NULL;
    Times t;
    n_sets = shape.rows == 1 ? 1 : suite_sets(s, bytes);
    for (; n < n_sets; n++) {
        calls[n] = call_of(rk->file, rk->func, grid_of(shape.rows, 1, 1));
        calls[n].warps = warps_of(shape.width);
        sets[n] = &calls[n];
        TRY(rk->arguments(s, &calls[n], shape));
    }
    TRY(suite_time(s, n_sets, sets, &t));
    TRY(call_kernel(s, sets[0], &k));
    snprintf(text, sizeof text, "{\"rows\":%d,\"n\":%d}", shape.rows, shape.width);
    Record r = {.stage = "streaming",
                .kernel = rk->name,
                .impl = "kiln",
                .dtype = "bf16",
                .shape = text,
                .k = k,
                .bytes = bytes,
                .sets = n_sets};
    suite_record(s, &r, &t);
done:
    for (int32_t i = 0; i < MIN(n + 1, n_sets); i++)
        call_free(&calls[i]);
    suite_release(s, mark);
    return st;
}

KilnStatus stage_streaming(Suite *s)
{
    const Shape *list = s->quick ? quick_shapes : shapes;
    int32_t n = s->quick ? COUNT_OF(quick_shapes) : COUNT_OF(shapes);
    for (int32_t k = 0; k < COUNT_OF(kernels); k++)
        for (int32_t i = 0; i < n && !suite_is_late(s) && !s->dev->is_lost; i++)
            if (measure(s, &kernels[k], list[i]) != KILN_OK)
                suite_miss(s, "streaming", kernels[k].name);
    return KILN_OK;
}
