/* kernels.c - the reference implementation of kernels.h, in plain C that any compiler takes. The other implementations
 * must give the same bits. */
#include "exp_constants.h"
#include "numbers.h"
#include "tables.h"

#include <float.h>
#include <math.h>

static float load(const void *p, llk_dtype dtype, size_t i) {
    if (dtype == LLK_F32) return llk_load(p, i);
    uint16_t h;
    llk_copy(&h, (const char *)p + 2 * i, sizeof h);
    return dtype == LLK_F16 ? llk_from_f16(h) : llk_from_bf16(h);
}

static void matmul(const float *x, size_t ldx, size_t rows, const void *w, llk_dtype dtype, size_t inner, size_t first,
                   size_t last, float *y, size_t ldy) {
    for (size_t r = 0; r < rows; r++)
        for (size_t o = first; o < last; o++) {
            float lanes[16] = {0};
            for (size_t k = 0; k < inner; k++)
                lanes[k % 16] = fmaf(llk_load(x, r * ldx + k), load(w, dtype, o * inner + k), lanes[k % 16]);
            llk_store(y, r * ldy + o, llk_sum_of_lanes(lanes));
        }
}

static void weighted_sum(const float *p, size_t ldp, size_t queries, const float *v, size_t ldv, size_t keys,
                         size_t dim, float *out, size_t ldo, bool accumulate) {
    for (size_t q = 0; q < queries; q++)
        for (size_t d = 0; d < dim; d++) {
            float sum = accumulate ? llk_load(out, q * ldo + d) : 0;
            for (size_t t = 0; t < keys; t++) sum = fmaf(llk_load(p, q * ldp + t), llk_load(v, t * ldv + d), sum);
            llk_store(out, q * ldo + d, sum);
        }
}

static void rms_norm(const float *x, const float *weight, size_t n, float eps, float *y) {
    float lanes[16] = {0};
    for (size_t i = 0; i < n; i++) lanes[i % 16] = fmaf(llk_load(x, i), llk_load(x, i), lanes[i % 16]);
    float mean = llk_sum_of_lanes(lanes) / (float)n;
    float scale = 1.0f / sqrtf(mean + eps);
    for (size_t i = 0; i < n; i++) llk_store(y, i, llk_load(x, i) * scale * llk_load(weight, i));
}

static void silu_mul(float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float z = llk_load(gate, i);
        llk_store(gate, i, z / (1.0f + llk_expf(-z)) * llk_load(up, i));
    }
}

static void sigmoid(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) llk_store(x, i, 1 / (1 + llk_expf(-llk_load(x, i))));
}

static void softmax(float *x, size_t n, float scale, float *max, float *sum) {
    float largest = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        float scaled = llk_load(x, i) * scale;
        llk_store(x, i, scaled);
        if (scaled > largest) largest = scaled;
    }
    float lanes[16] = {0};
    for (size_t i = 0; i < n; i++) {
        float e = llk_expf(llk_load(x, i) - largest);
        llk_store(x, i, e);
        lanes[i % 16] += e;
    }
    llk_store(max, 0, largest);
    llk_store(sum, 0, llk_sum_of_lanes(lanes));
    float inverse = 1.0f / llk_load(sum, 0);
    for (size_t i = 0; i < n; i++) llk_store(x, i, llk_load(x, i) * inverse);
}

static size_t argmax_sum_exp(const float *x, size_t n, float *sum_exp) {
    size_t best = 0;
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (llk_load(x, i) > max) {
            max = llk_load(x, i);
            best = i;
        }
    float lanes[16] = {0};
    for (size_t i = 0; i < n; i++) lanes[i % 16] += llk_expf(llk_load(x, i) - max);
    llk_store(sum_exp, 0, llk_sum_of_lanes(lanes));
    return best;
}

static void axpy(float a, const float *x, size_t n, float *y) {
    for (size_t i = 0; i < n; i++) llk_store(y, i, fmaf(a, llk_load(x, i), llk_load(y, i)));
}

static bool temper(const float *x, size_t n, float temperature, float *y, float *smallest, float *largest) {
    float least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        const float v = llk_load(x, i);
        if (!(v < INFINITY)) return false;
        float z = v / temperature;
        if (z > FLT_MAX) z = FLT_MAX;
        if (z < -FLT_MAX && v >= -FLT_MAX) z = -FLT_MAX;
        llk_store(y, i, z);
        if (z < least) least = z;
        if (z > most) most = z;
    }
    llk_store(smallest, 0, least);
    llk_store(largest, 0, most);
    return true;
}

static uint64_t weigh(const float *z, size_t n, float largest, float floor, uint64_t *weights) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        const float v = llk_load(z, i);
        weights[i] = v < floor ? 0 : (uint64_t)nearbyint((double)llk_expf(v - largest) * 0x1p41);
        sum += weights[i];
    }
    return sum;
}

static size_t find(const float *z, size_t n, float largest, float density, float begin, float end, int32_t *indices) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const float place = (largest - llk_load(z, i)) * density;
        if (place >= begin && !(place >= end)) indices[found++] = (int32_t)i;
    }
    return found;
}

static void to_f32(const void *in, llk_dtype dtype, size_t n, float *out) {
    if (dtype == LLK_F32) { /* bits are copied, so that a signalling NaN passes unchanged */
        llk_copy(out, in, 4 * n);
        return;
    }
    for (size_t i = 0; i < n; i++) llk_store(out, i, load(in, dtype, i));
}

const llk_kernels llk_table_portable = {
    matmul, weighted_sum, rms_norm, silu_mul, sigmoid, softmax, argmax_sum_exp, axpy, temper, weigh, find, to_f32,
};

float llk_expf(float x) {
    if (x != x) return x;
    if (x < EXP_LOWEST) return 0;
    if (x > EXP_HIGHEST) return INFINITY;
    float n = nearbyintf(x * EXP_LOG2E);
    float r = fmaf(-n, EXP_LN2_HIGH, x);
    r = fmaf(-n, EXP_LN2_LOW, r);
    float p = EXP_C6;
    p = fmaf(p, r, EXP_C5);
    p = fmaf(p, r, EXP_C4);
    p = fmaf(p, r, EXP_C3);
    p = fmaf(p, r, EXP_C2);
    p = fmaf(p, r, 1);
    p = fmaf(p, r, 1);
    /* 2^n alone may not be a float (n goes to 128). Two factors that are floats are used, so that only the last step
     * rounds. */
    int whole = (int)n, half = whole / 2;
    return p * llk_float((uint32_t)(127 + half) << 23) * llk_float((uint32_t)(127 + whole - half) << 23);
}

void llk_f32_to_bf16(const float *in, size_t n, uint16_t *out) {
    for (size_t i = 0; i < n; i++) {
        uint16_t h = llk_to_bf16(llk_load(in, i));
        llk_copy((char *)out + 2 * i, &h, sizeof h);
    }
}
