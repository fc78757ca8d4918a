/* vector_avx2.h - 16 lanes are two registers of 8. */
#ifndef LLADA_KERNELS_VECTOR_AVX2_H
#define LLADA_KERNELS_VECTOR_AVX2_H

#include "numbers.h"

#include <immintrin.h>

typedef struct {
    __m256 lo, hi; /* lanes 0..7 and 8..15 */
} v16;

#define BOTH(expression_lo, expression_hi) ((v16){expression_lo, expression_hi})

VEC_FN v16 v16_set1(float f) { return BOTH(_mm256_set1_ps(f), _mm256_set1_ps(f)); }
VEC_FN v16 v16_add(v16 a, v16 b) { return BOTH(_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)); }
VEC_FN v16 v16_sub(v16 a, v16 b) { return BOTH(_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)); }
VEC_FN v16 v16_mul(v16 a, v16 b) { return BOTH(_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)); }
VEC_FN v16 v16_div(v16 a, v16 b) { return BOTH(_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)); }
VEC_FN v16 v16_max(v16 a, v16 b) { return BOTH(_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)); }
VEC_FN v16 v16_fma(v16 a, v16 b, v16 c) {
    return BOTH(_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi));
}
VEC_FN v16 v16_fnma(v16 a, v16 b, v16 c) {
    return BOTH(_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi));
}

VEC_FN __m256 round8(__m256 a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VEC_FN v16 v16_round(v16 a) { return BOTH(round8(a.lo), round8(a.hi)); }

/* Multiplies by 2^n in two factors that are both floats, as in the reference. */
VEC_FN __m256 ldexp8(__m256 p, __m256 n) {
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), bias = _mm256_set1_epi32(127);
    __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}
VEC_FN v16 v16_ldexp(v16 p, v16 n) { return BOTH(ldexp8(p.lo, n.lo), ldexp8(p.hi, n.hi)); }

VEC_FN __m256 zero_below8(__m256 v, __m256 x, __m256 limit) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, limit, _CMP_LT_OQ), v);
}
VEC_FN v16 v16_zero_below(v16 v, v16 x, float limit) {
    return BOTH(zero_below8(v.lo, x.lo, _mm256_set1_ps(limit)), zero_below8(v.hi, x.hi, _mm256_set1_ps(limit)));
}
VEC_FN __m256 inf_above8(__m256 v, __m256 x, __m256 limit) {
    return _mm256_blendv_ps(v, _mm256_set1_ps(__builtin_inff()), _mm256_cmp_ps(x, limit, _CMP_GT_OQ));
}
VEC_FN v16 v16_inf_above(v16 v, v16 x, float limit) {
    return BOTH(inf_above8(v.lo, x.lo, _mm256_set1_ps(limit)), inf_above8(v.hi, x.hi, _mm256_set1_ps(limit)));
}
VEC_FN unsigned v16_equal(v16 a, v16 b) {
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ)) |
           (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)) << 8;
}

VEC_FN v16 v16_load(const float *p) {
    return BOTH(_mm256_loadu_ps(p), _mm256_loadu_ps((const float *)((const char *)p + 32)));
}
VEC_FN void v16_store(float *p, v16 v) {
    _mm256_storeu_ps(p, v.lo);
    _mm256_storeu_ps((float *)((char *)p + 32), v.hi);
}

VEC_FN __m256 widen8(const char *p, llk_dtype dtype, size_t i) {
    if (dtype == LLK_F32) return _mm256_loadu_ps((const float *)(p + 4 * i));
    __m128i halves = _mm_loadu_si128((const __m128i *)(p + 2 * i));
    if (dtype == LLK_F16) return _mm256_cvtph_ps(halves);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
VEC_FN v16 v16_widen(const void *p, llk_dtype dtype, size_t i) {
    return BOTH(widen8(p, dtype, i), widen8(p, dtype, i + 8));
}
/* AVX2 masks words of 32 bits, not of 16. */
#include "templates/partial_vectors.inc"

/* The tree from 8 lanes on. */
VEC_FN float sum8(__m256 s) {
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}
VEC_FN float v16_sum(v16 a) { return sum8(_mm256_add_ps(a.lo, a.hi)); }

#endif
