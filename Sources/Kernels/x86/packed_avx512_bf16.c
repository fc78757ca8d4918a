/* packed_avx512_bf16.c - bf16 weights, keys and values by VDPBF16PS. */
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma,f16c")))
#include "vector_avx512.h"

#include "tables.h"

#define VECTORS 4
#define AT_QUERIES 8
#define AT_VECTORS 2
#define KERNELS llk_table_avx512
#define BIAS8 128

typedef __m512bh w_bf16, x_bf16;
VEC_FN w_bf16 load_bf16(const char *p) { return (__m512bh)_mm512_loadu_si512(p); }
VEC_FN x_bf16 set1_bf16(const char *p) { return (__m512bh)_mm512_set1_epi32(llk_load_int(p)); }
VEC_FN v16 dot_bf16(v16 acc, w_bf16 w, x_bf16 x) { return _mm512_dpbf16_ps(acc, w, x); }

/* VDPBF16PS itself flushes denormals. */
typedef int fp_state;
VEC_FN fp_state flush_denormals(void) { return 0; }
VEC_FN void restore(fp_state state) { (void)state; }

VEC_FN void v16_store_bf16(void *p, v16 v) { _mm256_storeu_si256(p, (__m256i)_mm512_cvtneps_pbh(v)); }

#include "templates/attention_sums.inc"
#include "templates/packed_product.inc"
#include "templates/product_bf16.inc"

PACKED_KERNELS(llk_packed_avx512_bf16, bf16, LLK_PACKED_BF16)
ATTENTION_KERNELS(llk_attention_avx512)

#endif
