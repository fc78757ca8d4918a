/* packed_avx512_vnni.c - weights of integers by VPDPBUSD. */
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")))
#include "vector_avx512.h"

#include "tables.h"

#define VECTORS 4
#define KERNELS llk_table_avx512
#define BIAS8 128

typedef __m512i v16i;
VEC_FN v16i v16i_set1(int32_t i) { return _mm512_set1_epi32(i); }
VEC_FN v16 v16_from_int(v16i a) { return _mm512_cvtepi32_ps(a); }

typedef __m512i w_int8, w_int4, x_int8, x_int4;
VEC_FN w_int8 load_int8(const char *p) { return _mm512_loadu_si512(p); }
VEC_FN x_int8 set1_int8(const char *p) { return _mm512_set1_epi32(llk_load_int(p)); }
VEC_FN v16i dot_int8(v16i acc, w_int8 w, x_int8 x) { return _mm512_dpbusd_epi32(acc, w, x); }

VEC_FN w_int4 low_int4(const char *p) { return _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(15)); }
VEC_FN w_int4 high_int4(const char *p) {
    return _mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(p), 4), _mm512_set1_epi8(15));
}
VEC_FN x_int4 set1_int4(const char *p) { return set1_int8(p); }
VEC_FN v16i dot_int4(v16i acc, w_int4 w, x_int4 x) { return _mm512_dpbusd_epi32(acc, w, x); }

#include "templates/packed_product.inc"
#include "templates/product_integer.inc"

PACKED_KERNELS(llk_packed_avx512_int8, int8, LLK_PACKED_INT8)
PACKED_KERNELS(llk_packed_avx512_int4, int4, LLK_PACKED_INT4)
BLOCKS_KERNELS(llk_packed_avx512_q8_0, q8_0, LLK_PACKED_Q8_0)
BLOCKS_KERNELS(llk_packed_avx512_q4_0, q4_0, LLK_PACKED_Q4_0)

#endif
