/* packed_portable.c - the reference, to be read beside packed.h. The other implementations must give the same bits. */
#define TARGET
#define KERNELS llk_table_portable
#define BIAS8 128
#include "attention.h"
#include "blocks.h"

#include <math.h>

static float flush(float f) { return fabsf(f) < 0x1p-126f ? copysignf(0, f) : f; }

/* fma(a, b, c) where what is tiny once rounded to 24 bits, however small, becomes zero. */
static float flushing_fma(float a, float b, float c) {
    a = flush(a);
    b = flush(b);
    c = flush(c);
    float sum = fmaf(a, b, c);
    if (fabsf(sum) > 0x1p-126f || sum == 0) return sum;
    float scaled = fmaf(a * 0x1p48f, b, c * 0x1p48f); /* as small a sum has terms so small that nothing overflows */
    return fabsf(scaled) < 0x1p-78f ? copysignf(0, sum) : sum;
}

static void block_bf16(const char *x, size_t ldx, int rows, const char *w, const char *next, size_t lines,
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

static void block_int8(const char *x, size_t ldx, int rows, const char *w, const char *next, size_t lines,
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

static void block_int4(const char *x, size_t ldx, int rows, const char *w, const char *next, size_t lines,
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

static void weighted_sum_bf16(const uint16_t *p, size_t ldp, size_t queries, const uint16_t *v, size_t ldv,
                              size_t terms, size_t dim, float *out, size_t ldo, bool accumulate, const void *next) {
    (void)next;
    for (size_t q = 0; q < queries; q++)
        for (size_t d = 0; d < dim; d++) {
            float sum = accumulate ? llk_load(out, q * ldo + d) : 0;
            for (size_t t = 0; t < terms; t += 2) {
                uint16_t weights[2] = {0}, values[2] = {0};
                const size_t bytes = 2 * llk_min(2, terms - t);
                llk_copy(weights, (const char *)p + 2 * (q * ldp + t), bytes);
                llk_copy(values, (const char *)v + 4 * (t / 2 * ldv + d), bytes);
                sum = flushing_fma(llk_from_bf16(weights[1]), llk_from_bf16(values[1]), sum);
                sum = flushing_fma(llk_from_bf16(weights[0]), llk_from_bf16(values[0]), sum);
            }
            llk_store(out, q * ldo + d, sum);
        }
}

static void exponentials(const float *x, size_t n, float scale, float *max, uint16_t *e, float *sum) {
    float largest = llk_load(max, 0);
    for (size_t i = 0; i < n; i++) {
        const float scaled = llk_load(x, i) * scale;
        if (scaled > largest) largest = scaled;
    }
    float lanes[16] = {0};
    for (size_t i = 0; i < n; i++) {
        const float weight = llk_expf(llk_load(x, i) * scale - largest);
        const uint16_t half = llk_to_bf16(weight);
        llk_copy((char *)e + 2 * i, &half, sizeof half);
        lanes[i % 16] += weight;
    }
    llk_store(max, 0, largest);
    llk_store(sum, 0, llk_sum_of_lanes(lanes));
}

#include "tiles.h"

PACKED_KERNELS(llk_packed_portable_bf16, bf16, LLK_PACKED_BF16)
PACKED_KERNELS(llk_packed_portable_int8, int8, LLK_PACKED_INT8)
PACKED_KERNELS(llk_packed_portable_int4, int4, LLK_PACKED_INT4)

const llk_attention_kernels llk_attention_portable = {weighted_sum_bf16, exponentials};
