/* byte_attention.c - the reference implementation of byte_attention.h, and the conversions, which all share. */
#include "byte_attention.h"

#include "attention.h"
#include "tables.h"

#include <math.h>

#define TARGET
#include "templates/quantisation.inc"

static float largest_magnitude(const float *x, size_t n) {
    uint32_t max = 0;
    for (size_t i = 0; i < n; i++) max = larger(max, llk_load(x, i));
    return magnitude(max);
}

float llk_to_bytes(const float *x, size_t n, int8_t *q, int32_t *sum) {
    const float max = largest_magnitude(x, n), inverse = max > 0 ? 127 / max : 0;
    *sum = 0;
    for (size_t i = 0; i < n; i++) {
        q[i] = inverse > 0 ? (int8_t)nearest_int(llk_load(x, i) * inverse) : 0;
        *sum += q[i];
    }
    return max / 127;
}

llk_value_scale llk_values_to_bytes(const float *x, size_t n, int8_t *q) {
    static const float eighths[] = {1,
                                    0x1.172b84p+0f,
                                    0x1.306fep+0f,
                                    0x1.4bfdaep+0f, /* 2^(i / 8) */
                                    0x1.6a09e6p+0f,
                                    0x1.8ace54p+0f,
                                    0x1.ae89fap+0f,
                                    0x1.d5818ep+0f};
    const float max = largest_magnitude(x, n), least = max > 0x1p-24f * 127 ? max / 127 : 0x1p-24f;
    llk_value_scale scale = {max, max};
    if (max != max) { /* NaN */
        for (size_t i = 0; i < n; i++) q[i] = 0;
        return scale;
    }
    int power = 0, eighth = 0;
    const float fraction = 2 * frexpf(least, &power); /* least = fraction 2^(power - 1), 1 <= fraction < 2 */
    power--;
    while (eighth < 8 && eighths[eighth] < fraction) eighth++;
    if (eighth == 8) {
        eighth = 0;
        power++;
    }
    scale.exponent = (float)power + (float)eighth / 8;
    scale.inverse = ldexpf(1 / eighths[eighth], -power);
    for (size_t i = 0; i < n; i++) q[i] = (int8_t)nearest_int(llk_load(x, i) * scale.inverse);
    return scale;
}

static void scores(const llk_byte_query *queries, size_t rows, const llk_byte_piece *keys, size_t piece, size_t dim,
                   size_t count, float *out, size_t ldo, const void *next, size_t next_bytes) {
    (void)next, (void)next_bytes;
    for (size_t r = 0; r < rows; r++)
        for (size_t t = 0; t < count; t++) {
            int32_t sum = queries[r].offset;
            for (size_t i = 0; i < dim; i++) sum += queries[r].q[i] * keys->keys[(i / 4 * piece + t) * 4 + i % 4];
            const float scaled = (float)sum * llk_load(keys->key_scales, t);
            llk_store(out, r * ldo + t, fmaf(scaled, queries[r].factor, llk_load(keys->exponents, t)));
        }
}

static void weights(const float *x, const float *inverses, size_t n, float *max, uint8_t *e, float *sum) {
    float largest = -INFINITY, lanes[16] = {0};
    for (size_t i = 0; i < n; i++)
        if (llk_load(x, i) > largest) largest = llk_load(x, i);
    for (size_t i = 0; i < n; i++) {
        const float weight = llk_exp2f(llk_load(x, i) - largest);
        e[i] = (uint8_t)nearest_int(weight * 255);
        lanes[i % 16] = fmaf(weight, llk_load(inverses, i), lanes[i % 16]);
    }
    llk_store(max, 0, largest);
    llk_store(sum, 0, llk_sum_of_lanes(lanes));
}

static void weighted_sum(const uint8_t *e, size_t lde, size_t rows, const llk_byte_piece *pieces, size_t piece,
                         size_t terms, size_t dim, const float *factors, float *out, size_t ldo) {
    for (size_t r = 0; r < rows; r++)
        for (size_t d = 0; d < dim; d++) {
            int32_t sum = 0;
            for (size_t t = 0; t < terms; t++) {
                const size_t within = t % piece;
                sum += e[r * lde + t] * pieces[t / piece].values[(within / 4 * dim + d) * 4 + within % 4];
            }
            llk_store(out, r * ldo + d, fmaf((float)sum, llk_load(factors, r), llk_load(out, r * ldo + d)));
        }
}

const llk_byte_attention_kernels llk_byte_attention_portable = {scores, weights, weighted_sum};
