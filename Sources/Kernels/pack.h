/* pack.h - packing weights and preparing rows: plain C, compiled for each implementation, whose compiler vectorises
 * it. Every step is one IEEE operation or exact, so all give the same bytes. A file includes it after it has defined
 * TARGET, KERNELS and BIAS8, what dot_int8 finds added to int8 weights. */
#ifndef LLADA_KERNELS_PACK_H
#define LLADA_KERNELS_PACK_H

#include "blocks.h"
#include "quantise.h"

/* Puts output o, 64 inputs v, into its block. */
VEC_FN void pack_output(const llk_format format, const float *v, size_t o, char *block) {
    switch (format) {
    case LLK_PACKED_BF16: {
        uint16_t h[BLOCK];
        for (int k = 0; k < BLOCK; k++) h[k] = llk_to_bf16(v[k]);
        for (int p = 0; p < PAIRS; p++) llk_copy(block + STEP * p + 4 * o, h + 2 * p, 4);
        break;
    }
    case LLK_PACKED_INT8: {
        uint8_t codes[BLOCK];
        uint16_t scale = quantise_to_int8(v, codes);
        for (int i = 0; i < QUADS; i++) llk_copy(block + STEP * i + 4 * o, codes + 4 * i, 4);
        llk_copy(block + INT8_SCALES + 2 * o, &scale, 2);
        break;
    }
    case LLK_PACKED_INT4: {
        uint8_t codes[BLOCK];
        for (size_t half = 0; half < 2; half++) {
            uint16_t scale = quantise_to_int4(v + HALF * half, codes + HALF * half);
            llk_copy(block + INT4_SCALES + 2 * (TILE * half + o), &scale, 2);
        }
        for (size_t i = 0; i < OCTETS; i++)
            for (size_t j = 0; j < 4; j++)
                block[STEP * i + 4 * o + j] = (char)(codes[8 * i + j] | codes[8 * i + 4 + j] << 4);
        break;
    }
    }
}

VEC_FN void pack(const llk_format format, const char *w, llk_dtype dtype, size_t outputs, size_t inputs, size_t first,
                 size_t last, char *packed) {
    const size_t size = llk_size_of(dtype);
    for (size_t t = first; t < last; t++)
        for (size_t b = 0; b < blocks_of(inputs); b++) {
            char *block = packed + (t * blocks_of(inputs) + b) * block_size(format);
            for (size_t o = 0; o < TILE; o++) {
                float v[BLOCK] = {0};
                const size_t row = TILE * t + o, k = BLOCK * b;
                if (row < outputs)
                    KERNELS.to_f32(w + (row * inputs + k) * size, dtype, llk_min(BLOCK, inputs - k), v);
                pack_output(format, v, o, block);
            }
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
