/* gguf_blocks.c - decodes the blocks of GGUF tensors. Plain loops: a file is decoded once, when it is opened. */
#include "gguf_blocks.h"

#include "numbers.h"

static float half_at(const uint8_t *p) { return llk_from_f16((uint16_t)(p[0] | p[1] << 8)); }

static void q4_0(const uint8_t *b, float *y) {
    const float d = half_at(b);
    const uint8_t *q = b + 2;
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)((q[i] & 15) - 8);
        y[16 + i] = d * (float)((q[i] >> 4) - 8);
    }
}

static void q4_1(const uint8_t *b, float *y) {
    const float d = half_at(b), m = half_at(b + 2);
    const uint8_t *q = b + 4;
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(q[i] & 15) + m;
        y[16 + i] = d * (float)(q[i] >> 4) + m;
    }
}

/* Returns the fifth bit of number i, in its place. */
static int fifth(const uint8_t *bits, int i) { return (bits[i / 8] >> i % 8 & 1) << 4; }

static void q5_0(const uint8_t *b, float *y) {
    const float d = half_at(b);
    const uint8_t *q = b + 6;
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(((q[i] & 15) | fifth(b + 2, i)) - 16);
        y[16 + i] = d * (float)((q[i] >> 4 | fifth(b + 2, 16 + i)) - 16);
    }
}

static void q5_1(const uint8_t *b, float *y) {
    const float d = half_at(b), m = half_at(b + 2);
    const uint8_t *q = b + 8;
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)((q[i] & 15) | fifth(b + 4, i)) + m;
        y[16 + i] = d * (float)(q[i] >> 4 | fifth(b + 4, 16 + i)) + m;
    }
}

static void q8_0(const uint8_t *b, float *y) {
    const float d = half_at(b);
    for (int i = 0; i < 32; i++) y[i] = (float)(int8_t)b[2 + i] * d;
}

/* Unpacks the 6-bit factors of the eight parts of a block of 256.  packed: [12] */
static void factors(const uint8_t *packed, uint8_t s[8], uint8_t t[8]) {
    for (int i = 0; i < 4; i++) {
        s[i] = packed[i] & 63;
        t[i] = packed[4 + i] & 63;
        s[4 + i] = (uint8_t)((packed[8 + i] & 15) | packed[i] >> 6 << 4);
        t[4 + i] = (uint8_t)(packed[8 + i] >> 4 | packed[4 + i] >> 6 << 4);
    }
}

/* Q4_K, and Q5_K if there are fifth bits: bit j of high[i] is that of number i of part j.  high: [32] or NULL */
static void with_factors(const uint8_t *b, const uint8_t *high, const uint8_t *q, float *y) {
    const float d = half_at(b), m = half_at(b + 2);
    uint8_t s[8], t[8];
    factors(b + 4, s, t);
    for (int part = 0; part < 8; part++) {
        const float scale = d * (float)s[part], least = m * (float)t[part];
        const uint8_t *low = q + part / 2 * 32;
        const int shift = part % 2 * 4;
        for (int i = 0; i < 32; i++) {
            const int fifth = high ? (high[i] >> part & 1) << 4 : 0;
            y[32 * part + i] = scale * (float)((low[i] >> shift & 15) | fifth) - least;
        }
    }
}

static void q4_k(const uint8_t *b, float *y) { with_factors(b, NULL, b + 16, y); }

static void q5_k(const uint8_t *b, float *y) { with_factors(b, b + 16, b + 48, y); }

static void q6_k(const uint8_t *b, float *y) {
    const uint8_t *low = b, *high = b + 128;
    const float d = half_at(b + 208);
    for (int part = 0; part < 8; part++) { /* of 32 numbers; four of them share bytes */
        const int half = part / 4, place = part % 4;
        const uint8_t *bits = low + 64 * half + 32 * (place % 2), *top = high + 32 * half;
        const int shift = place / 2 * 4;
        for (int first = 0; first < 32; first += 16) {
            const float scale = d * (float)(int8_t)b[192 + 2 * part + first / 16];
            for (int i = first; i < first + 16; i++) {
                const int q = (bits[i] >> shift & 15) | (top[i] >> 2 * place & 3) << 4;
                y[32 * part + i] = scale * (float)(q - 32);
            }
        }
    }
}

/* A loop over the blocks, in which the function is inlined. */
#define DECODE(function, bytes, numbers)                                                                     \
    for (size_t i = 0; i < count; i++) function((const uint8_t *)blocks + i * (bytes), out + i * (numbers)); \
    return

static void f32(const uint8_t *b, float *y) { llk_copy(y, b, 4); }
static void f16(const uint8_t *b, float *y) { *y = half_at(b); }
static void bf16(const uint8_t *b, float *y) { *y = llk_from_bf16((uint16_t)(b[0] | b[1] << 8)); }

void llk_gguf_to_f32(llk_gguf_type type, const void *blocks, size_t count, float *out) {
    switch (type) {
    case LLK_GGUF_F32: DECODE(f32, 4, 1);
    case LLK_GGUF_F16: DECODE(f16, 2, 1);
    case LLK_GGUF_BF16: DECODE(bf16, 2, 1);
    case LLK_GGUF_Q4_0: DECODE(q4_0, 18, 32);
    case LLK_GGUF_Q4_1: DECODE(q4_1, 20, 32);
    case LLK_GGUF_Q5_0: DECODE(q5_0, 22, 32);
    case LLK_GGUF_Q5_1: DECODE(q5_1, 24, 32);
    case LLK_GGUF_Q8_0: DECODE(q8_0, 34, 32);
    case LLK_GGUF_Q4_K: DECODE(q4_k, 144, 256);
    case LLK_GGUF_Q5_K: DECODE(q5_k, 176, 256);
    case LLK_GGUF_Q6_K: DECODE(q6_k, 210, 256);
    }
}
