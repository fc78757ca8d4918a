/* internal.h - what the implementations share: their tables, bits and bytes, and the constants that define exp. */
#ifndef LLADA_KERNELS_INTERNAL_H
#define LLADA_KERNELS_INTERNAL_H

#include "kernels.h"

#define LLK_HIDDEN __attribute__((visibility("hidden")))

extern LLK_HIDDEN const llk_kernels llk_table_portable;
#if defined(__x86_64__)
extern LLK_HIDDEN const llk_kernels llk_table_avx2;
extern LLK_HIDDEN const llk_kernels llk_table_avx512;
#elif defined(__aarch64__)
extern LLK_HIDDEN const llk_kernels llk_table_neon;
#endif

/* A fused multiply-add rounds differently from a product and a sum. We say which one is meant; the compiler
 * must not choose: clang obeys the pragma, gcc (which contracts by default) the optimisation attribute. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

/* A loop over compile-time bounds that must vanish, so that arrays of accumulators become registers; and one that goes
 * round so seldom that unrolling it costs time. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define NO_UNROLL _Pragma("GCC unroll 1")
#endif

/* A file that uses SIMD defines TARGET, the attribute that lets a function do so. */
#define VEC_FN static inline __attribute__((always_inline)) TARGET

static inline size_t llk_size_of(llk_dtype dtype) { return dtype == LLK_F32 ? 4 : 2; }

static inline size_t llk_min(size_t a, size_t b) { return a < b ? a : b; }

/* Pointers may have any alignment, so numbers are copied, never dereferenced; and copied through void *, because
 * from the type float * a compiler may conclude that the address is a multiple of 4. */
static inline void llk_copy(void *to, const void *from, size_t bytes) {
    if (bytes) __builtin_memcpy(to, from, bytes); /* of nothing, even NULL may be copied */
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

/* To nearest, ties to even; NaN stays NaN. */
static inline uint16_t llk_to_bf16(float f) {
    const uint32_t bits = llk_bits(f);
    const uint32_t even = bits + 0x7fff + (bits >> 16 & 1); /* half up, less one if the kept part is even */
    const bool nan = (bits & 0x7fffffff) > 0x7f800000;
    return (uint16_t)((nan ? bits | 0x400000 : even) >> 16);
}

/* The tree of kernels.h over the 16 lanes. */
static inline float llk_sum_of_lanes(const float a[16]) {
    float s[8];
    for (int j = 0; j < 8; j++) s[j] = a[j] + a[j + 8];
    for (int j = 0; j < 4; j++) s[j] += s[j + 4];
    for (int j = 0; j < 2; j++) s[j] += s[j + 2];
    return s[0] + s[1];
}

/* exp(x) = 2^n e^r, n = x log2(e) to the nearest integer, r = x - n ln 2 with ln 2 in two parts;
 * e^r = 1 + r + r^2 q(r), q interpolating at the Chebyshev nodes of |r| <= ln(2) / 2: relative error 1.1e-8. */
#define EXP_LOWEST -0x1.5d589ep+6f /* the last x whose exp is a normal number */
#define EXP_HIGHEST 0x1.62e42ep+6f /* the last x whose exp is finite */
#define EXP_LOG2E 0x1.715476p+0f
#define EXP_LN2_HIGH 0x1.62e43p-1f
#define EXP_LN2_LOW -0x1.05c61p-29f
#define EXP_C2 0x1p-1f
#define EXP_C3 0x1.5554dcp-3f
#define EXP_C4 0x1.55551ap-5f
#define EXP_C5 0x1.120ba2p-7f
#define EXP_C6 0x1.6d113cp-10f

#endif
