/* attention.c - the reference implementation of attention.h. The other implementations must give the same bits. */
#include "attention.h"
#include "exp_constants.h"
#include "flushing_fma.h"
#include "numbers.h"
#include "tables.h"

static void weighted_sum_bf16(const uint16_t *p, size_t ldp, size_t queries, const uint16_t *const *v, size_t ldv,
                              size_t piece, size_t terms, size_t dim, float *out, size_t ldo, bool accumulate,
                              const void *next, size_t next_bytes) {
    (void)next, (void)next_bytes;
    for (size_t q = 0; q < queries; q++)
        for (size_t d = 0; d < dim; d++) {
            float sum = accumulate ? llk_load(out, q * ldo + d) : 0;
            for (size_t first = 0; first < terms; first += piece) {
                const size_t count = llk_min(piece, terms - first);
                for (size_t t = 0; t < count; t += 2) {
                    uint16_t weights[2] = {0}, values[2] = {0};
                    const size_t bytes = 2 * llk_min(2, count - t);
                    llk_copy(weights, (const char *)p + 2 * (q * ldp + first + t), bytes);
                    llk_copy(values, (const char *)v[first / piece] + 4 * (t / 2 * ldv + d), bytes);
                    sum = flushing_fma(llk_from_bf16(weights[1]), llk_from_bf16(values[1]), sum);
                    sum = flushing_fma(llk_from_bf16(weights[0]), llk_from_bf16(values[0]), sum);
                }
            }
            llk_store(out, q * ldo + d, sum);
        }
}

float llk_exp2f(float x) {
    if (!(x >= EXP2_LOWEST)) return x < EXP2_LOWEST ? 0 : x;
    const float n = rintf(x), r = x - n;
    float p = fmaf(EXP2_C4, r, EXP2_C3);
    p = fmaf(p, r, EXP2_C2);
    p = fmaf(p, r, EXP2_C1);
    p = fmaf(p, r, 1);
    return ldexpf(p, (int)n);
}

static void exponentials(const float *x, size_t n, float scale, float *max, uint16_t *e, float *sum) {
    float largest = llk_load(max, 0);
    for (size_t i = 0; i < n; i++) {
        const float scaled = llk_load(x, i) * scale;
        if (scaled > largest) largest = scaled;
    }
    float lanes[16] = {0};
    for (size_t i = 0; i < n; i++) {
        const float weight = llk_exp2f(llk_load(x, i) * scale - largest);
        const uint16_t half = llk_to_bf16(weight);
        llk_copy((char *)e + 2 * i, &half, sizeof half);
        lanes[i % 16] += weight;
    }
    llk_store(max, 0, largest);
    llk_store(sum, 0, llk_sum_of_lanes(lanes));
}

const llk_attention_kernels llk_attention_portable = {weighted_sum_bf16, exponentials};
