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
     * v: bf16 [ceil(terms / 2), ldv >= dim, 2], so that v[t, d] is at [t / 2, d, t % 2];
     * out: f32 [queries, ldo >= dim].
     * With `accumulate`, each sum continues from the value in out instead of +0.
     *
     * For each pair: y = fma(p1, v1, y); y = fma(p0, v0, y), where denormal operands and results become zero
     * (packed.h). The second half of an odd last pair counts as zero in both: it is not read from p, and v may hold
     * anything there.
     *
     * `next` is a hint, which may be NULL: the v of a later call, of the same size, which is prefetched. */
    void (*weighted_sum)(const uint16_t *p, size_t ldp, size_t queries, const uint16_t *v, size_t ldv, size_t terms,
                         size_t dim, float *out, size_t ldo, bool accumulate, const void *next);

    /* e[i] = exp(x[i] * scale - m) rounded to bf16; *sum = the lane-sum of these before they are rounded; n >= 1
     * elements. m is the largest of *max and of all x[i] * scale (NaN aside), and becomes the new *max. x[i] * scale is
     * rounded before m is subtracted, so that no exponent is above 0. scale > 0; exp is llk_expf. */
    void (*exponentials)(const float *x, size_t n, float scale, float *max, uint16_t *e, float *sum);
} llk_attention_kernels;

/* Returns the kernels of an implementation, or NULL where llk_get does. AVX-512 without its instructions for bf16 gets
 * those of AVX2, and NEON without its dot products the portable ones. */
const llk_attention_kernels *llk_get_attention(llk_isa isa);

#endif
