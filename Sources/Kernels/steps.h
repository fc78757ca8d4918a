/* steps.h - what the blocks of all formats share. */
#ifndef LLADA_KERNELS_STEPS_H
#define LLADA_KERNELS_STEPS_H

#include "blocks.h"

/* Rows that go together: with 64 outputs they are 16 accumulators of 32 registers, and more were no faster on Zen 4. */
enum { ROWS = 4 };

#define EACH_ROW UNROLL for (size_t r = 0; r < (size_t)rows; r++)
#define EACH_VECTOR UNROLL for (size_t v = 0; v < VECTORS; v++)

/* Of the `count` cache lines from `next` on, line i is fetched into L1 if bit i of `lines` is set. */
VEC_FN void fetch(const char *next, unsigned lines, const size_t count) {
    UNROLL for (size_t i = 0; i < count; i++)
        if (lines >> i & 1) __builtin_prefetch(next + 64 * i);
}

#endif
