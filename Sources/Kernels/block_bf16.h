/* block_bf16.h - rows times one block of bf16 weights. A file includes it after it has defined, beside v16:
 *
 *   VECTORS                 so many times 16 outputs go together with ROWS rows: accumulators that fit the registers
 *   w_bf16 load_bf16(p)     a pair of inputs of each of 16 outputs
 *   x_bf16 set1_bf16(p)     a pair of one row
 *   dot_bf16(acc, w, x)     as packed.h has it, between fp_state flush_denormals() and restore(state)
 */
#ifndef LLADA_KERNELS_BLOCK_BF16_H
#define LLADA_KERNELS_BLOCK_BF16_H

#include "steps.h"

/* sums[rows, 64] += x w;  x: a bf16_row_block every ldx bytes;  next, lines: see tiles.h */
VEC_FN void block_bf16(const char *x, size_t ldx, const int rows, const char *w, const char *next, size_t lines,
                       float *sums) {
    const fp_state state = flush_denormals();
    for (size_t o = 0; o < TILE; o += 16 * VECTORS) {
        v16 acc[ROWS][VECTORS];
        EACH_ROW EACH_VECTOR acc[r][v] = v16_load(sums + TILE * r + o + 16 * v);
        for (size_t pair = 0; pair < PAIRS; pair++) {
            const char *step = w + STEP * pair + 4 * o;
            if (o == 0) next = fetch(next, lines);
            w_bf16 b[VECTORS];
            EACH_VECTOR b[v] = load_bf16(step + 64 * v);
            EACH_ROW {
                x_bf16 a = set1_bf16(x + ldx * r + 4 * pair);
                EACH_VECTOR acc[r][v] = dot_bf16(acc[r][v], b[v], a);
            }
        }
        EACH_ROW EACH_VECTOR v16_store(sums + TILE * r + o + 16 * v, acc[r][v]);
    }
    restore(state);
}

#endif
