/*
 * packed.h - products with weights packed for the dot-product instructions of CPUs, in bf16, int8, int4, Q8_0 or Q4_0.
 *
 * A matrix w [outputs, inputs] is cut into tiles of 64 outputs, and each tile into blocks of 64 inputs. Missing outputs
 * and inputs of the last ones are zeros. The blocks of a tile lie one after another, and so do the tiles: a product
 * reads one stream, and any tile can be computed by itself. Every block is a multiple of 64 bytes and holds no address,
 * so a packed matrix can be written to a file and mapped. An address that is a multiple of 64 is faster, and pages of
 * 2 MB are faster still.
 *
 * One block, o being the output within the tile:
 *
 *   bf16   u16 [32, 64, 2]   pair p of output o: inputs 2 p, 2 p + 1                                      8192 bytes
 *   int8   u8  [16, 64, 4]   quad i of output o: 128 + q of inputs 4 i .. 4 i + 3
 *          bf16 [64]         scale of each output:  w = q * scale,  -127 <= q <= 127                      4224 bytes
 *   int4   for each half, of 32 inputs:
 *          u8  [4, 64, 4]    byte j of octet i: 8 + q of input 8 i + j, and as high bits that of input 8 i + 4 + j
 *          bf16 [64]         scale of each output:  w = q * scale,  -8 <= q <= 7                      2 x 1152 bytes
 *   Q8_0   for each half, of 32 inputs:
 *          u8  [8, 64, 4]    quad i of output o: 128 + q of inputs 4 i .. 4 i + 3
 *          f16 [64]          scale of each output:  w = q * scale,  -128 <= q <= 127                  2 x 2176 bytes
 *   Q4_0   for each half, of 32 inputs:
 *          u8  [4, 64, 4]    byte j of quad i: 8 + q of input 4 i + j, and as high bits that of input 16 + 4 i + j
 *          f16 [64]          scale of each output:  w = q * scale,  -8 <= q <= 7                      2 x 1152 bytes
 *
 * bf16, int8 and int4 are made of numbers, and round them. Q8_0 and Q4_0 hold the blocks of GGUF files of these names,
 * each number and each scale as it is there: a scale may be anything that f16 has.
 *
 * The rows of x are prepared once, for any number of products. They are rounded to bf16, or, for all other formats, to
 * integers of -127..127 with a scale for every 64 inputs. What one of these prepares, the others take. The contents of
 * a prepared row are private, but rows can be copied one by one, in any order.
 *
 * THE SAME BITS, as in kernels.h, from every implementation, whatever the rows and tiles of a call. Each output is one
 * sequence of IEEE operations, over increasing inputs, from y = +0:
 *
 *   bf16   for each pair: y = fma(x1, w1, y); y = fma(x0, w0, y), where denormal operands and results become zero,
 *          as in VDPBF16PS
 *   int8   for each block: y = fma(d * w_scale, x_scale, y),  d the exact sum of the products of the integers
 *   others for each block: y = fma(fma(d1, w_scale1, d0 * w_scale0), x_scale, y),  d0 and d1 those of its halves
 *
 * On aarch64 a bf16 product differs where a result is tiny before it is rounded and normal afterwards.
 *
 * Numbers that become integers: 64 values (in int4 weights, 32) whose largest magnitude is below 2^-100 count as zeros.
 * If one of them is infinite or NaN, all are NaN.
 */
#ifndef LLADA_PACKED_H
#define LLADA_PACKED_H

#include "kernels.h"

typedef enum {
    LLK_PACKED_BF16 = 0,
    LLK_PACKED_INT8 = 1,
    LLK_PACKED_INT4 = 2,
    LLK_PACKED_Q8_0 = 3,
    LLK_PACKED_Q4_0 = 4
} llk_format;

/* The outputs of a tile. */
enum { LLK_TILE = 64 };

/* Return the bytes of a packed matrix, and of a prepared row of x. */
size_t llk_packed_size(llk_format format, size_t outputs, size_t inputs);
size_t llk_row_size(llk_format format, size_t inputs);

/* Packs tiles first <= t < last of a matrix of GGUF blocks, Q8_0 or Q4_0, into their places in `packed`.
 * blocks: [outputs, inputs / 32], row-major; `inputs` is a multiple of 32. A block is a scale in f16, and then
 *
 *   Q8_0   i8 [32]   q of each input                                                                        34 bytes
 *   Q4_0   u8 [16]   byte j: 8 + q of input j, and as high bits that of input 16 + j                        18 bytes */
void llk_pack_blocks(llk_format format, const void *blocks, size_t outputs, size_t inputs, size_t first, size_t last,
                     void *packed);

typedef struct {
    /* Packs tiles first <= t < last of w: dtype [outputs, inputs], row-major, into their places in `packed`. NULL for
     * Q8_0 and Q4_0, which llk_pack_blocks packs. */
    void (*pack)(const void *w, llk_dtype dtype, size_t outputs, size_t inputs, size_t first, size_t last,
                 void *packed);

    /* x: f32 [rows, ldx >= inputs] -> prepared: [rows, llk_row_size]. Only the same implementation can use the
     * result. */
    void (*prepare)(const float *x, size_t ldx, size_t rows, size_t inputs, void *prepared);

    /* y[r, o] = sum_k x[r, k] w[o, k]   for r < rows, o in tiles first <= t < last
     * x: prepared [rows];  w: the whole packed matrix;  y: f32 [rows, ldy >= outputs]. */
    void (*product)(const void *x, size_t rows, const void *w, size_t outputs, size_t inputs, size_t first, size_t last,
                    float *y, size_t ldy);
} llk_packed_kernels;

/* Returns the kernels of an implementation, or NULL where llk_get does. AVX-512 without the instructions for a format
 * gets those of AVX2, I8MM without those for bf16 NEON's, and NEON without its dot products the portable ones. */
const llk_packed_kernels *llk_get_packed(llk_isa isa, llk_format format);

#endif
