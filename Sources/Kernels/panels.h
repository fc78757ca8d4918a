/* panels.h - the matrix product around its tile, which a file defines before it includes this:
 *
 *   tile(x, ldx, rows, w, dtype, inner, outs, next, y, ldy)
 *       y[rows, outs] for rows <= TILE_ROWS (a constant) and outs <= TILE_OUTS. `next`, unless NULL, is as far ahead in
 *       the stream of weights as memory is slow: while the tile's weights are read, as many bytes from there on
 *       are fetched into L2. With few rows this gives half as much bandwidth again as the hardware's own guesses.
 */
#ifndef LLADA_KERNELS_PANELS_H
#define LLADA_KERNELS_PANELS_H

/* What is worked on between two visits to main memory should fit L2: rows of x, and as many rows of weights. */
enum { PANEL_ROWS = 32, PANEL_OUTS = 64 };

/* Bytes between what is read and what is fetched: at 40 GB/s, 400 ns. 8 to 64 kB measure alike on Zen 4. */
enum { AHEAD = 16384 };

/* All rows of x meet a tile's weights before the next tile's are touched: weights stream from memory once. */
VEC_FN void panel(const float *x, size_t ldx, size_t rows, const char *w, const char *end, llk_dtype dtype,
                  size_t inner, size_t outs, float *y, size_t ldy) {
    const size_t stride = TILE_OUTS * inner * llk_size_of(dtype);
    for (size_t o = 0; o < outs; o += TILE_OUTS, w += stride) {
        size_t n = llk_min(TILE_OUTS, outs - o);
        const char *next = (size_t)(end - w) > AHEAD ? w + AHEAD : NULL;
        for (size_t r = 0; r < rows; r += TILE_ROWS, next = NULL) {
            const float *xr = x + r * ldx;
            float *yr = y + r * ldy + o;
            switch (llk_min(TILE_ROWS, rows - r)) { /* so that the number of rows is a constant in each */
            case 1: tile(xr, ldx, 1, w, dtype, inner, n, next, yr, ldy); break;
            case 2: tile(xr, ldx, 2, w, dtype, inner, n, next, yr, ldy); break;
#if TILE_ROWS == 4
            case 3: tile(xr, ldx, 3, w, dtype, inner, n, next, yr, ldy); break;
            case 4: tile(xr, ldx, 4, w, dtype, inner, n, next, yr, ldy); break;
#endif
            }
        }
    }
}

VEC_FN void product(const float *x, size_t ldx, size_t rows, const void *w, llk_dtype dtype, size_t inner, size_t first,
                    size_t last, float *y, size_t ldy) {
    const size_t row = inner * llk_size_of(dtype);
    const char *end = (const char *)w + last * row;
    for (size_t o = first; o < last; o += PANEL_OUTS)
        for (size_t r = 0; r < rows; r += PANEL_ROWS)
            panel(x + r * ldx, ldx, llk_min(PANEL_ROWS, rows - r), (const char *)w + o * row, end, dtype, inner,
                  llk_min(PANEL_OUTS, last - o), y + r * ldy + o, ldy);
}

TARGET static void matmul(const float *x, size_t ldx, size_t rows, const void *w, llk_dtype dtype, size_t inner,
                          size_t first, size_t last, float *y, size_t ldy) {
    switch (dtype) {
    case LLK_F32: product(x, ldx, rows, w, LLK_F32, inner, first, last, y, ldy); break;
    case LLK_F16: product(x, ldx, rows, w, LLK_F16, inner, first, last, y, ldy); break;
    case LLK_BF16: product(x, ldx, rows, w, LLK_BF16, inner, first, last, y, ldy); break;
    }
}

#endif
