/* packed_avx2.c - packed products without dot-product instructions: bf16 as floats, int8 as pairs of 16 bits. */
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,fma,f16c")))
#include "vector_avx2.h"

#include "packed_layout.h"
#include "tables.h"

#define ROWS 6
#define VECTORS 1
#define AT_QUERIES 4
#define AT_VECTORS 1
#define KERNELS llk_table_avx2
#define BIAS8 128

/* VDPBF16PS flushes denormals. Ordinary instructions do so on demand. The operands and results of the code between come
 * from memory and go back to it, and a barrier keeps that code there. */
typedef unsigned fp_state;
VEC_FN fp_state flush_denormals(void) {
    const unsigned flush_results = 1 << 15, flush_operands = 1 << 6, before = _mm_getcsr();
    _mm_setcsr(before | flush_results | flush_operands);
    __asm__ volatile("" ::: "memory");
    return before;
}
VEC_FN void restore(fp_state before) {
    __asm__ volatile("" ::: "memory");
    _mm_setcsr(before);
}

VEC_FN __m256i load8(const char *p) { return _mm256_loadu_si256((const __m256i *)p); }

/* Return the first and the second of each pair of bf16, as floats. */
VEC_FN __m256 first_bf16(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
VEC_FN __m256 second_bf16(__m256i pairs) {
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000)));
}

typedef struct {
    v16 first, second;
} w_bf16;
typedef struct {
    __m256 first, second;
} x_bf16;
VEC_FN w_bf16 load_bf16(const char *p) {
    const __m256i lo = load8(p), hi = load8(p + 32);
    return (w_bf16){BOTH(first_bf16(lo), first_bf16(hi)), BOTH(second_bf16(lo), second_bf16(hi))};
}
VEC_FN x_bf16 set1_bf16(const char *p) {
    const __m256i pair = _mm256_set1_epi32(llk_load_int(p));
    return (x_bf16){first_bf16(pair), second_bf16(pair)};
}
VEC_FN v16 dot_bf16(v16 acc, w_bf16 w, x_bf16 x) {
    acc = v16_fma(w.second, BOTH(x.second, x.second), acc);
    return v16_fma(w.first, BOTH(x.first, x.first), acc);
}

/* A quad as two pairs of 16 bits: its elements 0 and 2, and 1 and 3. VPMADDUBSW would saturate. */
#define PARTS 2
VEC_FN __m256i part_of(__m256i quads, size_t p) {
    return p == 0 ? _mm256_and_si256(quads, _mm256_set1_epi16(255)) : _mm256_srli_epi16(quads, 8);
}
VEC_FN __m256i dot_part(__m256i acc, __m256i w, __m256i x) { return _mm256_add_epi32(acc, _mm256_madd_epi16(w, x)); }
VEC_FN void split_rows(const char *x, size_t ldx, const int rows, char parts[ROWS][PARTS][BLOCK]) {
    for (size_t r = 0; r < (size_t)rows; r++)
        for (size_t k = 0; k < BLOCK; k += 32) {
            const __m256i quads = load8(x + ldx * r + k);
            _mm256_store_si256((__m256i *)(parts[r][0] + k), _mm256_srai_epi16(_mm256_slli_epi16(quads, 8), 8));
            _mm256_store_si256((__m256i *)(parts[r][1] + k), _mm256_srai_epi16(quads, 8));
        }
}

/* Sums of 16 bits: 8 quads of numbers below 16 come to at most 8 * 2 * 15 * 127 = 30480. */
typedef __m256i int4_sum;
VEC_FN int4_sum int4_zero(void) { return _mm256_setzero_si256(); }
VEC_FN int4_sum dot_int4(int4_sum sum, __m256i w, __m256i x) {
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
}
VEC_FN __m256i int4_total(int4_sum sum) { return _mm256_madd_epi16(sum, _mm256_set1_epi16(1)); }

#include "templates/attention_sums.inc"
#include "templates/packed_product.inc"
#include "templates/product_few_registers.inc"

/* sums[rows, 64] += x w;  x: a bf16_row_block every ldx bytes;  next, lines: see packed_product.inc */
VEC_FN void block_product_bf16(const char *x, size_t ldx, const int rows, const char *w, const char *next, size_t lines,
                               float *sums) {
    const int vectors = rows == 3 ? 4 : VECTORS_WITH(rows);
    _Alignas(32) float wide[ROWS][BLOCK];
    EACH_ROW {
        for (size_t k = 0; k < BLOCK; k += 8) _mm256_store_ps(wide[r] + k, widen8(x + ldx * r, LLK_BF16, k));
    }
    const fp_state state = flush_denormals();
    NO_UNROLL for (size_t o = 0; o < TILE; o += LANES * (size_t)vectors) {
        __m256 acc[ROWS][MOST_VECTORS];
        EACH_ROW EACH_OF(vectors) acc[r][v] = _mm256_loadu_ps(sums + TILE * r + o + LANES * v);
        NO_UNROLL for (size_t pair = 0; pair < PAIRS; pair++) {
            const char *step = w + STEP * pair + 4 * o;
            if (o == 0) next = fetch(next, lines);
            UNROLL for (size_t odd = 2; odd-- > 0;) {
                __m256 a[ROWS];
                if (rows <= 3) EACH_ROW a[r] = _mm256_broadcast_ss(wide[r] + 2 * pair + odd);
                if (rows <= 3) EACH_OF(vectors) {
                        const __m256i pairs = load_words(step + 4 * LANES * v);
                        const __m256 b = odd ? second_bf16(pairs) : first_bf16(pairs);
                        EACH_ROW acc[r][v] = _mm256_fmadd_ps(b, a[r], acc[r][v]);
                    }
                __m256 b[MOST_VECTORS];
                if (rows > 3) EACH_OF(vectors) {
                        const __m256i pairs = load_words(step + 4 * LANES * v);
                        b[v] = odd ? second_bf16(pairs) : first_bf16(pairs);
                    }
                if (rows > 3) EACH_ROW {
                        const __m256 a = _mm256_broadcast_ss(wide[r] + 2 * pair + odd);
                        EACH_OF(vectors) acc[r][v] = _mm256_fmadd_ps(b[v], a, acc[r][v]);
                    }
            }
        }
        EACH_ROW EACH_OF(vectors) _mm256_storeu_ps(sums + TILE * r + o + LANES * v, acc[r][v]);
    }
    restore(state);
}

PACKED_KERNELS(llk_packed_avx2_bf16, bf16, LLK_PACKED_BF16)
PACKED_KERNELS(llk_packed_avx2_int8, int8, LLK_PACKED_INT8)
PACKED_KERNELS(llk_packed_avx2_int4, int4, LLK_PACKED_INT4)
BLOCKS_KERNELS(llk_packed_avx2_q8_0, q8_0, LLK_PACKED_Q8_0)
BLOCKS_KERNELS(llk_packed_avx2_q4_0, q4_0, LLK_PACKED_Q4_0)
ATTENTION_KERNELS(llk_attention_avx2)

#endif
