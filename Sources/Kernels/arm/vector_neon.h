/* vector_neon.h - 16 lanes are four registers of 4. */
#ifndef LLADA_KERNELS_VECTOR_NEON_H
#define LLADA_KERNELS_VECTOR_NEON_H

#include "numbers.h"

#include <arm_neon.h>

typedef struct {
    float32x4_t q[4]; /* lanes 4 i .. 4 i + 3 */
} v16;

#define EACH_QUARTER UNROLL for (int i = 0; i < 4; i++)

/* Defines v16 name(v16 a, v16 b): each quarter is `expression` of a.q[i] and b.q[i]. */
#define QUARTERWISE(name, expression)     \
    VEC_FN v16 name(v16 a, v16 b) {       \
        EACH_QUARTER a.q[i] = expression; \
        return a;                         \
    }

QUARTERWISE(v16_add, vaddq_f32(a.q[i], b.q[i]))
QUARTERWISE(v16_sub, vsubq_f32(a.q[i], b.q[i]))
QUARTERWISE(v16_mul, vmulq_f32(a.q[i], b.q[i]))
QUARTERWISE(v16_div, vdivq_f32(a.q[i], b.q[i]))
QUARTERWISE(v16_max, vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]))

VEC_FN v16 v16_set1(float f) { return (v16){{vdupq_n_f32(f), vdupq_n_f32(f), vdupq_n_f32(f), vdupq_n_f32(f)}}; }
VEC_FN v16 v16_fma(v16 a, v16 b, v16 c) {
    EACH_QUARTER c.q[i] = vfmaq_f32(c.q[i], a.q[i], b.q[i]);
    return c;
}
VEC_FN v16 v16_fnma(v16 a, v16 b, v16 c) {
    EACH_QUARTER c.q[i] = vfmsq_f32(c.q[i], a.q[i], b.q[i]);
    return c;
}
VEC_FN v16 v16_round(v16 a) {
    EACH_QUARTER a.q[i] = vrndnq_f32(a.q[i]);
    return a;
}

/* Multiplies by 2^n in two factors that are both floats, as in the reference. */
VEC_FN v16 v16_ldexp(v16 p, v16 n) {
    EACH_QUARTER {
        int32x4_t whole = vcvtq_s32_f32(n.q[i]), half = vshrq_n_s32(whole, 1), bias = vdupq_n_s32(127);
        int32x4_t a = vshlq_n_s32(vaddq_s32(half, bias), 23);
        int32x4_t b = vshlq_n_s32(vaddq_s32(vsubq_s32(whole, half), bias), 23);
        p.q[i] = vmulq_f32(vmulq_f32(p.q[i], vreinterpretq_f32_s32(a)), vreinterpretq_f32_s32(b));
    }
    return p;
}

VEC_FN v16 v16_zero_below(v16 v, v16 x, float limit) {
    EACH_QUARTER v.q[i] = vbslq_f32(vcltq_f32(x.q[i], vdupq_n_f32(limit)), vdupq_n_f32(0), v.q[i]);
    return v;
}
VEC_FN v16 v16_inf_above(v16 v, v16 x, float limit) {
    EACH_QUARTER v.q[i] = vbslq_f32(vcgtq_f32(x.q[i], vdupq_n_f32(limit)), vdupq_n_f32(__builtin_inff()), v.q[i]);
    return v;
}
VEC_FN unsigned v16_equal(v16 a, v16 b) {
    const uint32x4_t bits = {1, 2, 4, 8};
    unsigned equal = 0;
    EACH_QUARTER equal |= vaddvq_u32(vandq_u32(vceqq_f32(a.q[i], b.q[i]), bits)) << 4 * i;
    return equal;
}

VEC_FN float32x4_t load4(const void *p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }
VEC_FN v16 v16_load(const float *p) {
    v16 v;
    EACH_QUARTER v.q[i] = load4((const char *)p + 16 * i);
    return v;
}
VEC_FN void v16_store(float *p, v16 v) { EACH_QUARTER vst1q_u8((uint8_t *)p + 16 * i, vreinterpretq_u8_f32(v.q[i])); }

VEC_FN float32x4_t widen4(const char *p, llk_dtype dtype, size_t i) {
    if (dtype == LLK_F32) return load4(p + 4 * i);
    uint16x4_t halves = vreinterpret_u16_u8(vld1_u8((const uint8_t *)p + 2 * i));
    if (dtype == LLK_F16) return vcvt_f32_f16(vreinterpret_f16_u16(halves));
    return vreinterpretq_f32_u32(vshll_n_u16(halves, 16));
}
VEC_FN v16 v16_widen(const void *p, llk_dtype dtype, size_t i) {
    return (v16){{widen4(p, dtype, i), widen4(p, dtype, i + 4), widen4(p, dtype, i + 8), widen4(p, dtype, i + 12)}};
}
#include "templates/partial_vectors.inc"

VEC_FN float v16_sum(v16 a) {
    float32x4_t s = vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3]));
    float32x2_t t = vadd_f32(vget_low_f32(s), vget_high_f32(s));
    return vget_lane_f32(t, 0) + vget_lane_f32(t, 1);
}

#endif
