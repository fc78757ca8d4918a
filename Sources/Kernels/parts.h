/* parts.h - some of 16 lanes, and lanes rounded to bf16, through a buffer, which serves every type. For instruction sets that
 * cannot mask them; a file includes it after it has defined v16, v16_set1, v16_load, v16_store and v16_widen (groups.h,
 * lanes.h). */
#ifndef LLADA_KERNELS_PARTS_H
#define LLADA_KERNELS_PARTS_H

VEC_FN v16 v16_load_part(const float *p, size_t count, float fill) {
    float lanes[16];
    v16_store(lanes, v16_set1(fill));
    llk_copy(lanes, p, 4 * count);
    return v16_load(lanes);
}
VEC_FN void v16_store_part(float *p, size_t count, v16 v) {
    float lanes[16];
    v16_store(lanes, v);
    llk_copy(p, lanes, 4 * count);
}
VEC_FN v16 v16_widen_part(const void *p, llk_dtype dtype, size_t i, size_t count) {
    char lanes[64] = {0};
    const size_t size = llk_size_of(dtype);
    llk_copy(lanes, (const char *)p + size * i, size * count);
    return v16_widen(lanes, dtype, 0);
}
VEC_FN void v16_store_bf16(void *p, v16 v) {
    float lanes[16];
    uint16_t halves[16];
    v16_store(lanes, v);
    for (int i = 0; i < 16; i++) halves[i] = llk_to_bf16(lanes[i]);
    llk_copy(p, halves, sizeof halves);
}

#endif
