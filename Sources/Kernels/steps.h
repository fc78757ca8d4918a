/* steps.h - what the blocks of all formats share. */
#ifndef LLADA_KERNELS_STEPS_H
#define LLADA_KERNELS_STEPS_H

#include "blocks.h"

/* Rows that go together: with 64 outputs they are 16 accumulators of 32 registers, and more were no faster on Zen 4. */
enum { ROWS = 4 };

/* How far ahead of its use a block is fetched, in bytes. */
enum { AHEAD = 3072 };

#define EACH_ROW UNROLL for (size_t r = 0; r < (size_t)rows; r++)
#define EACH_VECTOR UNROLL for (size_t v = 0; v < VECTORS; v++)

/* For the lines that are read now, those that come AHEAD of them. */
VEC_FN void fetch_ahead(const char *lines, const size_t bytes) {
    UNROLL for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(lines + AHEAD + i);
}

#endif
