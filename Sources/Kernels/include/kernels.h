/*
 * kernels.h - the arithmetic of the forward pass, on plain arrays. It knows shapes, but no model.
 *
 * One contract for every implementation (portable, AVX2, AVX-VNNI, AVX-512, NEON, I8MM): THE SAME BITS. Each output
 * element is computed by one fixed sequence of IEEE operations that depends only on the element's own inputs:
 *
 *   - a dot product keeps 16 lane accumulators; lane j takes the products of the elements k with k % 16 == j,
 *     in increasing order of k, each by one fused multiply-add into an accumulator that begins at +0; absent
 *     elements of the last group of 16 leave their lanes untouched (as fma(-0, 0, acc) does; fma(0, 0, acc) would
 *     turn into +0 the -0 that an underflow can leave);
 *   - lanes are then summed as a tree: s[j] = a[j] + a[j+8] for j < 8; then + 4; then + 2; then + 1;
 *   - sums of other kinds use the same 16 lanes with an addition in place of the multiply-add;
 *   - exp is the polynomial of llk_expf below, in every implementation.
 *
 * Two things are open: which NaN a NaN is (sign and payload), and all results if the caller has changed the rounding
 * mode or made the CPU flush denormal numbers.
 *
 * So results depend neither on the number of rows of a call, nor on how outputs are split over threads, nor on the CPU.
 * Tests compare every implementation with the portable one, bit by bit.
 *
 * Pointers may have any alignment: weights are read where the file was mapped. Sizes may be 0. No function keeps state,
 * allocates or prints. Several threads may call any of them at once.
 */
#ifndef LLADA_KERNELS_H
#define LLADA_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The format in which a weight matrix is stored. */
typedef enum { LLK_F32 = 0, LLK_F16 = 1, LLK_BF16 = 2 } llk_dtype;

/* An implementation of the kernels. The caller asks for the best once and passes it on. */
typedef enum {
    LLK_PORTABLE = 0,
    LLK_AVX2 = 1,
    LLK_AVX512 = 2,
    LLK_NEON = 3,
    LLK_AVXVNNI = 4,
    LLK_I8MM = 5 /* NEON with matrices of int8 */
} llk_isa;

/* What the implementations ask of a CPU and its operating system, which has to save the wide registers. */
typedef struct {
    bool avx2;                             /* with FMA and F16C */
    bool avx_vnni;                         /* VPDPBUSD on the registers of AVX2 */
    bool avx512, avx512_vnni, avx512_bf16; /* F, BW, VL and DQ; VPDPBUSD; VDPBF16PS */
    bool neon, dot_product, i8mm, bf16;    /* of aarch64: SDOT; USMMLA and USDOT; BFMLAL */
} llk_cpu;

/* Returns what this CPU has. */
llk_cpu llk_this_cpu(void);

/* Returns the best implementation for a CPU: AVX-512, AVX-VNNI, AVX2, I8MM, NEON, portable, in this order. */
llk_isa llk_best_for(llk_cpu cpu);

/* The same for this CPU. */
llk_isa llk_best_isa(void);

/* Returns "portable", "avx2", "avxvnni", "avx512", "neon" or "i8mm": a static string. */
const char *llk_isa_name(llk_isa isa);

typedef struct {
    /* y[r, o] = sum_k x[r, k] w[o, k]   for r < rows, first <= o < last
     * x: f32 [rows, ldx >= inner];  w: dtype [>= last, inner], row-major;  y: f32 [rows, ldy >= last]. */
    void (*matmul)(const float *x, size_t ldx, size_t rows, const void *w, llk_dtype dtype, size_t inner, size_t first,
                   size_t last, float *y, size_t ldy);

    /* out[q, d] = sum_t p[q, t] v[t, d]   one fma per t, in increasing order of t, from +0
     * p: [queries, ldp >= keys];  v: [keys, ldv >= dim];  out: [queries, ldo >= dim].
     * With `accumulate`, each sum continues from the value in out instead of +0, so that keys may come in pieces. */
    void (*weighted_sum)(const float *p, size_t ldp, size_t queries, const float *v, size_t ldv, size_t keys,
                         size_t dim, float *out, size_t ldo, bool accumulate);

    /* y[i] = x[i] * (1 / sqrt(mean(x^2) + eps)) * weight[i]   over n elements; y may be x.
     * Rounding: mean = (lane-sum of fma squares) / n; scale = 1 / sqrtf(mean + eps); (x * scale) * weight. */
    void (*rms_norm)(const float *x, const float *weight, size_t n, float eps, float *y);

    /* gate[i] = silu(gate[i]) * up[i],  silu(z) = z / (1 + exp(-z)). So silu is -0 for z < -88.72, and NaN for -inf. */
    void (*silu_mul)(float *gate, const float *up, size_t n);

    /* x[i] = 1 / (1 + exp(-x[i])).  So it is +0 for x < -88.72. */
    void (*sigmoid)(float *x, size_t n);

    /* In place over n >= 1 elements: z = x[i] * scale; e = exp(z - max z); x[i] = e * (1 / lane-sum of e). Every result
     * is NaN if a z is NaN or +inf, or if all are -inf. *max is max z (-inf if all are NaN), and *sum is the lane-sum:
     * a softmax over more elements needs no more of these. */
    void (*softmax)(float *x, size_t n, float scale, float *max, float *sum);

    /* The arg-max of n >= 1 logits (ties: lowest index; NaN never wins; all NaN or -inf: index 0), and
     * *sum_exp = lane-sum of exp(x[i] - x[argmax]), NaN where softmax is.  So softmax(x)[argmax] = 1 / *sum_exp. */
    size_t (*argmax_sum_exp)(const float *x, size_t n, float *sum_exp);

    /* y[i] = fma(a, x[i], y[i]) */
    void (*axpy)(float a, const float *x, size_t n, float *y);

    /* y[i] = x[i] / temperature over n elements; of a finite x[i] the largest or smallest finite float where that would
     * be infinite. y may be x. *smallest and *largest are those of y (+inf and -inf if there are none). Returns false
     * if an x[i] is NaN or +inf; then y, *smallest and *largest mean nothing. */
    bool (*temper)(const float *x, size_t n, float temperature, float *y, float *smallest, float *largest);

    /* weights[i] = exp(z[i] - largest) * 2^41 as an integer, rounded to nearest even, and 0 where z[i] < floor; over n
     * elements, z[i] <= largest and no NaN. Returns the sum of the weights, which is exact for up to 2^22 of them. */
    uint64_t (*weigh)(const float *z, size_t n, float largest, float floor, uint64_t *weights);

    /* Finds the i < n, ascending, with begin <= (largest - z[i]) * density < end; if end is NaN, there is no upper
     * bound. n < 2^31, z[i] <= largest and no NaN. Returns their number.  indices: [n] */
    size_t (*find)(const float *z, size_t n, float largest, float density, float begin, float end, int32_t *indices);

    /* out[i] = (float) in[i], always exact; the payload of a NaN is kept (from f16: made quiet) */
    void (*to_f32)(const void *in, llk_dtype dtype, size_t n, float *out);
} llk_kernels;

/* Returns the kernels of an implementation, or NULL if this build or this CPU does not have it. */
const llk_kernels *llk_get(llk_isa isa);

/* Returns exp(x) within 1 ulp: the definition that every implementation follows. exp(+-0) is 1. The result is +0 where
 * exp(x) would be denormal (x < -87.33654), +inf where it exceeds the largest float (x > 88.72283), and NaN for NaN. */
float llk_expf(float x);

/* Rounds n elements to nearest even. NaN stays NaN. */
void llk_f32_to_bf16(const float *in, size_t n, uint16_t *out);

#endif
