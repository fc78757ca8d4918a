/* kernels_avx2.c - the kernels of kernels.h, on row-major weights. */
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,fma,f16c")))
#include "vector_avx2.h"

#include "tables.h"

#define WS_QUERIES 3
#define WS_VECTORS 2
#include "templates/row_functions.inc"
#include "templates/weighted_sum.inc"

#define MICRO_ROWS 2
#define MICRO_OUTS 3

/* The micro-kernel of the matrix product takes 2 rows x 3 outputs. 12 of the 16 registers are accumulators; the two
 * halves of the 16 lanes use the other four in turn. */

/* Adds elements k .. k + 7 of every product. */
VEC_FN void step8(__m256 acc[MICRO_ROWS][MICRO_OUTS], const float *const x[], const int rows, const char *const w[],
                  llk_dtype dtype, size_t k) {
    __m256 b[MICRO_OUTS];
    UNROLL for (int o = 0; o < MICRO_OUTS; o++) b[o] = widen8(w[o], dtype, k);
    UNROLL for (int r = 0; r < rows; r++) {
        __m256 a = _mm256_loadu_ps(x[r] + k);
        UNROLL for (int o = 0; o < MICRO_OUTS; o++) acc[r][o] = _mm256_fmadd_ps(a, b[o], acc[r][o]);
    }
}

VEC_FN void micro_kernel(const float *x, size_t ldx, const int rows, const char *w, llk_dtype dtype, size_t inner,
                         size_t outs, const char *next, float *y, size_t ldy) {
    const size_t size = llk_size_of(dtype), row = size * inner, lines = (MICRO_OUTS * size + 3) / 4;
    const char *wr[MICRO_OUTS];
    const float *xr[MICRO_ROWS];
    UNROLL for (size_t o = 0; o < MICRO_OUTS; o++) wr[o] = w + row * llk_min(o, outs - 1);
    UNROLL for (int r = 0; r < rows; r++) xr[r] = x + (size_t)r * ldx;

    __m256 lo[MICRO_ROWS][MICRO_OUTS], hi[MICRO_ROWS][MICRO_OUTS];
    UNROLL for (int r = 0; r < MICRO_ROWS; r++) {
        UNROLL for (int o = 0; o < MICRO_OUTS; o++) lo[r][o] = hi[r][o] = _mm256_setzero_ps();
    }

    size_t k = 0;
    for (; inner - k >= 16; k += 16) {
        if (next)
            UNROLL for (size_t line = 0; line < lines; line++)
                _mm_prefetch(next + MICRO_OUTS * size * k + 64 * line, _MM_HINT_T1);
        step8(lo, xr, rows, wr, dtype, k);
        step8(hi, xr, rows, wr, dtype, k + 8);
    }
    if (k < inner) { /* absent lanes add -0 * 0 = -0, which changes no accumulator, not even one that is -0 */
        UNROLL for (int o = 0; o < MICRO_OUTS; o++) {
            v16 b = v16_widen_part(wr[o], dtype, k, inner - k);
            UNROLL for (int r = 0; r < rows; r++) {
                v16 a = v16_load_part(xr[r] + k, inner - k, -0.0f);
                lo[r][o] = _mm256_fmadd_ps(a.lo, b.lo, lo[r][o]);
                hi[r][o] = _mm256_fmadd_ps(a.hi, b.hi, hi[r][o]);
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (size_t o = 0; o < MICRO_OUTS; o++) if (o < outs)
            llk_store(y, (size_t)r * ldy + o, sum8(_mm256_add_ps(lo[r][o], hi[r][o])));
    }
}

#include "templates/matrix_product.inc"

const llk_kernels llk_table_avx2 = {
    matmul, weighted_sum, rms_norm, silu_mul, sigmoid, softmax, argmax_sum_exp, axpy, temper, weigh, find, to_f32,
};

#endif
