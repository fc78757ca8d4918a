/* attend.h - the kernels of attention.h, written once over 16 lanes. A file includes it after it has defined what groups.h
 * and block_bf16.h need, and
 *
 *   AT_QUERIES, AT_VECTORS    the tile of weighted_sum: accumulators that fit the registers
 *   v16_store_bf16(p, v)      rounded to nearest even, where v is no denormal
 */
#ifndef LLADA_KERNELS_ATTEND_H
#define LLADA_KERNELS_ATTEND_H

#include "attention.h"
#include "groups.h"
#include "steps.h"

/* Pairs of 16 columns; of the first `count` alone, and the first of each pair alone with zeros beside. */
VEC_FN w_bf16 load_pairs(const char *v, size_t count) {
    if (count >= 16) return load_bf16(v);
    uint32_t lanes[16] = {0};
    llk_copy(lanes, v, 4 * count);
    return load_bf16((const char *)lanes);
}

VEC_FN w_bf16 load_firsts(const char *v, size_t count) {
    uint32_t lanes[16] = {0};
    llk_copy(lanes, v, 4 * llk_min(count, 16));
    for (size_t i = 0; i < 16; i++) lanes[i] &= 0xffff;
    return load_bf16((const char *)lanes);
}

/* What is fetched meanwhile, a line of the cache at a time. */
typedef struct {
    const char *next, *end;
} ahead;

/* out[0 .. queries) x [0 .. 16 vectors) += p v; count < 16 only with one vector.  Strides in bytes. */
VEC_FN void pairs_tile(const char *p, size_t ldp, const int queries, const char *v, size_t ldv, size_t terms,
                       const int vectors, size_t count, char *out, size_t ldo, bool accumulate, ahead *to_come) {
    v16 acc[AT_QUERIES][AT_VECTORS];
    UNROLL for (int q = 0; q < queries; q++)
        UNROLL for (int d = 0; d < vectors; d++)
            acc[q][d] = accumulate ? load_group((const float *)(out + (size_t)q * ldo), 16 * (size_t)d, count, 0) : v16_set1(0);
    for (size_t t = 0; t < terms / 2; t++) {
        if (to_come->next < to_come->end) to_come->next = fetch(to_come->next, 1);
        w_bf16 row[AT_VECTORS];
        UNROLL for (int d = 0; d < vectors; d++) row[d] = load_pairs(v + t * ldv + 64 * d, count);
        UNROLL for (int q = 0; q < queries; q++) {
            x_bf16 weight = set1_bf16(p + (size_t)q * ldp + 4 * t);
            UNROLL for (int d = 0; d < vectors; d++) acc[q][d] = dot_bf16(acc[q][d], row[d], weight);
        }
    }
    if (terms % 2 == 1) {
        w_bf16 row[AT_VECTORS];
        UNROLL for (int d = 0; d < vectors; d++) row[d] = load_firsts(v + terms / 2 * ldv + 64 * d, count);
        UNROLL for (int q = 0; q < queries; q++) {
            uint32_t first = 0;
            llk_copy(&first, p + (size_t)q * ldp + 2 * (terms - 1), 2);
            x_bf16 weight = set1_bf16((const char *)&first);
            UNROLL for (int d = 0; d < vectors; d++) acc[q][d] = dot_bf16(acc[q][d], row[d], weight);
        }
    }
    UNROLL for (int q = 0; q < queries; q++)
        UNROLL for (int d = 0; d < vectors; d++)
            store_group((float *)(out + (size_t)q * ldo), 16 * (size_t)d, count, acc[q][d]);
}

VEC_FN void pairs_stripe(const char *p, size_t ldp, size_t queries, const char *v, size_t ldv, size_t terms,
                         const int vectors, size_t count, char *out, size_t ldo, bool accumulate, ahead *to_come) {
    size_t q = 0;
    for (; queries - q >= AT_QUERIES; q += AT_QUERIES)
        pairs_tile(p + q * ldp, ldp, AT_QUERIES, v, ldv, terms, vectors, count, out + q * ldo, ldo, accumulate, to_come);
    for (; q < queries; q++)
        pairs_tile(p + q * ldp, ldp, 1, v, ldv, terms, vectors, count, out + q * ldo, ldo, accumulate, to_come);
}

TARGET static void weighted_sum_bf16(const uint16_t *p, size_t ldp, size_t queries, const uint16_t *v, size_t ldv,
                                     size_t terms, size_t dim, float *out, size_t ldo, bool accumulate,
                                     const void *next) {
    enum { WIDE = 16 * AT_VECTORS };
    const char *weights = (const char *)p, *values = (const char *)v;
    char *sums = (char *)out;
    ahead to_come = {next, next};
    if (next) to_come.end += 4 * ldv * (terms / 2);
    const fp_state state = flush_denormals();
    size_t d = 0;
    for (; dim - d >= WIDE; d += WIDE)
        pairs_stripe(weights, 2 * ldp, queries, values + 4 * d, 4 * ldv, terms, AT_VECTORS, WIDE, sums + 4 * d, 4 * ldo,
                     accumulate, &to_come);
    for (; d < dim; d += 16)
        pairs_stripe(weights, 2 * ldp, queries, values + 4 * d, 4 * ldv, terms, 1, llk_min(16, dim - d), sums + 4 * d, 4 * ldo,
                     accumulate, &to_come);
    restore(state);
}

/* exp(x scale - most), which is no more than 1. */
VEC_FN v16 below(v16 x, float scale, float most) {
    return v16_exp_bounded(v16_sub(v16_mul(x, v16_set1(scale)), v16_set1(most)));
}

TARGET static void exponentials(const float *x, size_t n, float scale, float *max, uint16_t *e, float *sum) {
    const float most = maximum(x, n) * scale, before = llk_load(max, 0), largest = most > before ? most : before;
    v16 total = v16_set1(0);
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        const v16 weight = below(v16_load(x + i), scale, largest);
        v16_store_bf16((char *)e + 2 * i, weight);
        total = v16_add(total, weight);
    }
    if (i < n) { /* absent lanes: 0 */
        const v16 weight = below(v16_load_part(x + i, n - i, -INFINITY), scale, largest);
        uint16_t lanes[16];
        v16_store_bf16((char *)lanes, weight);
        llk_copy((char *)e + 2 * i, lanes, 2 * (n - i));
        total = v16_add(total, weight);
    }
    llk_store(max, 0, largest);
    llk_store(sum, 0, v16_sum(total));
}

#define ATTENTION_KERNELS(table) const llk_attention_kernels table = {weighted_sum_bf16, exponentials};

#endif
