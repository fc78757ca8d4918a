/* pack.h - packing weights and preparing rows of x. A file includes it after it has defined TARGET, KERNELS (the
 * llk_kernels of the implementation) and BIAS8, what its dot_int8 takes to be added to int8 weights. */
#ifndef LLADA_KERNELS_PACK_H
#define LLADA_KERNELS_PACK_H

#include "blocks.h"
#include "quantise.h"

/* The bits of four inputs of an output, as they lie in a step. */
VEC_FN uint32_t quad(uint32_t a, uint32_t b, uint32_t c, uint32_t d) { return a | b << 8 | c << 16 | d << 24; }

VEC_FN void pack_block_bf16(const float v[BLOCK][TILE], bf16_block *to) {
    for (size_t p = 0; p < PAIRS; p++)
        EACH_OUTPUT to->pairs[p][o] = llk_to_bf16(v[2 * p][o]) | (uint32_t)llk_to_bf16(v[2 * p + 1][o]) << 16;
}

VEC_FN void pack_block_int8(const float v[BLOCK][TILE], int8_block *to) {
    uint8_t c[BLOCK][TILE];
    quantise_int8(v, c, to->scales);
    for (size_t i = 0; i < QUADS; i++)
        EACH_OUTPUT to->quads[i][o] = quad(c[4 * i][o], c[4 * i + 1][o], c[4 * i + 2][o], c[4 * i + 3][o]);
}

VEC_FN void pack_block_int4(const float v[BLOCK][TILE], int4_block *to) {
    for (size_t half = 0; half < 2; half++) {
        uint8_t c[HALF][TILE];
        quantise_int4(v + HALF * half, c, to->halves[half].scales);
        for (size_t i = 0; i < OCTETS; i++) {
            const uint8_t (*low)[TILE] = (const uint8_t (*)[TILE])(c + 8 * i), (*high)[TILE] = low + 4;
            EACH_OUTPUT to->halves[half].octets[i][o] = quad(low[0][o], low[1][o], low[2][o], low[3][o]) |
                                                        quad(high[0][o], high[1][o], high[2][o], high[3][o]) << 4;
        }
    }
}

typedef float four __attribute__((vector_size(16)));

/* to[k + i, o + j] = from[j, k + i]   for i, j < 4 */
VEC_FN void transpose4(const float from[4][BLOCK], size_t k, float to[BLOCK][TILE], size_t o) {
    four a[4];
    for (size_t i = 0; i < 4; i++) llk_copy(&a[i], &from[i][k], sizeof a[i]);
    const four b[4] = {__builtin_shufflevector(a[0], a[2], 0, 4, 1, 5), __builtin_shufflevector(a[1], a[3], 0, 4, 1, 5),
                       __builtin_shufflevector(a[0], a[2], 2, 6, 3, 7),
                       __builtin_shufflevector(a[1], a[3], 2, 6, 3, 7)};
    for (size_t i = 0; i < 2; i++) {
        a[2 * i] = __builtin_shufflevector(b[2 * i], b[2 * i + 1], 0, 4, 1, 5);
        a[2 * i + 1] = __builtin_shufflevector(b[2 * i], b[2 * i + 1], 2, 6, 3, 7);
    }
    for (size_t i = 0; i < 4; i++) llk_copy(&to[k + i][o], &a[i], sizeof a[i]);
}

/* A block of row-major w, with zeros for what is not there. */
VEC_FN void read_block(const char *w, llk_dtype dtype, size_t outputs, size_t inputs, size_t t, size_t b,
                       float v[BLOCK][TILE]) {
    const size_t size = llk_size_of(dtype), k = BLOCK * b;
    w += (TILE * t * inputs + k) * size;
    for (size_t o = 0; o < TILE; o += 4) {
        float rows[4][BLOCK] = {0};
        for (size_t i = 0; i < 4 && TILE * t + o + i < outputs; i++)
            KERNELS.to_f32(w + (o + i) * inputs * size, dtype, llk_min(BLOCK, inputs - k), rows[i]);
        for (size_t i = 0; i < BLOCK; i += 4) transpose4(rows, i, v, o);
    }
}

VEC_FN void pack(const llk_format format, const char *w, llk_dtype dtype, size_t outputs, size_t inputs, size_t first,
                 size_t last, char *packed) {
    for (size_t t = first; t < last; t++)
        for (size_t b = 0; b < blocks_of(inputs); b++) {
            float v[BLOCK][TILE];
            read_block(w, dtype, outputs, inputs, t, b, v);
            union {
                bf16_block bf16;
                int8_block int8;
                int4_block int4;
            } block;
            switch (format) {
            case LLK_PACKED_BF16: pack_block_bf16(v, &block.bf16); break;
            case LLK_PACKED_INT8: pack_block_int8(v, &block.int8); break;
            case LLK_PACKED_INT4: pack_block_int4(v, &block.int4); break;
            }
            llk_copy(packed + (t * blocks_of(inputs) + b) * block_size(format), &block, block_size(format));
        }
}

VEC_FN bf16_row_block prepare_block_bf16(const float *v) {
    bf16_row_block to;
    for (int k = 0; k < BLOCK; k++) to.x[k] = llk_to_bf16(v[k]);
    return to;
}

VEC_FN int8_row_block prepare_block_int8(const float *v) {
    int8_row_block to;
    to.scale = quantise_row(v, to.q);
    int32_t sum[2] = {0};
    for (int half = 0; half < 2; half++)
        for (int k = 0; k < HALF; k++) sum[half] += to.q[HALF * half + k];
    to.offset8 = -BIAS8 * (sum[0] + sum[1]);
    for (int half = 0; half < 2; half++) to.offset4[half] = -8 * sum[half];
    return to;
}

VEC_FN void prepare(const llk_format format, const float *x, size_t ldx, size_t rows, size_t inputs, char *prepared) {
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < blocks_of(inputs); b++) {
            float v[BLOCK] = {0};
            llk_copy(v, (const char *)x + sizeof(float) * (r * ldx + BLOCK * b),
                     sizeof(float) * llk_min(BLOCK, inputs - BLOCK * b));
            char *to = prepared + r * llk_row_size(format, inputs) + b * row_block_size(format);
            if (format == LLK_PACKED_BF16) {
                bf16_row_block block = prepare_block_bf16(v);
                llk_copy(to, &block, sizeof block);
            } else {
                int8_row_block block = prepare_block_int8(v);
                llk_copy(to, &block, sizeof block);
            }
        }
}

#endif
