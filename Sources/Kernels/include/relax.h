/* relax.h - a hint to the CPU that this thread is waiting in a loop. */
#ifndef LLADA_RELAX_H
#define LLADA_RELAX_H

static inline void llk_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
