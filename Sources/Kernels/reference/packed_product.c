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

/* A block with a scale for each half, as numbers. */
typedef struct {
    int q[2][HALF][TILE];
    float scales[2][TILE];
} halves;

static void add_halves(const char *x, size_t ldx, int rows, const halves *w, float *sums) {
    for (size_t r = 0; r < (size_t)rows; r++) {
        int8_row_block row;
        llk_copy(&row, x + r * ldx, sizeof row);
        for (size_t o = 0; o < TILE; o++) {
            int d[2] = {0};
            for (size_t k = 0; k < BLOCK; k++) d[k / HALF] += row.q[k] * w->q[k / HALF][k % HALF][o];
            float *sum = sums + TILE * r + o;
            *sum = fmaf(fmaf((float)d[1], w->scales[1][o], (float)d[0] * w->scales[0][o]), row.scale, *sum);
        }
    }
}

/* Defines the block product of a format: input k of a half is the `bits` bits of words[step] from bit `shift` on. */
#define PRODUCT_OF_HALVES(name, words, step, shift, bits, from_half)                                       \
    static void block_product_##name(const char *x, size_t ldx, int rows, const char *w, const char *next, \
                                     size_t lines, float *sums) {                                          \
        (void)next, (void)lines;                                                                           \
        name##_block weights;                                                                              \
        llk_copy(&weights, w, sizeof weights);                                                             \
        halves numbers;                                                                                    \
        for (size_t h = 0; h < 2; h++)                                                                     \
            for (size_t o = 0; o < TILE; o++) {                                                            \
                numbers.scales[h][o] = from_half(weights.halves[h].scales[o]);                             \
                for (size_t k = 0; k < HALF; k++) {                                                        \
                    const int code = weights.halves[h].words[step][o] >> (shift) & ((1 << bits) - 1);      \
                    numbers.q[h][k][o] = code - (1 << (bits - 1));                                         \
                }                                                                                          \
            }                                                                                              \
        add_halves(x, ldx, rows, &numbers, sums);                                                          \
    }
PRODUCT_OF_HALVES(int4, octets, k / 8, 8 * (k % 4) + 4 * (k / 4 % 2), 4, llk_from_bf16)
PRODUCT_OF_HALVES(q8_0, quads, k / 4, 8 * (k % 4), 8, llk_from_f16)
PRODUCT_OF_HALVES(q4_0, quads, k / 4 % 4, 8 * (k % 4) + 4 * (k / 16), 4, llk_from_f16)

#include "templates/packed_product.inc"

PACKED_KERNELS(llk_packed_portable_bf16, bf16, LLK_PACKED_BF16)
PACKED_KERNELS(llk_packed_portable_int8, int8, LLK_PACKED_INT8)
PACKED_KERNELS(llk_packed_portable_int4, int4, LLK_PACKED_INT4)
BLOCKS_KERNELS(llk_packed_portable_q8_0, q8_0, LLK_PACKED_Q8_0)
BLOCKS_KERNELS(llk_packed_portable_q4_0, q4_0, LLK_PACKED_Q4_0)
