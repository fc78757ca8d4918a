/* packed.c - sizes of packed matrices, and which kernels this CPU can run on them and on keys and values in bf16. */
#include "attention.h"
#include "blocks.h"

size_t llk_packed_size(llk_format format, size_t outputs, size_t inputs) {
    const size_t tiles = outputs / TILE + (outputs % TILE != 0);
    return tiles * blocks_of(inputs) * block_size(format);
}

size_t llk_row_size(llk_format format, size_t inputs) { return blocks_of(inputs) * row_block_size(format); }

#define EXTERN_TABLES(isa)                                                                       \
    extern LLK_HIDDEN const llk_packed_kernels llk_packed_##isa##_bf16, llk_packed_##isa##_int8, \
        llk_packed_##isa##_int4;                                                                 \
    extern LLK_HIDDEN const llk_attention_kernels llk_attention_##isa;

#define TABLE_OF(isa, format)                                 \
    ((format) == LLK_PACKED_BF16   ? &llk_packed_##isa##_bf16 \
     : (format) == LLK_PACKED_INT8 ? &llk_packed_##isa##_int8 \
     : (format) == LLK_PACKED_INT4 ? &llk_packed_##isa##_int4 \
                                   : NULL)

EXTERN_TABLES(portable)
#if defined(__x86_64__)
EXTERN_TABLES(avx2)
EXTERN_TABLES(avx512)

static bool has_avx512_for(llk_format format) {
    return format == LLK_PACKED_BF16 ? __builtin_cpu_supports("avx512bf16") : __builtin_cpu_supports("avx512vnni");
}
#elif defined(__aarch64__)
EXTERN_TABLES(neon)

#include <sys/auxv.h>

static bool has_dotprod(void) { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }
#endif

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
