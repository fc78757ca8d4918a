/* dispatch.c - the choice among the implementations of tables.h that this CPU can run. */
#include "tables.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* CPUID leaf 7.1, EAX bit 4, which not every compiler's __builtin_cpu_supports knows. A virtual machine takes long to
 * answer, so the answer is kept; all threads find the same. */
static bool has_avx_vnni(void) {
    enum { UNKNOWN, NO, YES };
    static int known = UNKNOWN;
    int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (answer == UNKNOWN) {
        unsigned a = 0, b = 0, c = 0, d = 0;
        answer = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4) ? YES : NO;
        __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
    }
    return answer == YES;
}

/* __builtin_cpu_supports also checks whether the operating system saves the wide registers. */
llk_cpu llk_this_cpu(void) {
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    return (llk_cpu){
        .avx2 = avx2,
        .avx_vnni = avx2 && has_avx_vnni(),
        .avx512 = avx512,
        .avx512_vnni = avx512 && __builtin_cpu_supports("avx512vnni"),
        .avx512_bf16 = avx512 && __builtin_cpu_supports("avx512bf16"),
    };
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

llk_cpu llk_this_cpu(void) {
    const unsigned long more = getauxval(AT_HWCAP2);
    const bool dot_product = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    return (llk_cpu){
        .neon = true,
        .dot_product = dot_product,
        .i8mm = dot_product && (more & HWCAP2_I8MM) != 0,
        .bf16 = dot_product && (more & HWCAP2_BF16) != 0,
    };
}
#else
llk_cpu llk_this_cpu(void) { return (llk_cpu){0}; }
#endif

llk_isa llk_best_for(llk_cpu cpu) {
    if (cpu.avx512) return LLK_AVX512;
    if (cpu.avx_vnni) return LLK_AVXVNNI;
    if (cpu.avx2) return LLK_AVX2;
    if (cpu.i8mm) return LLK_I8MM;
    return cpu.neon ? LLK_NEON : LLK_PORTABLE;
}

llk_isa llk_best_isa(void) { return llk_best_for(llk_this_cpu()); }

const char *llk_isa_name(llk_isa isa) {
    switch (isa) {
    case LLK_AVX2: return "avx2";
    case LLK_AVXVNNI: return "avxvnni";
    case LLK_AVX512: return "avx512";
    case LLK_NEON: return "neon";
    case LLK_I8MM: return "i8mm";
    default: return "portable";
    }
}

const llk_kernels *llk_get(llk_isa isa) {
    const llk_cpu cpu = llk_this_cpu();
    (void)cpu;
    switch (isa) {
    case LLK_PORTABLE: return &llk_table_portable;
#if defined(__x86_64__)
    case LLK_AVX2: return cpu.avx2 ? &llk_table_avx2 : NULL;
    case LLK_AVXVNNI: return cpu.avx_vnni ? &llk_table_avx2 : NULL;
    case LLK_AVX512: return cpu.avx512 ? &llk_table_avx512 : NULL;
#elif defined(__aarch64__)
    case LLK_NEON: return &llk_table_neon;
    case LLK_I8MM: return cpu.i8mm ? &llk_table_neon : NULL;
#endif
    default: return NULL;
    }
}

#define INTEGER_TABLE_OF(isa, format)                         \
    ((format) == LLK_PACKED_INT8   ? &llk_packed_##isa##_int8 \
     : (format) == LLK_PACKED_INT4 ? &llk_packed_##isa##_int4 \
     : (format) == LLK_PACKED_Q8_0 ? &llk_packed_##isa##_q8_0 \
     : (format) == LLK_PACKED_Q4_0 ? &llk_packed_##isa##_q4_0 \
                                   : NULL)
#define TABLE_OF(isa, format) ((format) == LLK_PACKED_BF16 ? &llk_packed_##isa##_bf16 : INTEGER_TABLE_OF(isa, format))

const llk_packed_kernels *llk_get_packed(llk_isa isa, llk_format format) {
    if (!llk_get(isa)) return NULL;
    const llk_cpu cpu = llk_this_cpu();
    (void)cpu;
    switch (isa) {
    case LLK_PORTABLE: return TABLE_OF(portable, format);
#if defined(__x86_64__)
    case LLK_AVX2: return TABLE_OF(avx2, format);
    case LLK_AVXVNNI: return format == LLK_PACKED_BF16 ? TABLE_OF(avx2, format) : INTEGER_TABLE_OF(avxvnni, format);
    case LLK_AVX512:
        if (format == LLK_PACKED_BF16 ? cpu.avx512_bf16 : cpu.avx512_vnni) return TABLE_OF(avx512, format);
        return TABLE_OF(avx2, format);
#elif defined(__aarch64__)
    case LLK_NEON: return cpu.dot_product ? TABLE_OF(neon, format) : TABLE_OF(portable, format);
    case LLK_I8MM: return format == LLK_PACKED_BF16 && !cpu.bf16 ? TABLE_OF(neon, format) : TABLE_OF(i8mm, format);
#endif
    default: return NULL;
    }
}

const llk_attention_kernels *llk_get_attention(llk_isa isa) {
    if (!llk_get(isa)) return NULL;
    const llk_cpu cpu = llk_this_cpu();
    (void)cpu;
    switch (isa) {
    case LLK_PORTABLE: return &llk_attention_portable;
#if defined(__x86_64__)
    case LLK_AVX2:
    case LLK_AVXVNNI: return &llk_attention_avx2;
    case LLK_AVX512: return cpu.avx512_bf16 ? &llk_attention_avx512 : &llk_attention_avx2;
#elif defined(__aarch64__)
    case LLK_NEON: return cpu.dot_product ? &llk_attention_neon : &llk_attention_portable;
    case LLK_I8MM: return cpu.bf16 ? &llk_attention_i8mm : &llk_attention_neon;
#endif
    default: return NULL;
    }
}

const llk_byte_attention_kernels *llk_get_byte_attention(llk_isa isa) {
    if (!llk_get(isa)) return NULL;
#if defined(__x86_64__)
    if (isa == LLK_AVX512 && llk_this_cpu().avx512_vnni) return &llk_byte_attention_avx512;
#endif
    return &llk_byte_attention_portable;
}
