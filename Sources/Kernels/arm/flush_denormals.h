/* flush_denormals.h - denormal operands and results become zero between flush_denormals and restore, as packed.h asks
 * it of bf16. A file includes it after vector_neon.h. */
#ifndef LLADA_KERNELS_FLUSH_DENORMALS_H
#define LLADA_KERNELS_FLUSH_DENORMALS_H

typedef uint64_t fp_state;
VEC_FN void set_fpcr(fp_state fpcr) { __asm__ volatile("msr fpcr, %0" : : "r"(fpcr) : "memory"); }
VEC_FN fp_state flush_denormals(void) {
    fp_state before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    set_fpcr(before | 1 << 24);
    return before;
}
VEC_FN void restore(fp_state before) { set_fpcr(before); }

#endif
