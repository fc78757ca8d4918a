/*
 * gguf_blocks.h - the numbers of GGUF tensors: blocks of integers with scales, or floats.
 *
 * The layouts are those of the format, and the numbers, to the bit, those that the NumPy package `gguf` makes of them
 * (gguf.quants.dequantize). All scales are f16, d and m below. Numbers follow each other in the order of the inputs.
 *
 *   Q4_0  32 numbers, 18 bytes   d; 16 bytes: 8 + q of number i, and as high bits that of 16 + i          d q
 *   Q4_1  32 numbers, 20 bytes   d; m; 16 bytes: q likewise                                               d q + m
 *   Q5_0  32 numbers, 22 bytes   d; 4 bytes: the fifth bits; 16 bytes: the low bits of 16 + q             d q
 *   Q5_1  32 numbers, 24 bytes   d; m; 4 bytes; 16 bytes                                                  d q + m
 *   Q8_0  32 numbers, 34 bytes   d; 32 bytes: q, signed                                                   q d
 *   Q4_K  256 numbers, 144 bytes d; m; 12 bytes: two 6-bit factors s, t for every 32; 128 bytes: q        (d s) q - m t
 *   Q5_K  256 numbers, 176 bytes d; m; 12 bytes: s, t; 32 bytes: the fifth bits; 128 bytes                (d s) q - m t
 *   Q6_K  256 numbers, 210 bytes 128 bytes: low bits; 64 bytes: high bits of 32 + q;
 *                                16 bytes: a factor s, signed, for every 16; d                            (d s) q
 */
#ifndef LLADA_GGUF_BLOCKS_H
#define LLADA_GGUF_BLOCKS_H

#include <stddef.h>

/* The types, by their numbers in a file. */
typedef enum {
    LLK_GGUF_F32 = 0,
    LLK_GGUF_F16 = 1,
    LLK_GGUF_Q4_0 = 2,
    LLK_GGUF_Q4_1 = 3,
    LLK_GGUF_Q5_0 = 6,
    LLK_GGUF_Q5_1 = 7,
    LLK_GGUF_Q8_0 = 8,
    LLK_GGUF_Q4_K = 12,
    LLK_GGUF_Q5_K = 13,
    LLK_GGUF_Q6_K = 14,
    LLK_GGUF_BF16 = 30
} llk_gguf_type;

/* Writes the numbers of `count` blocks as f32; floats are blocks of one number.  blocks: may be unaligned */
void llk_gguf_to_f32(llk_gguf_type type, const void *blocks, size_t count, float *out);

#endif
