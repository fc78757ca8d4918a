/* kernels_neon.c - the kernels of kernels.h, on row-major weights. */
#if defined(__aarch64__)
#define TARGET
#include "vector_neon.h"

#include "tables.h"

#define WS_QUERIES 3
#define WS_VECTORS 2
#include "templates/row_functions.inc"
#include "templates/weighted_sum.inc"

/* The micro-kernel of the matrix product takes 2 rows x 3 outputs: 24 of the 32 registers accumulate. */
#define MICRO_ROWS 2
#define MICRO_OUTS 3

VEC_FN void micro_kernel(const float *x, size_t ldx, const int rows, const char *w, llk_dtype dtype, size_t inner,
                         size_t outs, const char *next, float *y, size_t ldy) {
    const size_t size = llk_size_of(dtype), row = size * inner, lines = (MICRO_OUTS * size + 3) / 4;
    const char *wr[MICRO_OUTS];
    UNROLL for (size_t o = 0; o < MICRO_OUTS; o++) wr[o] = w + row * llk_min(o, outs - 1);

    v16 acc[MICRO_ROWS][MICRO_OUTS];
    UNROLL for (int r = 0; r < MICRO_ROWS; r++) { UNROLL for (int o = 0; o < MICRO_OUTS; o++) acc[r][o] = v16_set1(0); }

    size_t k = 0;
    for (; inner - k >= 16; k += 16) {
        if (next)
            UNROLL for (size_t line = 0; line < lines; line++)
                __builtin_prefetch(next + MICRO_OUTS * size * k + 64 * line, 0, 2);
        EACH_QUARTER {
            const size_t at = k + 4 * (size_t)i;
            float32x4_t b[MICRO_OUTS];
            UNROLL for (int o = 0; o < MICRO_OUTS; o++) b[o] = widen4(wr[o], dtype, at);
            UNROLL for (int r = 0; r < rows; r++) {
                float32x4_t a = load4(x + (size_t)r * ldx + at);
                UNROLL for (int o = 0; o < MICRO_OUTS; o++) acc[r][o].q[i] = vfmaq_f32(acc[r][o].q[i], a, b[o]);
            }
        }
    }
    if (k < inner) /* absent lanes add -0 * 0 = -0, which changes no accumulator, not even one that is -0 */
        UNROLL for (int o = 0; o < MICRO_OUTS; o++) {
            v16 b = v16_widen_part(wr[o], dtype, k, inner - k);
            UNROLL for (int r = 0; r < rows; r++) acc[r][o] =
                v16_fma(v16_load_part(x + (size_t)r * ldx + k, inner - k, -0.0f), b, acc[r][o]);
        }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (size_t o = 0; o < MICRO_OUTS; o++) if (o < outs)
            llk_store(y, (size_t)r * ldy + o, v16_sum(acc[r][o]));
    }
}

#include "templates/matrix_product.inc"

const llk_kernels llk_table_neon = {
    matmul, weighted_sum, rms_norm, silu_mul, sigmoid, softmax, argmax_sum_exp, axpy, temper, weigh, find, to_f32,
};

#endif
