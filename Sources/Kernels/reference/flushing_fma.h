/* flushing_fma.h - the fused multiply-add of VDPBF16PS, in which denormal operands and results become zero. */
#ifndef LLADA_KERNELS_FLUSHING_FMA_H
#define LLADA_KERNELS_FLUSHING_FMA_H

#include "compiler.h"

#include <math.h>

static inline float flush(float f) { return fabsf(f) < 0x1p-126f ? copysignf(0, f) : f; }

/* Returns fma(a, b, c), or zero where the sum, rounded to 24 bits whatever its exponent, is tiny. */
static inline float flushing_fma(float a, float b, float c) {
    a = flush(a);
    b = flush(b);
    c = flush(c);
    float sum = fmaf(a, b, c);
    if (fabsf(sum) > 0x1p-126f || sum == 0) return sum;
    float scaled = fmaf(a * 0x1p48f, b, c * 0x1p48f); /* the terms of so small a sum are small too: nothing overflows */
    return fabsf(scaled) < 0x1p-78f ? copysignf(0, sum) : sum;
}

#endif
