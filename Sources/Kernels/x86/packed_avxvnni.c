/* packed_avxvnni.c - weights of integers by the VPDPBUSD of CPUs that have it on the registers of AVX2. */
#if defined(__x86_64__)
#ifndef TARGET /* a test includes this file for the same instruction as AVX-512 has it */
#define TARGET __attribute__((target("avx2,fma,f16c,avxvnni")))
#define DOT _mm256_dpbusd_avx_epi32
#define TABLE(format) llk_packed_avxvnni_##format
#endif
#include "vector_avx2.h"

#include "packed_layout.h"
#include "tables.h"

#define ROWS 6
#define KERNELS llk_table_avx2
#define BIAS8 128

#define PARTS 1
VEC_FN __m256i part_of(__m256i quads, size_t p) {
    (void)p;
    return quads;
}
VEC_FN __m256i dot_part(__m256i acc, __m256i w, __m256i x) { return DOT(acc, w, x); }
VEC_FN void split_rows(const char *x, size_t ldx, const int rows, char parts[ROWS][PARTS][BLOCK]) {
    for (size_t r = 0; r < (size_t)rows; r++) llk_copy(parts[r][0], x + ldx * r, BLOCK);
}

typedef __m256i int4_sum;
VEC_FN int4_sum int4_zero(void) { return _mm256_setzero_si256(); }
VEC_FN int4_sum dot_int4(int4_sum sum, __m256i w, __m256i x) { return DOT(sum, w, x); }
VEC_FN __m256i int4_total(int4_sum sum) { return sum; }

#include "templates/packed_product.inc"
#include "templates/product_few_registers.inc"

PACKED_KERNELS(TABLE(int8), int8, LLK_PACKED_INT8)
PACKED_KERNELS(TABLE(int4), int4, LLK_PACKED_INT4)
BLOCKS_KERNELS(TABLE(q8_0), q8_0, LLK_PACKED_Q8_0)
BLOCKS_KERNELS(TABLE(q4_0), q4_0, LLK_PACKED_Q4_0)

#endif
