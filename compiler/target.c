#include <stdio.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "compiler/compile.h"

static const char *const level_names[CPU_LEVEL_COUNT] = {"generic", "avx2",     "avx512",
                                                         "neon",    "neon-dot", "neon-i8mm"};
static const int32_t sms[] = {75, 80, 86, 89, 90};

// Everything that a level's line in cpu/isa.def names: LLVM may use any of it.
CpuLevel target_host_level(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") &&
        __builtin_cpu_supports("avx512bf16"))
        return CPU_AVX512;
    return avx2 ? CPU_AVX2 : CPU_GENERIC;
#elif defined(__aarch64__)
    // Linux, arch/arm64/include/uapi/asm/hwcap.h
    enum { ATOMICS = 1 << 8, ASIMD_DOT = 1 << 20 };
    enum { I8MM = 1 << 13, BF16 = 1 << 14 };
    unsigned long one = getauxval(AT_HWCAP), two = getauxval(AT_HWCAP2);
    if (!(one & ASIMD_DOT) || !(one & ATOMICS)) return CPU_NEON;
    return two & I8MM && two & BF16 ? CPU_NEON_I8MM : CPU_NEON_DOT;
#else
    return CPU_GENERIC;
#endif
}

const char *target_level_name(CpuLevel level)
{
    return level_names[level];
}

bool target_is_arm(CpuLevel level)
{
    return level >= CPU_NEON;
}

/// "sm_80", "sm_90a".
static bool parse_sm(Str s, Target *out)
{
    for (int32_t i = 0; i < COUNT_OF(sms); i++) {
        char name[16];
        snprintf(name, sizeof name, "sm_%d", sms[i]);
        bool a = sms[i] == 90 && str_is(s, "sm_90a");
        if (!str_is(s, name) && !a) continue;
        out->sm = sms[i];
        out->sm_a = a;
        return true;
    }
    return false;
}

KilnStatus target_parse(const char *text, Target *out, Diag *diag)
{
    *out = (Target){.kind = TARGET_CPU, .cpu = target_host_level()};
    Str s = str_of(text);
    if (str_is(s, "cpu")) return KILN_OK;
    if (str_starts(s, "cpu:"))
        for (int32_t i = 0; i < COUNT_OF(level_names); i++)
            if (str_is((Str){s.data + 4, s.len - 4}, level_names[i])) {
                out->cpu = (CpuLevel)i;
                return KILN_OK;
            }
    *out = (Target){.kind = TARGET_INTERP};
    if (str_is(s, "interp")) return KILN_OK;
    bool emu = str_starts(s, "emu:");
    *out = (Target){.kind = emu ? TARGET_EMU : TARGET_SM};
    if (parse_sm(emu ? (Str){s.data + 4, s.len - 4} : s, out)) return KILN_OK;
    return fail_hint(diag, KILN_ERR_INPUT, "K114",
                     "targets: cpu cpu:avx512 cpu:avx2 cpu:generic cpu:neon cpu:neon-dot "
                     "cpu:neon-i8mm sm_75 sm_80 sm_86 sm_89 sm_90 sm_90a emu:sm_80 interp",
                     "unknown target `%s`", text);
}

void target_text(const Target *t, char *out)
{
    switch (t->kind) {
    case TARGET_CPU:
        snprintf(out, 24, "cpu:%s", level_names[t->cpu]);
        break;
    case TARGET_SM:
        snprintf(out, 24, "sm_%d%s", t->sm % 1000, t->sm_a ? "a" : "");
        break;
    case TARGET_EMU:
        snprintf(out, 24, "emu:sm_%d%s", t->sm % 1000, t->sm_a ? "a" : "");
        break;
    case TARGET_INTERP:
        snprintf(out, 24, "interp");
        break;
    }
}

bool target_runs_here(const Target *t)
{
    if (t->kind == TARGET_SM) return false;
    if (t->kind != TARGET_CPU) return true;
    CpuLevel host = target_host_level();
    return target_is_arm(t->cpu) == target_is_arm(host) && t->cpu <= host;
}
