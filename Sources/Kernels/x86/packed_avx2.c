/* packed_avx2.c - packed products without dot-product instructions: bf16 as floats, int8 as pairs of 16 bits. */
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,fma,f16c")))
#include "vector_avx2.h"

#include "tables.h"

#define VECTORS 1
#define AT_QUERIES 4
#define AT_VECTORS 1
#define KERNELS llk_table_avx2
#define BIAS8 128

/* VDPBF16PS flushes denormals. Ordinary instructions do so on demand. The operands and results of the code between come
 * from memory and go back to it, and a barrier keeps that code there. */
typedef unsigned fp_state;
VEC_FN fp_state flush_denormals(void) {
    const unsigned flush_results = 1 << 15, flush_operands = 1 << 6, before = _mm_getcsr();
    _mm_setcsr(before | flush_results | flush_operands);
    __asm__ volatile("" ::: "memory");
    return before;
}
VEC_FN void restore(fp_state before) {
    __asm__ volatile("" ::: "memory");
    _mm_setcsr(before);
}

VEC_FN __m256i load8(const char *p) { return _mm256_loadu_si256((const __m256i *)p); }

/* Return the first and the second of each pair of bf16, as floats. */
VEC_FN __m256 first_bf16(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
VEC_FN __m256 second_bf16(__m256i pairs) {
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000)));
}

typedef struct {
    v16 first, second;
} w_bf16;
typedef struct {
    __m256 first, second;
} x_bf16;
VEC_FN w_bf16 load_bf16(const char *p) {
    const __m256i lo = load8(p), hi = load8(p + 32);
    return (w_bf16){BOTH(first_bf16(lo), first_bf16(hi)), BOTH(second_bf16(lo), second_bf16(hi))};
}
VEC_FN x_bf16 set1_bf16(const char *p) {
    const __m256i pair = _mm256_set1_epi32(llk_load_int(p));
    return (x_bf16){first_bf16(pair), second_bf16(pair)};
}
VEC_FN v16 dot_bf16(v16 acc, w_bf16 w, x_bf16 x) {
    acc = v16_fma(w.second, BOTH(x.second, x.second), acc);
    return v16_fma(w.first, BOTH(x.first, x.first), acc);
}

typedef struct {
    __m256i lo, hi;
} v16i;
VEC_FN v16i v16i_set1(int32_t i) { return (v16i){_mm256_set1_epi32(i), _mm256_set1_epi32(i)}; }
VEC_FN v16 v16_from_int(v16i a) { return BOTH(_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)); }
VEC_FN v16i v16i_add(v16i a, v16i b) { return (v16i){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }

/* A quad as two pairs of 16 bits: its elements 0 and 2, and 1 and 3. VPMADDUBSW would saturate. */
typedef struct {
    v16i even, odd;
} w_int8;
typedef struct {
    __m256i even, odd;
} x_int8;
VEC_FN __m256i even_bytes(__m256i quads) { return _mm256_and_si256(quads, _mm256_set1_epi16(255)); }
VEC_FN w_int8 load_int8(const char *p) {
    const __m256i lo = load8(p), hi = load8(p + 32);
    return (w_int8){{even_bytes(lo), even_bytes(hi)}, {_mm256_srli_epi16(lo, 8), _mm256_srli_epi16(hi, 8)}};
}
VEC_FN x_int8 set1_int8(const char *p) {
    const __m256i quad = _mm256_set1_epi32(llk_load_int(p));
    return (x_int8){_mm256_srai_epi16(_mm256_slli_epi16(quad, 8), 8), _mm256_srai_epi16(quad, 8)};
}
VEC_FN v16i madd(v16i a, __m256i b) { return (v16i){_mm256_madd_epi16(a.lo, b), _mm256_madd_epi16(a.hi, b)}; }
VEC_FN v16i dot_int8(v16i acc, w_int8 w, x_int8 x) {
    return v16i_add(v16i_add(acc, madd(w.even, x.even)), madd(w.odd, x.odd));
}

typedef v16i w_int4;
typedef __m256i x_int4;
VEC_FN __m256i low_halves(__m256i bytes) { return _mm256_and_si256(bytes, _mm256_set1_epi8(15)); }
VEC_FN w_int4 low_int4(const char *p) { return (w_int4){low_halves(load8(p)), low_halves(load8(p + 32))}; }
VEC_FN w_int4 high_int4(const char *p) {
    return (w_int4){low_halves(_mm256_srli_epi16(load8(p), 4)), low_halves(_mm256_srli_epi16(load8(p + 32), 4))};
}
VEC_FN x_int4 set1_int4(const char *p) { return _mm256_set1_epi32(llk_load_int(p)); }
VEC_FN v16i dot_int4(v16i acc, w_int4 w, x_int4 x) {
    const v16i pairs = {_mm256_maddubs_epi16(w.lo, x), _mm256_maddubs_epi16(w.hi, x)}; /* at most 2 * 15 * 127 */
    return v16i_add(acc, madd(pairs, _mm256_set1_epi16(1)));
}

#include "templates/attention_sums.inc"
#include "templates/packed_product.inc"
#include "templates/product_bf16.inc"
#include "templates/product_integer.inc"

PACKED_KERNELS(llk_packed_avx2_bf16, bf16, LLK_PACKED_BF16)
PACKED_KERNELS(llk_packed_avx2_int8, int8, LLK_PACKED_INT8)
PACKED_KERNELS(llk_packed_avx2_int4, int4, LLK_PACKED_INT4)
BLOCKS_KERNELS(llk_packed_avx2_q8_0, q8_0, LLK_PACKED_Q8_0)
BLOCKS_KERNELS(llk_packed_avx2_q4_0, q4_0, LLK_PACKED_Q4_0)
ATTENTION_KERNELS(llk_attention_avx2)

#endif
