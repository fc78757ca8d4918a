/* dispatch.c - the choice among the implementations of tables.h that this CPU can run. */
#include "tables.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

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
/* __builtin_cpu_supports also checks whether the operating system saves the wide registers. */
static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

static bool has_avx512_for(llk_format format) {
    return format == LLK_PACKED_BF16 ? __builtin_cpu_supports("avx512bf16") : __builtin_cpu_supports("avx512vnni");
}
#elif defined(__aarch64__)
static bool has_dotprod(void) { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }
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

#define TABLE_OF(isa, format)                                 \
    ((format) == LLK_PACKED_BF16   ? &llk_packed_##isa##_bf16 \
     : (format) == LLK_PACKED_INT8 ? &llk_packed_##isa##_int8 \
     : (format) == LLK_PACKED_INT4 ? &llk_packed_##isa##_int4 \
     : (format) == LLK_PACKED_Q8_0 ? &llk_packed_##isa##_q8_0 \
     : (format) == LLK_PACKED_Q4_0 ? &llk_packed_##isa##_q4_0 \
                                   : NULL)

const llk_packed_kernels *llk_get_packed(llk_isa isa, llk_format format) {
    if (!llk_get(isa)) return NULL;
    switch (isa) {
    case LLK_PORTABLE: return TABLE_OF(portable, format);
#if defined(__x86_64__)
    case LLK_AVX2: return TABLE_OF(avx2, format);
    case LLK_AVX512: return has_avx512_for(format) ? TABLE_OF(avx512, format) : TABLE_OF(avx2, format);
#elif defined(__aarch64__)
    case LLK_NEON: return has_dotprod() ? TABLE_OF(neon, format) : TABLE_OF(portable, format);
#endif
    default: return NULL;
    }
}

const llk_attention_kernels *llk_get_attention(llk_isa isa) {
    if (!llk_get(isa)) return NULL;
    switch (isa) {
    case LLK_PORTABLE: return &llk_attention_portable;
#if defined(__x86_64__)
    case LLK_AVX2: return &llk_attention_avx2;
    case LLK_AVX512: return has_avx512_for(LLK_PACKED_BF16) ? &llk_attention_avx512 : &llk_attention_avx2;
#elif defined(__aarch64__)
    case LLK_NEON: return has_dotprod() ? &llk_attention_neon : &llk_attention_portable;
#endif
    default: return NULL;
    }
}

const llk_byte_attention_kernels *llk_get_byte_attention(llk_isa isa) {
    if (!llk_get(isa)) return NULL;
#if defined(__x86_64__)
    if (isa == LLK_AVX512 && has_avx512_for(LLK_PACKED_INT8)) return &llk_byte_attention_avx512;
#endif
    return &llk_byte_attention_portable;
}
