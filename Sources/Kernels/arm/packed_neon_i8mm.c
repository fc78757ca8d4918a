/* packed_neon_i8mm.c - weights of integers by USMMLA: two outputs times two rows, eight inputs at a time. Packed
 * weights have four inputs of an output beside the same four of the next one, so words are zipped in registers. Where
 * rows are too few for that to pay, USDOT multiplies the steps as they are. */
#if defined(__aarch64__)
#define TARGET __attribute__((target("dotprod,i8mm")))
#include "vector_neon.h"

#include "tables.h"

#define ROWS 8
#define ROWS_TOGETHER 2
#define KERNELS llk_table_neon
#define BIAS8 128 /* both instructions take unsigned weights */

#include "templates/packed_product.inc"

/* From so many rows on, USMMLA and its zips are fewer instructions than USDOT. */
#define IN_MATRICES(rows) ((rows) >= 4)

/* The vectors of 4 outputs that go together with some rows: at most 16 accumulators, and all of a tile, one line after
 * another, where a single row waits for memory. */
#define VECTORS_WITH(rows) ((rows) == 1 ? 16 : (rows) == 2 ? 8 : (rows) <= 4 ? 4 : 2)
enum { MOST_VECTORS = 16, LANES = 4, OCTET = 8 };

#define EACH_PAIR UNROLL for (size_t r = 0; r < (size_t)rows; r += 2)

/* The inputs of two rows, in octets, the eight that are multiplied together: those of the first row, and then of the
 * second. An odd last row stands in both places. */
typedef int8x16_t octets_of_rows[ROWS / 2][BLOCK / OCTET];

/* x: an int8_row_block every ldx bytes;  gap: from the first to the last four inputs of an octet, 4 or 16 */
VEC_FN void zip_rows(const char *x, size_t ldx, const int rows, const size_t gap, octets_of_rows to) {
    EACH_PAIR for (size_t k = 0; k < BLOCK; k += HALF) {
        int64x2_t octets[2][2];
        UNROLL for (size_t i = 0; i < 2; i++) {
            const uint8_t *row = (const uint8_t *)(x + ldx * llk_min(r + i, (size_t)rows - 1) + k);
            const uint32x4_t a = vreinterpretq_u32_u8(vld1q_u8(row));
            const uint32x4_t b = vreinterpretq_u32_u8(vld1q_u8(row + HALF / 2));
            octets[i][0] = vreinterpretq_s64_u32(gap == 4 ? a : vzip1q_u32(a, b));
            octets[i][1] = vreinterpretq_s64_u32(gap == 4 ? b : vzip2q_u32(a, b));
        }
        UNROLL for (size_t i = 0; i < 2; i++) {
            int8x16_t *pair = &to[r / 2][k / OCTET + 2 * i];
            pair[0] = vreinterpretq_s8_s64(vzip1q_s64(octets[0][i], octets[1][i]));
            pair[1] = vreinterpretq_s8_s64(vzip2q_s64(octets[0][i], octets[1][i]));
        }
    }
}

/* Sums of rows, 4 outputs in a vector. In matrices, [r] and [r + 1] of an even r are, up to `settle`, the sums of the
 * first two outputs for row r and the next one, and those of the other two. */
typedef int32x4_t row_sums[ROWS][MOST_VECTORS];

/* Begins with a number for each row, at x every ldx bytes, times `factor`. */
VEC_FN void begin(row_sums acc, const char *x, size_t ldx, const int rows, const int vectors, const int32_t factor) {
    int32_t first[ROWS];
    EACH_ROW first[r] = factor * llk_load_int(x + ldx * r);
    if (!IN_MATRICES(rows)) EACH_ROW EACH_OF(vectors) acc[r][v] = vdupq_n_s32(first[r]);
    if (IN_MATRICES(rows)) EACH_PAIR {
            const int32_t second = first[llk_min(r + 1, (size_t)rows - 1)];
            EACH_OF(vectors) acc[r][v] = acc[r + 1][v] = (int32x4_t){first[r], second, first[r], second};
        }
}

VEC_FN void settle(row_sums acc, const int rows, const int vectors) {
    if (IN_MATRICES(rows)) EACH_PAIR EACH_OF(vectors) {
            const int32x4_t low = acc[r][v], high = acc[r + 1][v];
            acc[r][v] = vuzp1q_s32(low, high);
            acc[r + 1][v] = vuzp2q_s32(low, high);
        }
}

/* Adds octet i of each row times that of 4 outputs: the words of a are the first four inputs, those of b the others. */
VEC_FN void add_octet(row_sums acc, const octets_of_rows x, const size_t i, const int rows, const size_t v,
                      uint8x16_t a, uint8x16_t b) {
    if (IN_MATRICES(rows)) {
        const uint32x4_t first = vreinterpretq_u32_u8(a), second = vreinterpretq_u32_u8(b);
        const uint8x16_t low = vreinterpretq_u8_u32(vzip1q_u32(first, second));
        const uint8x16_t high = vreinterpretq_u8_u32(vzip2q_u32(first, second));
        EACH_PAIR {
            acc[r][v] = vusmmlaq_s32(acc[r][v], low, x[r / 2][i]);
            acc[r + 1][v] = vusmmlaq_s32(acc[r + 1][v], high, x[r / 2][i]);
        }
    } else {
        EACH_PAIR {
            acc[r][v] = vusdotq_laneq_s32(vusdotq_laneq_s32(acc[r][v], a, x[r / 2][i], 0), b, x[r / 2][i], 1);
            if (r + 1 < (size_t)rows)
                acc[r + 1][v] =
                    vusdotq_laneq_s32(vusdotq_laneq_s32(acc[r + 1][v], a, x[r / 2][i], 2), b, x[r / 2][i], 3);
        }
    }
}

/* acc += x w over `octets` octets from `first` on.  w: the steps of their weights, in bytes or in nibbles;  o: the
 * first of the outputs.  Returns what is to be prefetched after it. */
VEC_FN const char *add_octets(row_sums acc, const octets_of_rows x, const size_t first, const size_t octets,
                              const int rows, const int vectors, const char *w, const bool nibbles, size_t o,
                              const char *next, size_t lines) {
    const size_t size = nibbles ? STEP : 2 * STEP;
    NO_UNROLL for (size_t i = 0; i < octets; i++) {
        const uint8_t *step = (const uint8_t *)w + size * i + 4 * o;
        if (o == 0) next = fetch(next, nibbles ? lines : 2 * lines);
        EACH_OF(vectors) {
            const uint8x16_t a = vld1q_u8(step + 4 * LANES * v);
            if (nibbles)
                add_octet(acc, x, first + i, rows, v, vandq_u8(a, vdupq_n_u8(15)), vshrq_n_u8(a, 4));
            else
                add_octet(acc, x, first + i, rows, v, a, vld1q_u8(step + STEP + 4 * LANES * v));
        }
    }
    return next;
}

typedef float32x4_t row_terms[ROWS][MOST_VECTORS];

/* sums[r, o ..] += t x_scale */
VEC_FN void add_scaled(row_terms t, const char *x, size_t ldx, const int rows, const int vectors, size_t o,
                       float *sums) {
    EACH_ROW {
        const float scale = llk_load((const float *)(x + ldx * r + offsetof(int8_row_block, scale)), 0);
        EACH_OF(vectors) {
            float *sum = sums + TILE * r + o + LANES * v;
            vst1q_f32(sum, vfmaq_f32(vld1q_f32(sum), t[r][v], vdupq_n_f32(scale)));
        }
    }
}

/* sums[rows, 64] += x w;  x: an int8_row_block every ldx bytes;  next, lines: see packed_product.inc */
VEC_FN void block_product_int8(const char *x, size_t ldx, const int rows, const char *w, const char *next, size_t lines,
                               float *sums) {
    const int vectors = VECTORS_WITH(rows);
    octets_of_rows octets;
    zip_rows(x, ldx, rows, 4, octets);
    NO_UNROLL for (size_t o = 0; o < TILE; o += LANES * (size_t)vectors) {
        row_sums acc;
        begin(acc, x + offsetof(int8_row_block, offset8), ldx, rows, vectors, 1);
        next = add_octets(acc, octets, 0, BLOCK / OCTET, rows, vectors, w, false, o, next, lines);
        settle(acc, rows, vectors);
        row_terms t;
        EACH_OF(vectors) {
            const float32x4_t scale = widen4(w + offsetof(int8_block, scales), LLK_BF16, o + LANES * v);
            EACH_ROW t[r][v] = vmulq_f32(vcvtq_f32_s32(acc[r][v]), scale);
        }
        add_scaled(t, x, ldx, rows, vectors, o, sums);
    }
    fetch(next, lines);
}

/* The same for the formats with a scale for each half. */
VEC_FN void block_product_of_halves(const llk_format format, const char *x, size_t ldx, const int rows, const char *w,
                                    const char *next, size_t lines, float *sums) {
    const int vectors = VECTORS_WITH(rows);
    const bool nibbles = format != LLK_PACKED_Q8_0;
    const size_t w_size = block_size(format) / 2, octets_of_half = HALF / OCTET;
    octets_of_rows octets;
    zip_rows(x, ldx, rows, format == LLK_PACKED_Q4_0 ? 16 : 4, octets);
    NO_UNROLL for (size_t o = 0; o < TILE; o += LANES * (size_t)vectors) {
        row_terms t;
        UNROLL for (size_t half = 0; half < 2; half++) {
            const char *w_half = w + w_size * half;
            row_sums acc;
            begin(acc, x + offsetof(int8_row_block, offset4) + 4 * half, ldx, rows, vectors, nibbles ? 1 : BIAS8 / 8);
            next = add_octets(acc, octets, octets_of_half * half, octets_of_half, rows, vectors, w_half, nibbles, o,
                              next, lines);
            settle(acc, rows, vectors);
            EACH_OF(vectors) {
                const float32x4_t scale = widen4(w_half + w_size - sizeof(uint16_t[TILE]),
                                                 format == LLK_PACKED_INT4 ? LLK_BF16 : LLK_F16, o + LANES * v);
                EACH_ROW {
                    const float32x4_t d = vcvtq_f32_s32(acc[r][v]);
                    t[r][v] = half == 0 ? vmulq_f32(d, scale) : vfmaq_f32(t[r][v], d, scale);
                }
            }
        }
        add_scaled(t, x, ldx, rows, vectors, o, sums);
    }
    fetch(next, lines);
}

PRODUCTS_OF_HALVES

PACKED_KERNELS(llk_packed_i8mm_int8, int8, LLK_PACKED_INT8)
PACKED_KERNELS(llk_packed_i8mm_int4, int4, LLK_PACKED_INT4)
BLOCKS_KERNELS(llk_packed_i8mm_q8_0, q8_0, LLK_PACKED_Q8_0)
BLOCKS_KERNELS(llk_packed_i8mm_q4_0, q4_0, LLK_PACKED_Q4_0)

#endif
