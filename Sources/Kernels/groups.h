/* groups.h - "16 lanes" and what every kernel over them takes: groups of an array, exp, the maximum. A file for an
 * instruction set includes it after it has defined:
 *
 *   v16                                16 floats: one register, or two
 *   v16_set1, _add, _sub, _mul, _div
 *   v16_fma(a, b, c), v16_fnma(a, b, c)   a b + c and c - a b, rounded once
 *   v16_max(a, b)                      b where either is NaN
 *   v16_round                          to nearest, ties to even
 *   v16_ldexp(p, n)                    p * 2^n rounded once, n integral in [-126, 128], anything otherwise
 *   v16_zero_below(v, x, limit)        +0 where x < limit, else v
 *   v16_inf_above(v, x, limit)         +inf where x > limit, else v
 *   v16_equal(a, b)                    bit j set where lane j is equal
 *   v16_load(p)                        unaligned
 *   v16_load_part(p, count, fill)      the first count lanes, the others fill; touches no memory beyond them
 *   v16_store(p, v), v16_store_part(p, count, v)
 *   v16_sum(v)                         the tree of kernels.h
 *   TARGET                             the attribute that lets a function use these
 */
#ifndef LLADA_KERNELS_GROUPS_H
#define LLADA_KERNELS_GROUPS_H

#include <math.h>

/* i-th group of 16 out of n: whole, or what is left. */
VEC_FN v16 load_group(const float *x, size_t i, size_t n, float fill) {
    return n - i >= 16 ? v16_load(x + i) : v16_load_part(x + i, n - i, fill);
}

VEC_FN void store_group(float *x, size_t i, size_t n, v16 v) {
    if (n - i >= 16)
        v16_store(x + i, v);
    else
        v16_store_part(x + i, n - i, v);
}

/* llk_expf of x <= EXP_HIGHEST, lane by lane. Where x is out of range the polynomial gives nonsense that is then replaced;
 * NaN stays. */
VEC_FN v16 v16_exp_bounded(v16 x) {
    v16 n = v16_round(v16_mul(x, v16_set1(EXP_LOG2E)));
    v16 r = v16_fnma(n, v16_set1(EXP_LN2_HIGH), x);
    r = v16_fnma(n, v16_set1(EXP_LN2_LOW), r);
    v16 p = v16_set1(EXP_C6);
    p = v16_fma(p, r, v16_set1(EXP_C5));
    p = v16_fma(p, r, v16_set1(EXP_C4));
    p = v16_fma(p, r, v16_set1(EXP_C3));
    p = v16_fma(p, r, v16_set1(EXP_C2));
    p = v16_fma(p, r, v16_set1(1));
    p = v16_fma(p, r, v16_set1(1));
    p = v16_ldexp(p, n);
    return v16_zero_below(p, x, EXP_LOWEST);
}

/* llk_expf of any x. */
VEC_FN v16 v16_exp(v16 x) { return v16_inf_above(v16_exp_bounded(x), x, EXP_HIGHEST); }

/* The largest lane; lanes hold no NaN, so the order does not matter. */
VEC_FN float largest(v16 v) {
    float lanes[16];
    v16_store(lanes, v);
    float max = lanes[0];
    for (int j = 1; j < 16; j++) max = lanes[j] > max ? lanes[j] : max;
    return max;
}

/* The maximum of x over n >= 1 elements; -inf where all are NaN. Two chains, to hide the latency. */
TARGET static float maximum(const float *x, size_t n) {
    v16 a = v16_set1(-INFINITY), b = a;
    size_t i = 0;
    for (; n - i >= 32; i += 32) {
        a = v16_max(v16_load(x + i), a);
        b = v16_max(v16_load(x + i + 16), b);
    }
    for (; i < n; i += 16) a = v16_max(load_group(x, i, n, -INFINITY), a);
    return largest(v16_max(a, b));
}

#endif
