/* byte_attention_avx512.c - the kernels of byte_attention.h by VPDPBUSD. */
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")))
#include "vector_avx512.h"

#include "byte_attention.h"
#include "tables.h"
#include "templates/packed_rows.inc"
#include "templates/vector_math.inc"

/* The queries, and the vectors of 16 columns, that go together: 16 accumulators. */
enum { QUERIES = 8, VECTORS = 2 };

/* Loads quads of `count` columns, zeros behind them. */
VEC_FN __m512i load_quads(const void *p, size_t count) {
    return count >= 16 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32(first_lanes(count), p);
}

VEC_FN v16 below_most(v16 x, float most) { return v16_exp2(v16_sub(x, v16_set1(most))); }

/* Columns t .. of some queries; count < 16 only with one vector. */
VEC_FN void scores_in_registers(const llk_byte_query *queries, const int rows, const llk_byte_piece *keys, size_t piece,
                                size_t dim, size_t t, const int vectors, size_t count, float *out, size_t ldo,
                                const char **next, const char *end) {
    __m512i acc[QUERIES][VECTORS];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = _mm512_set1_epi32(queries[r].offset);
    }
    const char *column = (const char *)keys->keys + 4 * t;
    for (size_t quad = 0; quad < (dim + 3) / 4; quad++, column += 4 * piece) {
        if (*next < end) *next = fetch(*next, 1);
        __m512i k[VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) k[v] = load_quads(column + 64 * v, count);
        UNROLL for (int r = 0; r < rows; r++) {
            const __m512i q = _mm512_set1_epi32(llk_load_int(queries[r].q + 4 * quad));
            UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], k[v], q);
        }
    }
    UNROLL for (int v = 0; v < vectors; v++) {
        const size_t first = t + 16 * (size_t)v;
        const v16 scale = load16(keys->key_scales + first, 0, count, 0);
        const v16 exponent = load16(keys->exponents + first, 0, count, 0);
        UNROLL for (int r = 0; r < rows; r++) {
            const v16 scaled = v16_mul(_mm512_cvtepi32_ps(acc[r][v]), scale);
            store16(out + (size_t)r * ldo + first, 0, count, v16_fma(scaled, v16_set1(queries[r].factor), exponent));
        }
    }
}

VEC_FN void scores_of_columns(const llk_byte_query *queries, size_t rows, const llk_byte_piece *keys, size_t piece,
                              size_t dim, size_t t, const int vectors, size_t count, float *out, size_t ldo,
                              const char **next, const char *end) {
    size_t r = 0;
    for (; rows - r >= QUERIES; r += QUERIES)
        scores_in_registers(queries + r, QUERIES, keys, piece, dim, t, vectors, count, out + r * ldo, ldo, next, end);
    for (; r < rows; r++)
        scores_in_registers(queries + r, 1, keys, piece, dim, t, vectors, count, out + r * ldo, ldo, next, end);
}

TARGET static void scores(const llk_byte_query *queries, size_t rows, const llk_byte_piece *keys, size_t piece,
                          size_t dim, size_t count, float *out, size_t ldo, const void *next, size_t next_bytes) {
    enum { WIDE = 16 * VECTORS };
    const char *ahead = next, *end = ahead;
    if (next) end += next_bytes;
    size_t t = 0;
    for (; count - t >= WIDE; t += WIDE)
        scores_of_columns(queries, rows, keys, piece, dim, t, VECTORS, WIDE, out, ldo, &ahead, end);
    for (; t < count; t += 16)
        scores_of_columns(queries, rows, keys, piece, dim, t, 1, llk_min(16, count - t), out, ldo, &ahead, end);
}

TARGET static void weights(const float *x, const float *inverses, size_t n, float *max, uint8_t *e, float *sum) {
    const float most = maximum(x, n);
    v16 total = v16_set1(0);
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        const v16 weight = below_most(v16_load(x + i), most);
        const __m512i bytes = _mm512_cvtps_epi32(v16_mul(weight, v16_set1(255)));
        _mm_storeu_si128((__m128i *)(e + i), _mm512_cvtepi32_epi8(bytes));
        total = v16_fma(weight, v16_load(inverses + i), total);
    }
    if (i < n) { /* absent lanes add +0 to what is no -0 */
        const v16 weight = below_most(v16_load_part(x + i, n - i, -INFINITY), most);
        const __m512i bytes = _mm512_cvtps_epi32(v16_mul(weight, v16_set1(255)));
        _mm_mask_storeu_epi8(e + i, first_lanes(n - i), _mm512_cvtepi32_epi8(bytes));
        total = v16_fma(weight, v16_load_part(inverses + i, n - i, 0), total);
    }
    llk_store(max, 0, most);
    llk_store(sum, 0, v16_sum(total));
}

/* Columns d .. of some rows; count < 16 only with one vector. */
VEC_FN void sum_in_registers(const uint8_t *e, size_t lde, const int rows, const llk_byte_piece *pieces, size_t piece,
                             size_t terms, size_t dim, size_t d, const int vectors, size_t count, const float *factors,
                             float *out, size_t ldo) {
    __m512i acc[QUERIES][VECTORS];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = _mm512_setzero_si512();
    }
    for (size_t first = 0; first < terms; first += piece, pieces++) {
        const size_t here = llk_min(piece, terms - first);
        const char *column = (const char *)pieces->values + 4 * d;
        size_t t = 0;
        for (; here - t >= 4; t += 4, column += 4 * dim) {
            __m512i w[VECTORS];
            UNROLL for (int v = 0; v < vectors; v++) w[v] = load_quads(column + 64 * v, count);
            UNROLL for (int r = 0; r < rows; r++) {
                const __m512i quad = _mm512_set1_epi32(llk_load_int(e + (size_t)r * lde + first + t));
                UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], quad, w[v]);
            }
        }
        if (t < here) { /* the rest of the quad counts as zeros */
            UNROLL for (int r = 0; r < rows; r++) {
                uint32_t last = 0;
                llk_copy(&last, e + (size_t)r * lde + first + t, here - t);
                UNROLL for (int v = 0; v < vectors; v++) acc[r][v] =
                    _mm512_dpbusd_epi32(acc[r][v], _mm512_set1_epi32((int)last), load_quads(column + 64 * v, count));
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            float *to = out + (size_t)r * ldo + d + 16 * (size_t)v;
            store16(to, 0, count,
                    v16_fma(_mm512_cvtepi32_ps(acc[r][v]), v16_set1(llk_load(factors, (size_t)r)),
                            load16(to, 0, count, 0)));
        }
    }
}

TARGET static void weighted_sum(const uint8_t *e, size_t lde, size_t rows, const llk_byte_piece *pieces, size_t piece,
                                size_t terms, size_t dim, const float *factors, float *out, size_t ldo) {
    for (size_t d = 0; d < dim;) {
        const size_t left = dim - d;
        size_t r = 0;
        if (left >= 16 * VECTORS) {
            for (; rows - r >= QUERIES; r += QUERIES)
                sum_in_registers(e + r * lde, lde, QUERIES, pieces, piece, terms, dim, d, VECTORS, 16 * VECTORS,
                                 factors + r, out + r * ldo, ldo);
            for (; r < rows; r++)
                sum_in_registers(e + r * lde, lde, 1, pieces, piece, terms, dim, d, VECTORS, 16 * VECTORS, factors + r,
                                 out + r * ldo, ldo);
            d += 16 * VECTORS;
        } else {
            for (; r < rows; r++)
                sum_in_registers(e + r * lde, lde, 1, pieces, piece, terms, dim, d, 1, llk_min(16, left), factors + r,
                                 out + r * ldo, ldo);
            d += 16;
        }
    }
}

const llk_byte_attention_kernels llk_byte_attention_avx512 = {scores, weights, weighted_sum};

#endif
