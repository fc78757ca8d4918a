/* numbers.h - floats, their bits, bf16, f16, and the order in which 16 lanes are summed. */
#ifndef LLADA_KERNELS_NUMBERS_H
#define LLADA_KERNELS_NUMBERS_H

#include "compiler.h"
#include "kernels.h"

static inline size_t llk_size_of(llk_dtype dtype) { return dtype == LLK_F32 ? 4 : 2; }

static inline size_t llk_min(size_t a, size_t b) { return a < b ? a : b; }

/* Pointers may have any alignment, so numbers are copied, never dereferenced. They are copied through void *, because
 * from the type float * a compiler may conclude that the address is a multiple of 4. */
static inline void llk_copy(void *to, const void *from, size_t bytes) {
    if (bytes) __builtin_memcpy(to, from, bytes); /* for no bytes, a pointer may be NULL */
}

static inline float llk_load(const float *p, size_t i) {
    float f;
    llk_copy(&f, (const char *)p + 4 * i, sizeof f);
    return f;
}

static inline int32_t llk_load_int(const void *p) {
    int32_t i;
    llk_copy(&i, p, sizeof i);
    return i;
}

static inline void llk_store(float *p, size_t i, float f) { llk_copy((char *)p + 4 * i, &f, sizeof f); }

static inline uint32_t llk_bits(float f) {
    uint32_t bits;
    llk_copy(&bits, &f, sizeof bits);
    return bits;
}

static inline float llk_float(uint32_t bits) {
    float f;
    llk_copy(&f, &bits, sizeof f);
    return f;
}

static inline float llk_from_bf16(uint16_t h) { return llk_float((uint32_t)h << 16); }

/* sign(1) exponent(5, bias 15) fraction(10) -> sign(1) exponent(8, bias 127) fraction(23); always exact. */
static inline float llk_from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = (h >> 10) & 31, fraction = h & 1023;
    if (exponent == 31) {
        uint32_t quiet = fraction ? 0x400000 : 0; /* a signalling NaN becomes quiet, as in hardware */
        return llk_float(sign | 0x7f800000 | quiet | fraction << 13);
    }
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 */
        float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return llk_float(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

/* Rounds to nearest, ties to even. NaN stays NaN. */
static inline uint16_t llk_to_bf16(float f) {
    const uint32_t bits = llk_bits(f);
    const uint32_t even = bits + 0x7fff + (bits >> 16 & 1); /* half up, less one if the kept part is even */
    const bool nan = (bits & 0x7fffffff) > 0x7f800000;
    return (uint16_t)((nan ? bits | 0x400000 : even) >> 16);
}

/* Sums the 16 lanes by the tree of kernels.h. */
static inline float llk_sum_of_lanes(const float a[16]) {
    float s[8];
    for (int j = 0; j < 8; j++) s[j] = a[j] + a[j + 8];
    for (int j = 0; j < 4; j++) s[j] += s[j + 4];
    for (int j = 0; j < 2; j++) s[j] += s[j + 2];
    return s[0] + s[1];
}

#endif
