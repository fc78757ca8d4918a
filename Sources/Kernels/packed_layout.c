/* packed_layout.c - sizes of packed matrices and of prepared rows. */
#include "packed_layout.h"

size_t llk_packed_size(llk_format format, size_t outputs, size_t inputs) {
    const size_t tiles = outputs / TILE + (outputs % TILE != 0);
    return tiles * blocks_of(inputs) * block_size(format);
}

size_t llk_row_size(llk_format format, size_t inputs) { return blocks_of(inputs) * row_block_size(format); }
