/*
 * byte_attention.h - the kernels of attention over keys and values in int8, with scales for each position of a head:
 * numbers to bytes, scores, weights, and the sums of values.
 *
 * THE SAME BITS, as in kernels.h, from every implementation, however queries and columns are split over calls. Products
 * of bytes are summed exactly. What infinite numbers and NaN reach is NaN.
 */
#ifndef LLADA_BYTE_ATTENTION_H
#define LLADA_BYTE_ATTENTION_H

#include "kernels.h"

/* q[i] = x[i] / scale, rounded to nearest even, over n elements: integers of -127..127. Returns the scale, which is the
 * largest magnitude / 127; *sum is the sum of q. Where the largest magnitude is below 2^-100, all count as zeros. */
float llk_to_bytes(const float *x, size_t n, int8_t *q, int32_t *sum);

/* The scale of a position's values is 2^exponent, so that weights can take it into their own exponents. */
typedef struct {
    float exponent; /* a multiple of 1/8, at least -24 */
    float inverse;  /* 2^-exponent */
} llk_value_scale;

/* The same as llk_to_bytes, by the least scale of this kind. */
llk_value_scale llk_values_to_bytes(const float *x, size_t n, int8_t *q);

/* The keys and values of `piece` positions of a head; t counts positions within the piece. The rest of last quads may
 * be anything. */
typedef struct {
    const uint8_t *keys;     /* [ceil(dim / 4), piece, 4]: 128 + key[t, i] is at [i / 4, t, i % 4] */
    const float *key_scales; /* [piece] */
    const int8_t *values;    /* [ceil(piece / 4), dim, 4]: value[t, d] is at [t / 4, d, t % 4] */
    const float *exponents;  /* [piece], of the scales of the values */
} llk_byte_piece;

typedef struct {
    const int8_t *q; /* [ceil(dim / 4) * 4]; the rest of the last quad is zeros */
    float factor;
    int32_t offset; /* -128 sum q */
} llk_byte_query;

typedef struct {
    /* out[r, t] = fma((sum_i q[r, i] key[t, i]) * key_scale[t], factor[r], exponent[t])   for r < rows, t < count
     * out: f32 [rows, ldo >= count]. `next` is a hint: so many bytes from there on are prefetched. */
    void (*scores)(const llk_byte_query *queries, size_t rows, const llk_byte_piece *keys, size_t piece, size_t dim,
                   size_t count, float *out, size_t ldo, const void *next, size_t next_bytes);

    /* w = llk_exp2f(x[i] - m); e[i] = 255 w, rounded to nearest even; *sum = the lane-sum of w inverses[i], by one
     * fused multiply-add each; n >= 1 elements. m is the largest x[i] (NaN aside), *max. */
    void (*weights)(const float *x, const float *inverses, size_t n, float *max, uint8_t *e, float *sum);

    /* out[r, d] = fma(sum_t e[r, t] value[t, d], factors[r], out[r, d])   for r < rows, d < dim, over t < terms
     * e: u8 [rows, lde >= terms];  pieces: [ceil(terms / piece)], with positions one after another;
     * out: f32 [rows, ldo >= dim]. */
    void (*weighted_sum)(const uint8_t *e, size_t lde, size_t rows, const llk_byte_piece *pieces, size_t piece,
                         size_t terms, size_t dim, const float *factors, float *out, size_t ldo);
} llk_byte_attention_kernels;

/* Returns the kernels of an implementation, or NULL where llk_get does. All but AVX-512 with its instructions for
 * integers get the portable ones. */
const llk_byte_attention_kernels *llk_get_byte_attention(llk_isa isa);

#endif
