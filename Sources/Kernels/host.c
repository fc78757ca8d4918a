/* host.c - what the caller's thread has set: kept, replaced, and set again. */
#include "host.h"

#include <errno.h>
#include <pthread.h>

#if defined(__x86_64__)

/* Round to nearest, no flushing, no traps, no sticky flags; in the x87 also 64 bits of precision. */
#define STANDARD (0x1F80u | (uint64_t)0x037F << 32)

static uint64_t floats(void) {
    uint32_t sse;
    uint16_t x87;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(sse), "=m"(x87));
    return sse | (uint64_t)x87 << 32;
}

static void set_floats(uint64_t state) {
    const uint32_t sse = (uint32_t)state;
    const uint16_t x87 = (uint16_t)(state >> 32);
    const uint64_t now = floats();
    if ((uint32_t)now != sse) __asm__ volatile("ldmxcsr %0" : : "m"(sse) : "memory");
    if ((uint16_t)(now >> 32) != x87) __asm__ volatile("fldcw %0" : : "m"(x87) : "memory");
}

#elif defined(__aarch64__)

#define STANDARD 0u

static uint64_t floats(void) {
    uint64_t state;
    __asm__ volatile("mrs %0, fpcr" : "=r"(state));
    return state;
}

static void set_floats(uint64_t state) {
    if (floats() != state) __asm__ volatile("msr fpcr, %0" : : "r"(state) : "memory");
}

#else

#define STANDARD 0u

static uint64_t floats(void) { return STANDARD; }

static void set_floats(uint64_t state) { (void)state; }

#endif

static _Thread_local llk_host host;

static void keep(void) {
    host.error = errno;
    host.floats = floats();
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &host.cancellation);
    set_floats(STANDARD);
}

static void set_again(void) {
    set_floats(host.floats);
    pthread_setcancelstate(host.cancellation, &(int){0});
    errno = host.error;
}

llk_host llk_enter(void) {
    const llk_host outer = host;
    keep();
    return outer;
}

void llk_leave(llk_host outer) {
    set_again();
    host = outer;
}

void llk_host_begin(void) { set_again(); }

void llk_host_end(void) { keep(); }

void llk_standard_floats(void) { set_floats(STANDARD); }
