/* compiler.h - what the kernels ask of the compiler: no contraction of products and sums, unrolled loops, inlined
 * functions. */
#ifndef LLADA_KERNELS_COMPILER_H
#define LLADA_KERNELS_COMPILER_H

/* A fused multiply-add rounds differently from a product and a sum. The source says which one is meant, and the
 * compiler must not choose: clang obeys the pragma, gcc (which contracts by default) the optimisation attribute. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

/* UNROLL: a loop over compile-time bounds that must vanish, so that arrays of accumulators become registers. NO_UNROLL:
 * a loop with so few rounds that unrolling it costs time. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define NO_UNROLL _Pragma("GCC unroll 1")
#endif

/* A file that uses SIMD defines TARGET, the attribute that lets a function use it. */
#define VEC_FN static inline __attribute__((always_inline)) TARGET

#endif
