/* packed_neon_bf16.c - bf16 weights, keys and values by BFMLALT and BFMLALB, the fused multiply-adds of the second and
 * of the first of each pair, which round and flush as FMLA does. BFDOT and BFMMLA would take two and four products at a
 * time, but round them to odd, or their sum first, and so give other bits (docs/decisions/0023-bf16-by-bfmlal.md). */
#if defined(__aarch64__)
#define TARGET __attribute__((target("dotprod,bf16")))
#include "vector_neon.h"

#include "flush_denormals.h"
#include "tables.h"

#define VECTORS 1
#define AT_QUERIES 4
#define AT_VECTORS 1
#define KERNELS llk_table_neon
#define BIAS8 128 /* no integers are packed here */

typedef struct {
    bfloat16x8_t q[4];
} w_bf16;
typedef bfloat16x8_t x_bf16;
VEC_FN w_bf16 load_bf16(const char *p) {
    w_bf16 w;
    EACH_QUARTER w.q[i] = vreinterpretq_bf16_u8(vld1q_u8((const uint8_t *)p + 16 * i));
    return w;
}
VEC_FN x_bf16 set1_bf16(const char *p) { return vreinterpretq_bf16_s32(vdupq_n_s32(llk_load_int(p))); }
VEC_FN v16 dot_bf16(v16 acc, w_bf16 w, x_bf16 x) {
    EACH_QUARTER acc.q[i] = vbfmlalbq_f32(vbfmlaltq_f32(acc.q[i], w.q[i], x), w.q[i], x);
    return acc;
}

#include "templates/attention_sums.inc"
#include "templates/packed_product.inc"
#include "templates/product_bf16.inc"

PACKED_KERNELS(llk_packed_i8mm_bf16, bf16, LLK_PACKED_BF16)
ATTENTION_KERNELS(llk_attention_i8mm)

#endif
