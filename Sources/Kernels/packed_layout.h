/* packed_layout.h - the blocks of packed.h, and the blocks of prepared rows. */
#ifndef LLADA_KERNELS_PACKED_LAYOUT_H
#define LLADA_KERNELS_PACKED_LAYOUT_H

#include "numbers.h"
#include "packed.h"

enum {
    TILE = LLK_TILE, /* outputs */
    BLOCK = 64,      /* inputs */
    HALF = BLOCK / 2,
    PAIRS = BLOCK / 2,
    QUADS = BLOCK / 4,
    OCTETS = HALF / 8,
    STEP = 4 * TILE, /* bytes of one pair, quad or octet of each output */
};

typedef struct {
    uint32_t pairs[PAIRS][TILE];
} bf16_block;

typedef struct {
    uint32_t quads[QUADS][TILE];
    uint16_t scales[TILE];
} int8_block;

typedef struct {
    struct {
        uint32_t octets[OCTETS][TILE];
        uint16_t scales[TILE];
    } halves[2];
} int4_block;

typedef struct {
    struct {
        uint32_t quads[QUADS / 2][TILE];
        uint16_t scales[TILE];
    } halves[2];
} q8_0_block;

typedef struct {
    struct {
        uint32_t quads[QUADS / 4][TILE]; /* with four more inputs in their high bits */
        uint16_t scales[TILE];
    } halves[2];
} q4_0_block;

typedef struct {
    uint16_t x[BLOCK];
} bf16_row_block;

/* A block of a prepared row, for all formats of integers. */
typedef struct {
    int8_t q[BLOCK];
    float scale;
    /* The correction for weights that are stored unsigned: -BIAS8 sum q (packing.inc), and -8 sum q over each half. */
    int32_t offset8, offset4[2];
} int8_row_block;

static inline size_t block_size(llk_format format) {
    switch (format) {
    case LLK_PACKED_BF16: return sizeof(bf16_block);
    case LLK_PACKED_INT8: return sizeof(int8_block);
    case LLK_PACKED_INT4: return sizeof(int4_block);
    case LLK_PACKED_Q8_0: return sizeof(q8_0_block);
    case LLK_PACKED_Q4_0: return sizeof(q4_0_block);
    }
    return 0;
}

static inline size_t row_block_size(llk_format format) {
    return format == LLK_PACKED_BF16 ? sizeof(bf16_row_block) : sizeof(int8_row_block);
}

static inline size_t blocks_of(size_t inputs) { return inputs / BLOCK + (inputs % BLOCK != 0); }

#endif
