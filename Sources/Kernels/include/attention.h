/*
 * attention.h - the kernels of attention over keys and values in bf16: the sums, which serve scores and results alike,
 * and the exponentials between them.
 *
 * THE SAME BITS, as in kernels.h, from every implementation, however queries and columns are split over calls.
 */
#ifndef LLADA_ATTENTION_H
#define LLADA_ATTENTION_H

#include "kernels.h"

typedef struct {
    /* out[q, d] = sum_t p[q, t] v[t, d]   over t < terms, by pairs of t, in increasing order, from +0
     * p: bf16 [queries, ldp >= terms];
     * v: [ceil(terms / piece)] addresses of pieces of `piece` terms, the last one of those that are left. A piece is
     * bf16 [ceil(piece / 2), ldv >= dim, 2]: v[t, d] is at [u / 2, d, u % 2] of piece t / piece, u being t % piece;
     * out: f32 [queries, ldo >= dim].
     * With `accumulate`, each sum continues from the value in out instead of +0.
     *
     * For each pair: y = fma(p1, v1, y); y = fma(p0, v0, y), where denormal operands and results become zero
     * (packed.h). The second half of an odd last pair of a piece counts as zero in both: it is not read from p, and v
     * may hold anything there.
     *
     * `next` is a hint: so many bytes from there on are prefetched, as far as the sum has steps to do it in. */
    void (*weighted_sum)(const uint16_t *p, size_t ldp, size_t queries, const uint16_t *const *v, size_t ldv,
                         size_t piece, size_t terms, size_t dim, float *out, size_t ldo, bool accumulate,
                         const void *next, size_t next_bytes);

    /* e[i] = llk_exp2f(x[i] * scale - m) rounded to bf16; *sum = the lane-sum of these before they are rounded; n >= 1
     * elements. m is the largest of *max and of all x[i] * scale (NaN aside), and becomes the new *max. x[i] * scale is
     * rounded before m is subtracted, so that no exponent is above 0. scale > 0. */
    void (*exponentials)(const float *x, size_t n, float scale, float *max, uint16_t *e, float *sum);
} llk_attention_kernels;

/* Returns the kernels of an implementation, or NULL where llk_get does. AVX-512 without its instructions for bf16 gets
 * those of AVX2, I8MM without them NEON's, and NEON without its dot products the portable ones. */
const llk_attention_kernels *llk_get_attention(llk_isa isa);

/* Returns 2^x for x <= 0 with a relative error below 2^-16, as weights that are rounded to bf16 need it: the definition
 * that every implementation follows. 2^0 is 1. The result is +0 for x < -126, and NaN for NaN. */
float llk_exp2f(float x);

#endif
