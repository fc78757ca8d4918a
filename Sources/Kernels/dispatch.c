/* dispatch.c - which implementation this CPU can run. */
#include "internal.h"

llk_isa llk_best_isa(void) {
    if (llk_get(LLK_AVX512)) return LLK_AVX512;
    if (llk_get(LLK_AVX2)) return LLK_AVX2;
    if (llk_get(LLK_NEON)) return LLK_NEON;
    return LLK_PORTABLE;
}

const char *llk_isa_name(llk_isa isa) {
    switch (isa) {
    case LLK_AVX2: return "avx2";
    case LLK_AVX512: return "avx512";
    case LLK_NEON: return "neon";
    default: return "portable";
    }
}

#if defined(__x86_64__)
/* __builtin_cpu_supports also asks whether the operating system saves the wide registers. */
static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

const llk_kernels *llk_get(llk_isa isa) {
    switch (isa) {
    case LLK_PORTABLE: return &llk_table_portable;
#if defined(__x86_64__)
    case LLK_AVX2: return has_avx2() ? &llk_table_avx2 : NULL;
    case LLK_AVX512: return has_avx512() ? &llk_table_avx512 : NULL;
#elif defined(__aarch64__)
    case LLK_NEON: return &llk_table_neon;
#endif
    default: return NULL;
    }
}
