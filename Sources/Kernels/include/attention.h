/*
 * attention.h - what attention over keys and values in bf16 takes: the sums, which serve scores and results alike, and
 * the exponentials between them.
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
     * With `accumulate`, goes on from what out holds instead of +0.
     *
     * For each pair: y = fma(p1, v1, y); y = fma(p0, v0, y), where denormal operands and results become zero
     * (packed.h). The second half of an odd last pair counts as zeros in both: of p it is not read, and of v it may
     * hold anything.
     *
     * `next`: the v of a call to come, of the same size, which is fetched into the cache meanwhile. A hint; may be
     * NULL. */
    void (*weighted_sum)(const uint16_t *p, size_t ldp, size_t queries, const uint16_t *v, size_t ldv, size_t terms,
                         size_t dim, float *out, size_t ldo, bool accumulate, const void *next);

    /* e[i] = exp(x[i] * scale - m) rounded to bf16, *sum = the lane-sum of these before they are rounded; n >= 1
     * elements. m = the largest of *max and of all x[i] * scale (NaN aside), and then the new *max.
     * x[i] * scale is rounded before m is taken off, so that no exponent is above 0. scale > 0; exp is llk_expf. */
    void (*exponentials)(const float *x, size_t n, float scale, float *max, uint16_t *e, float *sum);
} llk_attention_kernels;

/* The kernels of an implementation; NULL where llk_get is. AVX-512 without its instructions for bf16: as AVX2. */
const llk_attention_kernels *llk_get_attention(llk_isa isa);

#endif
