/* kernels_avx512.c - the kernels of kernels.h, on row-major weights. */
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")))
#include "vector_avx512.h"

#include "tables.h"

#define WS_QUERIES 4
#define WS_VECTORS 4
#include "templates/row_functions.inc"
#include "templates/weighted_sum.inc"

/*
 * The micro-kernel of the matrix product takes 4 rows x 4 outputs: 16 accumulators, and 8 loads for 16 fused
 * multiply-adds. It spans all of `inner`, so only the result is ever stored. Every row of x uses the 4 rows of weights
 * before the next 4 are read: weights stream from memory once.
 */
#define MICRO_ROWS 4
#define MICRO_OUTS 4

/* Does the first two steps of the tree, for four accumulators at once: 4 x 16 lanes -> 4 x 4 lanes. */
VEC_FN v16 to_quarters(const v16 a[4]) {
    v16 s01 = v16_add(_mm512_shuffle_f32x4(a[0], a[1], 0x44), _mm512_shuffle_f32x4(a[0], a[1], 0xee));
    v16 s23 = v16_add(_mm512_shuffle_f32x4(a[2], a[3], 0x44), _mm512_shuffle_f32x4(a[2], a[3], 0xee));
    return v16_add(_mm512_shuffle_f32x4(s01, s23, 0x88), _mm512_shuffle_f32x4(s01, s23, 0xdd));
}

/* Does the last two steps, for four rows of four outputs: lane 4 r + o is the sum of row r, output o. */
VEC_FN v16 from_quarters(v16 a, v16 b, v16 c, v16 d) {
    v16 ab = v16_add(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    v16 cd = v16_add(_mm512_shuffle_ps(c, d, 0x44), _mm512_shuffle_ps(c, d, 0xee));
    v16 sums = v16_add(_mm512_shuffle_ps(ab, cd, 0x88), _mm512_shuffle_ps(ab, cd, 0xdd)); /* lane 4 o + r */
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), sums);
}

VEC_FN void micro_kernel(const float *x, size_t ldx, const int rows, const char *w, llk_dtype dtype, size_t inner,
                         size_t outs, const char *next, float *y, size_t ldy) {
    const size_t size = llk_size_of(dtype), row = size * inner;
    const char *wr[MICRO_OUTS];
    UNROLL for (size_t o = 0; o < MICRO_OUTS; o++) wr[o] = w + row * llk_min(o, outs - 1);

    v16 acc[MICRO_ROWS][MICRO_OUTS];
    UNROLL for (int r = 0; r < MICRO_ROWS; r++) {
        UNROLL for (int o = 0; o < MICRO_OUTS; o++) acc[r][o] = _mm512_setzero_ps();
    }

    size_t k = 0;
    for (; inner - k >= 16; k += 16) {
        if (next) /* the rows of weights are one run of bytes, of which a step reads `size` cache lines */
            UNROLL for (size_t line = 0; line < size; line++)
                _mm_prefetch(next + MICRO_OUTS * size * k + 64 * line, _MM_HINT_T1);
        v16 b[MICRO_OUTS];
        UNROLL for (int o = 0; o < MICRO_OUTS; o++) b[o] = v16_widen(wr[o], dtype, k);
        UNROLL for (int r = 0; r < rows; r++) {
            v16 a = v16_load(x + (size_t)r * ldx + k);
            UNROLL for (int o = 0; o < MICRO_OUTS; o++) acc[r][o] = v16_fma(a, b[o], acc[r][o]);
        }
    }
    if (k < inner) { /* absent lanes add -0 * 0 = -0, which changes no accumulator, not even one that is -0 */
        v16 b[MICRO_OUTS];
        UNROLL for (int o = 0; o < MICRO_OUTS; o++) b[o] = v16_widen_part(wr[o], dtype, k, inner - k);
        UNROLL for (int r = 0; r < rows; r++) {
            v16 a = v16_load_part(x + (size_t)r * ldx + k, inner - k, -0.0f);
            UNROLL for (int o = 0; o < MICRO_OUTS; o++) acc[r][o] = v16_fma(a, b[o], acc[r][o]);
        }
    }

    v16 q[MICRO_ROWS];
    UNROLL for (int r = 0; r < MICRO_ROWS; r++) q[r] = to_quarters(acc[r < rows ? r : 0]);
    v16 sums = from_quarters(q[0], q[1], q[2], q[3]);
    __mmask8 present = (__mmask8)((1u << outs) - 1);
    _mm_mask_storeu_ps(y, present, _mm512_castps512_ps128(sums));
    if (rows > 1) _mm_mask_storeu_ps(y + ldy, present, _mm512_extractf32x4_ps(sums, 1));
    if (rows > 2) _mm_mask_storeu_ps(y + 2 * ldy, present, _mm512_extractf32x4_ps(sums, 2));
    if (rows > 3) _mm_mask_storeu_ps(y + 3 * ldy, present, _mm512_extractf32x4_ps(sums, 3));
}

#include "templates/matrix_product.inc"

const llk_kernels llk_table_avx512 = {
    matmul, weighted_sum, rms_norm, silu_mul, sigmoid, softmax, argmax_sum_exp, axpy, temper, weigh, find, to_f32,
};

#endif
