/* tiles.h - products over the tiles of a packed matrix. A file includes it after it has defined what pack.h needs,
 * and says PACKED_KERNELS for each format. */
#ifndef LLADA_KERNELS_TILES_H
#define LLADA_KERNELS_TILES_H

#include "pack.h"
#include "steps.h"

/* Rows that share a tile's way through the cache: their sums must fit L1 beside a block of weights. */
enum { PANEL = 64 };

/* How far ahead of their use weights are fetched, in bytes: no less than a block. Past the end is no harm in a hint. */
enum { AHEAD = 8192 };

/* sums[rows, 64] += x w over one block, rows <= ROWS. At each step, and once more for the scales, so many lines of the
 * cache are fetched, one after another from `next` on. Constant, and therefore inlined, wherever it is a parameter. */
typedef void block_fn(const char *x, size_t ldx, int rows, const char *w, const char *next, size_t lines, float *sums);

/* sums[rows, 64] = x w over all blocks of a tile, rows <= PANEL. */
VEC_FN void tile(block_fn *block, const llk_format format, const char *x, size_t ldx, size_t rows, const char *w,
                 size_t blocks, bool from_memory, float *sums) {
    const size_t groups = (rows + ROWS - 1) / ROWS;
    /* One group of rows waits for memory, and the CPU sees by itself what comes next. Of more groups all but the first
     * find the weights in the cache; so that memory is not idle then, each fetches some quarters of a block to come. */
    const size_t quarters = from_memory && groups > 1 ? 4 : 0;
    __builtin_memset(sums, 0, sizeof(float) * TILE * rows);
    for (size_t b = 0; b < blocks; b++, x += row_block_size(format), w += block_size(format))
        for (size_t g = 0; g < groups; g++) {
            const size_t r = rows * g / groups, n = rows * (g + 1) / groups - r;
            const size_t quarter = quarters * g / groups, lines = quarters * (g + 1) / groups - quarter;
            const char *next = w + AHEAD + quarter * block_size(format) / 4, *xr = x + r * ldx;
            float *to = sums + TILE * r;
            switch (n) { /* so that the number of rows is a constant in each */
            case 1: block(xr, ldx, 1, w, next, lines, to); break;
            case 2: block(xr, ldx, 2, w, next, lines, to); break;
            case 3: block(xr, ldx, 3, w, next, lines, to); break;
            case 4: block(xr, ldx, 4, w, next, lines, to); break;
            }
        }
}

VEC_FN void product(block_fn *block, const llk_format format, const char *x, size_t rows, const char *w, size_t outputs,
                    size_t inputs, size_t first, size_t last, float *y, size_t ldy) {
    const size_t blocks = blocks_of(inputs), ldx = llk_row_size(format, inputs);
    _Alignas(64) float sums[PANEL * TILE];
    /* The rows of a panel stay in L2 while all tiles pass: these are a stream, and can be fetched ahead; rows are not. */
    for (size_t p = 0; p < rows; p += PANEL) {
        const size_t n = llk_min(PANEL, rows - p);
        for (size_t t = first; t < last; t++) {
            const size_t count = llk_min(TILE, outputs - TILE * t);
            tile(block, format, x + p * ldx, ldx, n, w + t * blocks * block_size(format), blocks, p == 0, sums);
            for (size_t r = 0; r < n; r++)
                llk_copy(y + (p + r) * ldy + TILE * t, sums + TILE * r, sizeof(float) * count);
        }
    }
}

/* The kernels of a format: functions of which `format` and the block are constants, in a table. */
#define PACKED_KERNELS(table, name, format)                                                                     \
    TARGET static void pack_##name(const void *w, llk_dtype dtype, size_t outputs, size_t inputs, size_t first, \
                                   size_t last, void *packed) {                                                 \
        pack(format, w, dtype, outputs, inputs, first, last, packed);                                           \
    }                                                                                                           \
    TARGET static void prepare_##name(const float *x, size_t ldx, size_t rows, size_t inputs, void *prepared) { \
        prepare(format, x, ldx, rows, inputs, prepared);                                                        \
    }                                                                                                           \
    TARGET static void product_##name(const void *x, size_t rows, const void *w, size_t outputs, size_t inputs, \
                                      size_t first, size_t last, float *y, size_t ldy) {                        \
        product(block_##name, format, x, rows, w, outputs, inputs, first, last, y, ldy);                        \
    }                                                                                                           \
    const llk_packed_kernels table = {pack_##name, prepare_##name, product_##name};

#endif
