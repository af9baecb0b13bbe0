#include "runtime/gemm.h"

// Below the first row a linear layer is bound by reading its weights, which our gemv and gemm do in one
// pass with the activations in registers; above it arithmetic counts, and a library has years of tuning.
// The break-even of weights against arithmetic on an H200 is at 183 rows in bf16, tile efficiency makes it
// about 128 and a library's good tiles start at 64.
static const GemmRule rules[] = {
    {DTYPE_BF16, 64, 64, 64, "bound by arithmetic from about 128 rows; unmeasured"},
    {DTYPE_F16, 64, 64, 64, "bound by arithmetic from about 128 rows; unmeasured"},
    {DTYPE_F32, 64, 64, 64, "plain f32 arithmetic, no tf32, from about 16 rows; unmeasured"},
};

int32_t gemm_rules(const GemmRule **out)
{
    *out = rules;
    return COUNT_OF(rules);
}

const GemmRule *gemm_rule_for(const GemmShape *s)
{
    for (int32_t i = 0; i < COUNT_OF(rules); i++) {
        const GemmRule *r = &rules[i];
        bool is_type =
            s->x == r->dtype && s->w == r->dtype && (s->y == r->dtype || s->y == DTYPE_F32);
        if (is_type && s->m >= r->min_m && s->n >= r->min_n && s->k >= r->min_k) return r;
    }
    return NULL;
}

const Gemm *device_gemm(Device *dev, const GemmShape *shape)
{
    Gemm *plan = NULL;
    if (!dev->ops->gemm_plan || !gemm_rule_for(shape)) return NULL;
    return dev->ops->gemm_plan(dev, shape, &plan, NULL) == KILN_OK ? plan : NULL;
}
