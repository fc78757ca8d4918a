/* tables.h - the kernels of each instruction set, as function pointers. dispatch.c chooses among them. */
#ifndef LLADA_KERNELS_TABLES_H
#define LLADA_KERNELS_TABLES_H

#include "attention.h"
#include "byte_attention.h"
#include "kernels.h"
#include "packed.h"

#define LLK_HIDDEN __attribute__((visibility("hidden")))

#define DECLARE_INTEGER_TABLES(isa)                                                              \
    extern LLK_HIDDEN const llk_packed_kernels llk_packed_##isa##_int8, llk_packed_##isa##_int4, \
        llk_packed_##isa##_q8_0, llk_packed_##isa##_q4_0;

#define DECLARE_PACKED_TABLES(isa)                                      \
    extern LLK_HIDDEN const llk_packed_kernels llk_packed_##isa##_bf16; \
    DECLARE_INTEGER_TABLES(isa)                                         \
    extern LLK_HIDDEN const llk_attention_kernels llk_attention_##isa;

#define DECLARE_TABLES(isa)                              \
    extern LLK_HIDDEN const llk_kernels llk_table_##isa; \
    DECLARE_PACKED_TABLES(isa)

DECLARE_TABLES(portable)
extern LLK_HIDDEN const llk_byte_attention_kernels llk_byte_attention_portable, llk_byte_attention_avx512;
#if defined(__x86_64__)
DECLARE_TABLES(avx2)
DECLARE_INTEGER_TABLES(avxvnni)
DECLARE_TABLES(avx512)
#elif defined(__aarch64__)
DECLARE_TABLES(neon)
DECLARE_PACKED_TABLES(i8mm)
#endif

#endif
