/* quantise.h - numbers to small integers and a scale, in plain C for the compiler to vectorise. Every step is one IEEE
 * operation or exact, so all implementations give the same bytes. A file includes it after it has defined TARGET. */
#ifndef LLADA_KERNELS_QUANTISE_H
#define LLADA_KERNELS_QUANTISE_H

#include "blocks.h"

/* A loop that shall become vectors; left alone, clang unrolls it into as many single steps. */
#if defined(__clang__)
#define VECTORISE _Pragma("clang loop vectorize(enable) unroll(disable)")
#else
#define VECTORISE
#endif

#define EACH_OUTPUT VECTORISE for (size_t o = 0; o < TILE; o++)

/* To the nearest integer, ties to even, for |f| <= 2^22: then f + 3 * 2^22 has no bits for a fraction. */
#define ROUNDER 0x1.8p23f
VEC_FN float nearest(float f) { return (f + ROUNDER) - ROUNDER; }
VEC_FN uint32_t nearest_int(float f) { return llk_bits(f + ROUNDER) - llk_bits(ROUNDER); }

/* The larger of the magnitudes of f and of a float with the bits max >= 0; of magnitudes as integers, the order is the
 * same, and NaN is above all. */
VEC_FN uint32_t larger(uint32_t max, float f) {
    const uint32_t bits = llk_bits(f) & 0x7fffffff;
    return bits > max ? bits : max;
}

/* The largest magnitude as what follows takes it: NaN unless all are finite; 0 if its inverse might not be. */
VEC_FN float magnitude(uint32_t max) {
    return max >= 0x7f800000 ? __builtin_nanf("") : max < llk_bits(0x1p-100f) ? 0 : llk_float(max);
}

/* A block of a row of x. */
VEC_FN float quantise_row(const float v[BLOCK], int8_t q[BLOCK]) {
    uint32_t bits = 0;
    VECTORISE for (size_t k = 0; k < BLOCK; k++) bits = larger(bits, v[k]);
    const float max = magnitude(bits), inverse = max > 0 ? 127 / max : 0;
    VECTORISE for (size_t k = 0; k < BLOCK; k++) q[k] = inverse > 0 ? (int8_t)nearest_int(v[k] * inverse) : 0;
    return max / 127;
}

/* A block of weights -> 128 + q, and the scales as bf16: rounded up, so that no q exceeds 127. */
VEC_FN void quantise_int8(const float v[BLOCK][TILE], uint8_t codes[BLOCK][TILE], uint16_t scales[TILE]) {
    uint32_t bits[TILE] = {0};
    float inverse[TILE];
    for (size_t k = 0; k < BLOCK; k++) EACH_OUTPUT bits[o] = larger(bits[o], v[k][o]);
    EACH_OUTPUT {
        const float max = magnitude(bits[o]);
        scales[o] = (uint16_t)((llk_bits(max / 127) + 0xffff) >> 16);
        inverse[o] = max > 0 ? 1 / llk_from_bf16(scales[o]) : 0;
    }
    for (size_t k = 0; k < BLOCK; k++)
        EACH_OUTPUT codes[k][o] = (uint8_t)(128 + (inverse[o] > 0 ? nearest_int(v[k][o] * inverse[o]) : 0));
}

VEC_FN float clamp_int4(float f) {
    f = f < -8 ? -8 : f;
    return f > 7 ? 7 : f;
}

/* Half a block of weights -> 8 + q, and the scales as bf16. The value of the largest magnitude becomes -8 or not far
 * from it: of a few scales the one is taken with which the squares of the errors add up to the least. For normally
 * distributed weights that takes 4 % off the error of -8 throughout. */
VEC_FN void quantise_int4(const float v[HALF][TILE], uint8_t codes[HALF][TILE], uint16_t scales[TILE]) {
    static const float levels[] = {-8, -7.5f, -7, -8.5f, -9};
    uint32_t bits[TILE] = {0};
    float extreme[TILE] = {0}, least[TILE], inverse[TILE];
    for (size_t k = 0; k < HALF; k++) EACH_OUTPUT {
            const float f = v[k][o], so_far = extreme[o];
            const uint32_t before = bits[o];
            bits[o] = larger(before, f);
            extreme[o] = bits[o] > before ? f : so_far;
        }
    EACH_OUTPUT {
        const float max = magnitude(bits[o]);
        extreme[o] = max > 0 ? extreme[o] : max;
        scales[o] = llk_to_bf16(extreme[o] / levels[0]);
        least[o] = __builtin_inff();
    }
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        float scale[TILE], loss[TILE] = {0};
        EACH_OUTPUT {
            scale[o] = llk_from_bf16(llk_to_bf16(extreme[o] / levels[i]));
            inverse[o] = 1 / scale[o];
        }
        for (size_t k = 0; k < HALF; k++) EACH_OUTPUT {
                const float error = v[k][o] - nearest(clamp_int4(v[k][o] * inverse[o])) * scale[o];
                loss[o] += error * error;
            }
        EACH_OUTPUT {
            const bool better = loss[o] < least[o];
            least[o] = better ? loss[o] : least[o];
            scales[o] = better ? (uint16_t)(llk_bits(scale[o]) >> 16) : scales[o];
        }
    }
    EACH_OUTPUT {
        const float scale = llk_from_bf16(scales[o]);
        inverse[o] = scale > 0 || scale < 0 ? 1 / scale : 0;
    }
    for (size_t k = 0; k < HALF; k++)
        EACH_OUTPUT codes[k][o] =
            (uint8_t)(8 + (inverse[o] > 0 || inverse[o] < 0 ? nearest_int(clamp_int4(v[k][o] * inverse[o])) : 0));
}

#endif
