/* packed_product.c - the reference implementation of packed.h. The other implementations must give the same bits. */
#define TARGET
#define KERNELS llk_table_portable
#define BIAS8 128
#include "flushing_fma.h"
#include "packed_layout.h"
#include "tables.h"

static void block_product_bf16(const char *x, size_t ldx, int rows, const char *w, const char *next, size_t lines,
                               float *sums) {
    (void)next, (void)lines;
    bf16_block weights;
    llk_copy(&weights, w, sizeof weights);
    for (size_t r = 0; r < (size_t)rows; r++) {
        bf16_row_block row;
        llk_copy(&row, x + r * ldx, sizeof row);
        for (size_t o = 0; o < TILE; o++)
            for (size_t p = 0; p < PAIRS; p++) {
                const uint32_t pair = weights.pairs[p][o];
                float *sum = sums + TILE * r + o;
                *sum = flushing_fma(llk_from_bf16(row.x[2 * p + 1]), llk_from_bf16((uint16_t)(pair >> 16)), *sum);
                *sum = flushing_fma(llk_from_bf16(row.x[2 * p]), llk_from_bf16((uint16_t)pair), *sum);
            }
    }
}

static void block_product_int8(const char *x, size_t ldx, int rows, const char *w, const char *next, size_t lines,
                               float *sums) {
    (void)next, (void)lines;
    int8_block weights;
    llk_copy(&weights, w, sizeof weights);
    for (size_t r = 0; r < (size_t)rows; r++) {
        int8_row_block row;
        llk_copy(&row, x + r * ldx, sizeof row);
        for (size_t o = 0; o < TILE; o++) {
            int d = 0;
            for (size_t k = 0; k < BLOCK; k++)
                d += row.q[k] * ((int)(weights.quads[k / 4][o] >> 8 * (k % 4) & 255) - 128);
            float *sum = sums + TILE * r + o;
            *sum = fmaf((float)d * llk_from_bf16(weights.scales[o]), row.scale, *sum);
        }
    }
}

static void block_product_int4(const char *x, size_t ldx, int rows, const char *w, const char *next, size_t lines,
                               float *sums) {
    (void)next, (void)lines;
    int4_block weights;
    llk_copy(&weights, w, sizeof weights);
    for (size_t r = 0; r < (size_t)rows; r++) {
        int8_row_block row;
        llk_copy(&row, x + r * ldx, sizeof row);
        for (size_t o = 0; o < TILE; o++) {
            float t = 0;
            for (size_t half = 0; half < 2; half++) {
                int d = 0;
                for (size_t k = 0; k < HALF; k++) {
                    const size_t shift = 8 * (k % 4) + 4 * (k / 4 % 2);
                    d += row.q[HALF * half + k] * ((int)(weights.halves[half].octets[k / 8][o] >> shift & 15) - 8);
                }
                const float scale = llk_from_bf16(weights.halves[half].scales[o]);
                t = half == 0 ? (float)d * scale : fmaf((float)d, scale, t);
            }
            float *sum = sums + TILE * r + o;
            *sum = fmaf(t, row.scale, *sum);
        }
    }
}

#include "templates/packed_product.inc"

PACKED_KERNELS(llk_packed_portable_bf16, bf16, LLK_PACKED_BF16)
PACKED_KERNELS(llk_packed_portable_int8, int8, LLK_PACKED_INT8)
PACKED_KERNELS(llk_packed_portable_int4, int4, LLK_PACKED_INT4)
