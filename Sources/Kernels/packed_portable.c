/* packed_portable.c - the reference, to be read beside packed.h. The other implementations must give the same bits. */
#define TARGET
#define KERNELS llk_table_portable
#define BIAS8 128
#include "blocks.h"

#include <math.h>

static float load_bf16(const char *p, size_t i) {
    uint16_t h;
    llk_copy(&h, p + 2 * i, sizeof h);
    return llk_from_bf16(h);
}

static float flush(float f) { return fabsf(f) < 0x1p-126f ? copysignf(0, f) : f; }

/* fma(a, b, c) where what is tiny once rounded to 24 bits, however small, becomes zero. */
static float flushing_fma(float a, float b, float c) {
    a = flush(a);
    b = flush(b);
    float sum = fmaf(a, b, c);
    if (fabsf(sum) > 0x1p-126f || sum == 0) return sum;
    float scaled = fmaf(a * 0x1p48f, b, c * 0x1p48f); /* as small a sum has terms so small that nothing overflows */
    return fabsf(scaled) < 0x1p-78f ? copysignf(0, sum) : sum;
}

static void block_bf16(const char *x, size_t ldx, int rows, const char *w, bool fetch, float *sums) {
    (void)fetch;
    for (int r = 0; r < rows; r++, x += ldx, sums += TILE)
        for (size_t o = 0; o < TILE; o++)
            for (size_t k = 0; k < BLOCK; k++) {
                const size_t i = k ^ 1; /* of a pair, the second first */
                const char *pair = w + STEP * (i / 2) + 4 * o;
                sums[o] = flushing_fma(load_bf16(x, i), load_bf16(pair, i % 2), sums[o]);
            }
}

static void block_int8(const char *x, size_t ldx, int rows, const char *w, bool fetch, float *sums) {
    (void)fetch;
    for (int r = 0; r < rows; r++, x += ldx, sums += TILE) {
        int8_row_block row;
        llk_copy(&row, x, sizeof row);
        for (size_t o = 0; o < TILE; o++) {
            int32_t d = 0;
            for (size_t k = 0; k < BLOCK; k++) d += row.q[k] * ((uint8_t)w[STEP * (k / 4) + 4 * o + k % 4] - 128);
            sums[o] = fmaf((float)d * load_bf16(w + INT8_SCALES, o), row.scale, sums[o]);
        }
    }
}

static void block_int4(const char *x, size_t ldx, int rows, const char *w, bool fetch, float *sums) {
    (void)fetch;
    for (int r = 0; r < rows; r++, x += ldx, sums += TILE) {
        int8_row_block row;
        llk_copy(&row, x, sizeof row);
        for (size_t o = 0; o < TILE; o++) {
            int32_t d[2] = {0};
            for (size_t k = 0; k < BLOCK; k++) {
                const uint8_t byte = (uint8_t)w[STEP * (k / 8) + 4 * o + k % 4];
                d[k / HALF] += row.q[k] * ((k % 8 < 4 ? byte & 15 : byte >> 4) - 8);
            }
            const float first = (float)d[0] * load_bf16(w + INT4_SCALES, o);
            sums[o] = fmaf(fmaf((float)d[1], load_bf16(w + INT4_SCALES, TILE + o), first), row.scale, sums[o]);
        }
    }
}

#include "tiles.h"

PACKED_KERNELS(llk_packed_portable_bf16, bf16, LLK_PACKED_BF16)
PACKED_KERNELS(llk_packed_portable_int8, int8, LLK_PACKED_INT8)
PACKED_KERNELS(llk_packed_portable_int4, int4, LLK_PACKED_INT4)
