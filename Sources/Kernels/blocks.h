/* blocks.h - the blocks of packed.h, and those of prepared rows. */
#ifndef LLADA_KERNELS_BLOCKS_H
#define LLADA_KERNELS_BLOCKS_H

#include "internal.h"
#include "packed.h"

enum {
    TILE = LLK_TILE, /* outputs */
    BLOCK = 64,      /* inputs */
    HALF = BLOCK / 2,
    PAIRS = BLOCK / 2,
    QUADS = BLOCK / 4,
    OCTETS = BLOCK / 8,
    STEP = 4 * TILE, /* bytes of a pair, a quad or an octet of all outputs */
    /* where the scales are */
    INT8_SCALES = QUADS * STEP,
    INT4_SCALES = OCTETS * STEP,
};

/* A block of a row that was prepared for int8 and int4. */
typedef struct {
    int8_t q[BLOCK];
    float scale;
    /* What the weights' being stored as unsigned takes off their products: -128 sum q; -8 sum q over either half. */
    int32_t offset8, offset4[2];
} int8_row_block;

typedef struct {
    uint16_t x[BLOCK];
} bf16_row_block;

static inline size_t block_size(llk_format format) {
    switch (format) {
    case LLK_PACKED_BF16: return PAIRS * STEP;
    case LLK_PACKED_INT8: return INT8_SCALES + 2 * TILE;
    case LLK_PACKED_INT4: return INT4_SCALES + 2 * 2 * TILE;
    }
    return 0;
}

static inline size_t row_block_size(llk_format format) {
    return format == LLK_PACKED_BF16 ? sizeof(bf16_row_block) : sizeof(int8_row_block);
}

static inline size_t blocks_of(size_t inputs) { return inputs / BLOCK + (inputs % BLOCK != 0); }

#endif
