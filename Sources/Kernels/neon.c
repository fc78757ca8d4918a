/* neon.c - the kernels on row-major weights. */
#if defined(__aarch64__)
#define TARGET
#include "neon.h"

#define WS_QUERIES 3
#define WS_VECTORS 2
#include "lanes.h"

/* The matrix product goes by tiles of 2 rows x 3 outputs: 24 of the 32 registers accumulate. */
#define TILE_ROWS 2
#define TILE_OUTS 3

VEC_FN void tile(const float *x, size_t ldx, const int rows, const char *w, llk_dtype dtype, size_t inner, size_t outs,
                 const char *next, float *y, size_t ldy) {
    const size_t size = llk_size_of(dtype), row = size * inner, lines = (TILE_OUTS * size + 3) / 4;
    const char *wr[TILE_OUTS];
    UNROLL for (size_t o = 0; o < TILE_OUTS; o++) wr[o] = w + row * llk_min(o, outs - 1);

    v16 acc[TILE_ROWS][TILE_OUTS];
    UNROLL for (int r = 0; r < TILE_ROWS; r++)
        UNROLL for (int o = 0; o < TILE_OUTS; o++) acc[r][o] = v16_set1(0);

    size_t k = 0;
    for (; inner - k >= 16; k += 16) {
        if (next)
            UNROLL for (size_t line = 0; line < lines; line++)
                __builtin_prefetch(next + TILE_OUTS * size * k + 64 * line, 0, 2);
        EACH_QUARTER {
            const size_t at = k + 4 * (size_t)i;
            float32x4_t b[TILE_OUTS];
            UNROLL for (int o = 0; o < TILE_OUTS; o++) b[o] = widen4(wr[o], dtype, at);
            UNROLL for (int r = 0; r < rows; r++) {
                float32x4_t a = load4(x + (size_t)r * ldx + at);
                UNROLL for (int o = 0; o < TILE_OUTS; o++) acc[r][o].q[i] = vfmaq_f32(acc[r][o].q[i], a, b[o]);
            }
        }
    }
    if (k < inner) /* absent lanes add -0 * 0 = -0, which changes no accumulator, not even one that is -0 */
        UNROLL for (int o = 0; o < TILE_OUTS; o++) {
            v16 b = v16_widen_part(wr[o], dtype, k, inner - k);
            UNROLL for (int r = 0; r < rows; r++)
                acc[r][o] = v16_fma(v16_load_part(x + (size_t)r * ldx + k, inner - k, -0.0f), b, acc[r][o]);
        }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (size_t o = 0; o < TILE_OUTS; o++)
            if (o < outs) llk_store(y, (size_t)r * ldy + o, v16_sum(acc[r][o]));
}

#include "panels.h"

const llk_kernels llk_table_neon = {
    matmul, weighted_sum, rms_norm, silu_mul, softmax, argmax_sum_exp, axpy, to_f32,
};

#endif
