/* block_integer.h - rows times one block of int8 or int4 weights. A file includes it after it has defined, beside v16:
 *
 *   VECTORS                 so many times 16 outputs go together with ROWS rows: accumulators that fit the registers
 *   v16i, v16i_set1, v16_from_int       16 int32
 *   w_int8 load_int8(p), x_int8 set1_int8(p), dot_int8(acc, w, x)
 *                           a quad of inputs of each of 16 outputs, a quad of one row, and acc + their products
 *   w_int4 low_int4(p), high_int4(p), x_int4 set1_int4(p), dot_int4(acc, w, x)
 *                           the same with either half of an octet
 */
#ifndef LLADA_KERNELS_BLOCK_INTEGER_H
#define LLADA_KERNELS_BLOCK_INTEGER_H

#include "steps.h"

VEC_FN float x_scale(const char *x) { return llk_load((const float *)(x + offsetof(int8_row_block, scale)), 0); }

/* sums[r, o ..] += t x_scale */
VEC_FN void add_scaled(v16 t[ROWS][VECTORS], const char *x, size_t ldx, const int rows, size_t o, float *sums) {
    EACH_ROW {
        v16 scale = v16_set1(x_scale(x + ldx * r));
        EACH_VECTOR {
            float *sum = sums + TILE * r + o + 16 * v;
            v16_store(sum, v16_fma(t[r][v], scale, v16_load(sum)));
        }
    }
}

/* sums[rows, 64] += x w;  x: an int8_row_block every ldx bytes;  next, lines: see tiles.h */
VEC_FN void block_int8(const char *x, size_t ldx, const int rows, const char *w, const char *next, size_t lines,
                       float *sums) {
    for (size_t o = 0; o < TILE; o += 16 * VECTORS) {
        v16i acc[ROWS][VECTORS];
        EACH_ROW EACH_VECTOR acc[r][v] = v16i_set1(llk_load_int(x + ldx * r + offsetof(int8_row_block, offset8)));
        for (size_t quad = 0; quad < QUADS; quad++) {
            const char *step = w + STEP * quad + 4 * o;
            if (o == 0) next = fetch(next, lines);
            w_int8 b[VECTORS];
            EACH_VECTOR b[v] = load_int8(step + 64 * v);
            EACH_ROW {
                x_int8 a = set1_int8(x + ldx * r + 4 * quad);
                EACH_VECTOR acc[r][v] = dot_int8(acc[r][v], b[v], a);
            }
        }
        v16 t[ROWS][VECTORS];
        EACH_VECTOR {
            v16 scale = v16_widen(w + offsetof(int8_block, scales), LLK_BF16, o + 16 * v);
            EACH_ROW t[r][v] = v16_mul(v16_from_int(acc[r][v]), scale);
        }
        add_scaled(t, x, ldx, rows, o, sums);
    }
    fetch(next, lines);
}

/* The same. */
VEC_FN void block_int4(const char *x, size_t ldx, const int rows, const char *w, const char *next, size_t lines,
                       float *sums) {
    for (size_t o = 0; o < TILE; o += 16 * VECTORS) {
        v16 t[ROWS][VECTORS];
    UNROLL for (size_t half = 0; half < 2; half++) {
            const char *w_half = w + sizeof(int4_block) / 2 * half, *x_half = x + HALF * half;
            v16i acc[ROWS][VECTORS];
            EACH_ROW EACH_VECTOR acc[r][v] =
                v16i_set1(llk_load_int(x + ldx * r + offsetof(int8_row_block, offset4) + 4 * half));
            for (size_t octet = 0; octet < OCTETS; octet++) {
                const char *step = w_half + STEP * octet + 4 * o;
                if (o == 0) next = fetch(next, lines);
                UNROLL for (size_t part = 0; part < 2; part++) {
                    w_int4 b[VECTORS];
                    EACH_VECTOR b[v] = part == 0 ? low_int4(step + 64 * v) : high_int4(step + 64 * v);
                    EACH_ROW {
                        x_int4 a = set1_int4(x_half + ldx * r + 8 * octet + 4 * part);
                        EACH_VECTOR acc[r][v] = dot_int4(acc[r][v], b[v], a);
                    }
                }
            }
            EACH_VECTOR {
                v16 scale = v16_widen(w_half + STEP * OCTETS, LLK_BF16, o + 16 * v);
                EACH_ROW {
                    v16 d = v16_from_int(acc[r][v]);
                    t[r][v] = half == 0 ? v16_mul(d, scale) : v16_fma(d, scale, t[r][v]);
                }
            }
        }
        add_scaled(t, x, ldx, rows, o, sums);
    }
    fetch(next, lines);
}

#endif
