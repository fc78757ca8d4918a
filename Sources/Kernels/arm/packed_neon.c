/* packed_neon.c - weights of integers by SDOT, and bf16 as floats. */
#if defined(__aarch64__)
#define TARGET __attribute__((target("dotprod")))
#include "vector_neon.h"

#include "flush_denormals.h"
#include "tables.h"

#define VECTORS 1
#define AT_QUERIES 4
#define AT_VECTORS 1
#define KERNELS llk_table_neon
#define BIAS8 0 /* SDOT takes signed weights */

VEC_FN float32x4_t first_bf16(uint32x4_t pairs) { return vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16)); }
VEC_FN float32x4_t second_bf16(uint32x4_t pairs) {
    return vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000)));
}

typedef struct {
    v16 first, second;
} w_bf16;
typedef struct {
    float32x4_t first, second;
} x_bf16;
VEC_FN w_bf16 load_bf16(const char *p) {
    w_bf16 w;
    EACH_QUARTER {
        const uint32x4_t pairs = vreinterpretq_u32_u8(vld1q_u8((const uint8_t *)p + 16 * i));
        w.first.q[i] = first_bf16(pairs);
        w.second.q[i] = second_bf16(pairs);
    }
    return w;
}
VEC_FN x_bf16 set1_bf16(const char *p) {
    const uint32x4_t pair = vdupq_n_u32((uint32_t)llk_load_int(p));
    return (x_bf16){first_bf16(pair), second_bf16(pair)};
}
VEC_FN v16 dot_bf16(v16 acc, w_bf16 w, x_bf16 x) {
    EACH_QUARTER {
        acc.q[i] = vfmaq_f32(acc.q[i], w.second.q[i], x.second);
        acc.q[i] = vfmaq_f32(acc.q[i], w.first.q[i], x.first);
    }
    return acc;
}

typedef struct {
    int32x4_t q[4];
} v16i;
VEC_FN v16i v16i_set1(int32_t n) { return (v16i){{vdupq_n_s32(n), vdupq_n_s32(n), vdupq_n_s32(n), vdupq_n_s32(n)}}; }
VEC_FN v16 v16_from_int(v16i a) {
    v16 f;
    EACH_QUARTER f.q[i] = vcvtq_f32_s32(a.q[i]);
    return f;
}

typedef struct {
    int8x16_t q[4];
} w_int8, w_int4;
typedef int8x16_t x_int8, x_int4;
VEC_FN x_int8 set1_int8(const char *p) { return vreinterpretq_s8_s32(vdupq_n_s32(llk_load_int(p))); }
VEC_FN x_int4 set1_int4(const char *p) { return set1_int8(p); }
VEC_FN v16i dot_int8(v16i acc, w_int8 w, x_int8 x) {
    EACH_QUARTER acc.q[i] = vdotq_s32(acc.q[i], w.q[i], x);
    return acc;
}
VEC_FN v16i dot_int4(v16i acc, w_int4 w, x_int4 x) { return dot_int8(acc, w, x); }

VEC_FN w_int8 load_int8(const char *p) {
    w_int8 w;
    EACH_QUARTER w.q[i] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8((const uint8_t *)p + 16 * i), vdupq_n_u8(128)));
    return w;
}
VEC_FN w_int4 low_int4(const char *p) {
    w_int4 w;
    EACH_QUARTER w.q[i] = vreinterpretq_s8_u8(vandq_u8(vld1q_u8((const uint8_t *)p + 16 * i), vdupq_n_u8(15)));
    return w;
}
VEC_FN w_int4 high_int4(const char *p) {
    w_int4 w;
    EACH_QUARTER w.q[i] = vreinterpretq_s8_u8(vshrq_n_u8(vld1q_u8((const uint8_t *)p + 16 * i), 4));
    return w;
}

#include "templates/attention_sums.inc"
#include "templates/packed_product.inc"
#include "templates/product_bf16.inc"
#include "templates/product_integer.inc"

PACKED_KERNELS(llk_packed_neon_bf16, bf16, LLK_PACKED_BF16)
PACKED_KERNELS(llk_packed_neon_int8, int8, LLK_PACKED_INT8)
PACKED_KERNELS(llk_packed_neon_int4, int4, LLK_PACKED_INT4)
BLOCKS_KERNELS(llk_packed_neon_q8_0, q8_0, LLK_PACKED_Q8_0)
BLOCKS_KERNELS(llk_packed_neon_q4_0, q4_0, LLK_PACKED_Q4_0)
ATTENTION_KERNELS(llk_attention_neon)

#endif
