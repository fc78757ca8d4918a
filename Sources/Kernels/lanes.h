/* lanes.h - every kernel but the matrix product, written once over the 16 lanes of groups.h. A file for an instruction set
 * includes it after it has defined, beside what that needs:
 *
 *   v16_widen(p, dtype, i), v16_widen_part(p, dtype, i, count)
 *   WS_QUERIES, WS_VECTORS (even)      the tile of weighted_sum: accumulators that fit the registers
 */
#ifndef LLADA_KERNELS_LANES_H
#define LLADA_KERNELS_LANES_H

#include "groups.h"

TARGET static void rms_norm(const float *x, const float *weight, size_t n, float eps, float *y) {
    v16 sum = v16_set1(0);
    for (size_t i = 0; i < n; i += 16) {
        v16 v = load_group(x, i, n, 0);
        sum = v16_fma(v, v, sum);
    }
    float mean = v16_sum(sum) / (float)n;
    v16 scale = v16_set1(1.0f / sqrtf(mean + eps));
    for (size_t i = 0; i < n; i += 16)
        store_group(y, i, n, v16_mul(v16_mul(load_group(x, i, n, 0), scale), load_group(weight, i, n, 0)));
}

TARGET static void silu_mul(float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        v16 z = load_group(gate, i, n, 0);
        v16 e = v16_exp(v16_mul(z, v16_set1(-1))); /* exactly -z */
        v16 silu = v16_div(z, v16_add(v16_set1(1), e));
        store_group(gate, i, n, v16_mul(silu, load_group(up, i, n, 0)));
    }
}

TARGET static void softmax(float *x, size_t n, float scale, float *max, float *sum) {
    for (size_t i = 0; i < n; i += 16) store_group(x, i, n, v16_mul(load_group(x, i, n, 0), v16_set1(scale)));
    const float most = maximum(x, n);
    v16 total = v16_set1(0);
    for (size_t i = 0; i < n; i += 16) {
        /* absent lanes: 0 (or all is NaN anyway) */
        v16 e = v16_exp(v16_sub(load_group(x, i, n, -INFINITY), v16_set1(most)));
        store_group(x, i, n, e);
        total = v16_add(total, e);
    }
    const float all = v16_sum(total);
    llk_store(max, 0, most);
    llk_store(sum, 0, all);
    v16 inverse = v16_set1(1.0f / all);
    for (size_t i = 0; i < n; i += 16) store_group(x, i, n, v16_mul(load_group(x, i, n, 0), inverse));
}

TARGET static size_t argmax_sum_exp(const float *x, size_t n, float *sum_exp) {
    float max = maximum(x, n);
    size_t best = 0;
    if (max > -INFINITY)
        for (size_t i = 0; i < n; i += 16) {
            unsigned hits = v16_equal(load_group(x, i, n, -INFINITY), v16_set1(max));
            if (hits) {
                best = i + (size_t)__builtin_ctz(hits);
                break;
            }
        }
    v16 sum = v16_set1(0);
    for (size_t i = 0; i < n; i += 16)
        sum = v16_add(sum, v16_exp(v16_sub(load_group(x, i, n, -INFINITY), v16_set1(max))));
    llk_store(sum_exp, 0, v16_sum(sum));
    return best;
}

TARGET static void axpy(float a, const float *x, size_t n, float *y) {
    for (size_t i = 0; i < n; i += 16)
        store_group(y, i, n, v16_fma(v16_set1(a), load_group(x, i, n, 0), load_group(y, i, n, 0)));
}

VEC_FN void widen_all(const void *in, llk_dtype dtype, size_t n, float *out) {
    size_t i = 0;
    for (; n - i >= 16; i += 16) v16_store(out + i, v16_widen(in, dtype, i));
    if (i < n) v16_store_part(out + i, n - i, v16_widen_part(in, dtype, i, n - i));
}

TARGET static void to_f32(const void *in, llk_dtype dtype, size_t n, float *out) {
    switch (dtype) {
    case LLK_F32: llk_copy(out, in, 4 * n); break;
    case LLK_F16: widen_all(in, LLK_F16, n, out); break;
    case LLK_BF16: widen_all(in, LLK_BF16, n, out); break;
    }
}

/* out[0 .. queries) x [0 .. 16 vectors) += p v over a run of keys; count < 16 only with one vector. */
VEC_FN void sum_tile(const float *p, size_t ldp, const int queries, const float *v, size_t ldv, size_t keys,
                     const int vectors, size_t count, float *out, size_t ldo, bool accumulate) {
    v16 acc[2 * WS_QUERIES][WS_VECTORS];
    UNROLL for (int q = 0; q < queries; q++)
        UNROLL for (int d = 0; d < vectors; d++)
            acc[q][d] = accumulate ? load_group(out + (size_t)q * ldo, 16 * (size_t)d, count, 0) : v16_set1(0);
    for (size_t t = 0; t < keys; t++) {
        v16 row[WS_VECTORS];
        UNROLL for (int d = 0; d < vectors; d++) row[d] = load_group(v + t * ldv, 16 * (size_t)d, count, 0);
        UNROLL for (int q = 0; q < queries; q++) {
            v16 weight = v16_set1(llk_load(p, (size_t)q * ldp + t));
            UNROLL for (int d = 0; d < vectors; d++) acc[q][d] = v16_fma(weight, row[d], acc[q][d]);
        }
    }
    UNROLL for (int q = 0; q < queries; q++)
        UNROLL for (int d = 0; d < vectors; d++)
            store_group(out + (size_t)q * ldo, 16 * (size_t)d, count, acc[q][d]);
}

/* A stripe of out, all queries: the run of v it reads stays in L1 meanwhile. */
VEC_FN void sum_stripe(const float *p, size_t ldp, size_t queries, const int at_once, const float *v, size_t ldv,
                       size_t keys, const int vectors, size_t count, float *out, size_t ldo, bool accumulate) {
    size_t q = 0;
    for (; queries - q >= (size_t)at_once; q += (size_t)at_once)
        sum_tile(p + q * ldp, ldp, at_once, v, ldv, keys, vectors, count, out + q * ldo, ldo, accumulate);
    for (; q < queries; q++)
        sum_tile(p + q * ldp, ldp, 1, v, ldv, keys, vectors, count, out + q * ldo, ldo, accumulate);
}

TARGET static void weighted_sum(const float *p, size_t ldp, size_t queries, const float *v, size_t ldv, size_t keys,
                                size_t dim, float *out, size_t ldo, bool accumulate) {
    enum { RUN = 64, WIDE = 16 * WS_VECTORS, HALF = WS_VECTORS / 2 };
    for (size_t t = 0; t == 0 || t < keys; t += RUN) { /* once even without keys: out is set to 0 */
        size_t run = llk_min(RUN, keys - t), d = 0;
        bool onward = accumulate || t > 0;
        for (; dim - d >= WIDE; d += WIDE)
            sum_stripe(p + t, ldp, queries, WS_QUERIES, v + t * ldv + d, ldv, run, WS_VECTORS, WIDE, out + d, ldo, onward);
        for (; dim - d >= 16 * HALF; d += 16 * HALF) /* half as wide, for twice as many queries */
            sum_stripe(p + t, ldp, queries, 2 * WS_QUERIES, v + t * ldv + d, ldv, run, HALF, 16 * HALF, out + d, ldo, onward);
        for (; d < dim; d += 16)
            sum_stripe(p + t, ldp, queries, WS_QUERIES, v + t * ldv + d, ldv, run, 1, llk_min(16, dim - d), out + d, ldo,
                       onward);
    }
}

#endif
