/* vector_avx512.h - 16 lanes are one register. */
#ifndef LLADA_KERNELS_VECTOR_AVX512_H
#define LLADA_KERNELS_VECTOR_AVX512_H

#include "numbers.h"

#include <immintrin.h>

typedef __m512 v16;

VEC_FN __mmask16 first_lanes(size_t count) { return (__mmask16)((1u << count) - 1); }

VEC_FN v16 v16_set1(float f) { return _mm512_set1_ps(f); }
VEC_FN v16 v16_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
VEC_FN v16 v16_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
VEC_FN v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
VEC_FN v16 v16_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
VEC_FN v16 v16_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
VEC_FN v16 v16_fnma(v16 a, v16 b, v16 c) { return _mm512_fnmadd_ps(a, b, c); }
VEC_FN v16 v16_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
VEC_FN v16 v16_round(v16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VEC_FN v16 v16_ldexp(v16 p, v16 n) { return _mm512_scalef_ps(p, n); }
VEC_FN v16 v16_zero_below(v16 v, v16 x, float limit) {
    return _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_LT_OQ), _mm512_setzero_ps());
}
VEC_FN v16 v16_inf_above(v16 v, v16 x, float limit) {
    return _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_GT_OQ),
                              _mm512_set1_ps(__builtin_inff()));
}
VEC_FN unsigned v16_equal(v16 a, v16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
VEC_FN v16 v16_load(const float *p) { return _mm512_loadu_ps(p); }
VEC_FN v16 v16_load_part(const float *p, size_t count, float fill) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(count), p);
}
VEC_FN void v16_store(float *p, v16 v) { _mm512_storeu_ps(p, v); }
VEC_FN void v16_store_part(float *p, size_t count, v16 v) { _mm512_mask_storeu_ps(p, first_lanes(count), v); }

VEC_FN v16 widen_halves(__m256i halves, llk_dtype dtype) {
    if (dtype == LLK_F16) return _mm512_cvtph_ps(halves);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
VEC_FN v16 v16_widen(const void *p, llk_dtype dtype, size_t i) {
    if (dtype == LLK_F32) return _mm512_loadu_ps((const char *)p + 4 * i);
    return widen_halves(_mm256_loadu_si256((const __m256i *)((const char *)p + 2 * i)), dtype);
}
VEC_FN v16 v16_widen_part(const void *p, llk_dtype dtype, size_t i, size_t count) {
    if (dtype == LLK_F32) return _mm512_maskz_loadu_ps(first_lanes(count), (const char *)p + 4 * i);
    return widen_halves(_mm256_maskz_loadu_epi16(first_lanes(count), (const char *)p + 2 * i), dtype);
}

VEC_FN float v16_sum(v16 a) {
    __m256 s = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}

#endif
