/* steps.h - what the blocks of all formats share. */
#ifndef LLADA_KERNELS_STEPS_H
#define LLADA_KERNELS_STEPS_H

#include "blocks.h"

/* Rows that go together: with 64 outputs they are 16 accumulators of 32 registers, and more were no faster on Zen 4. */
enum { ROWS = 4 };

#define EACH_ROW UNROLL for (size_t r = 0; r < (size_t)rows; r++)
#define EACH_VECTOR UNROLL for (size_t v = 0; v < VECTORS; v++)

/* Fetches so many cache lines into L2; returns where they end. */
VEC_FN const char *fetch(const char *next, size_t lines) {
    NO_UNROLL for (size_t i = 0; i < lines; i++) __builtin_prefetch(next + 64 * i, 0, 2);
    return next + 64 * lines;
}

#endif
