/*
 * host.h - the state of the caller's thread that the library must neither depend on nor change.
 *
 * A host may have set a rounding mode, flushing of denormals to zero, or traps for floating-point exceptions (Fortran
 * programs do), and may be cancelled (pthread_cancel). The library computes with the settings of IEEE 754, and cannot
 * be unwound from within. While a callback runs, all is as the host had it. errno is kept, too.
 */
#ifndef LLADA_HOST_H
#define LLADA_HOST_H

#include <stdint.h>

/* What a thread has set. */
typedef struct {
    uint64_t floats; /* x86: MXCSR, and above it the control word of the x87;  aarch64: FPCR */
    int cancellation;
    int error;
} llk_host;

/* Enters the library: keeps what the thread has set, and sets what the library wants. Returns what an outer call has
 * kept, which belongs to llk_leave. */
llk_host llk_enter(void);

/* Leaves the library: what llk_enter found is set again. */
void llk_leave(llk_host outer);

/* Around a callback: the host's settings are those of the thread again, and then what the callback has made of them is
 * kept in their place. */
void llk_host_begin(void);
void llk_host_end(void);

/* Sets the floating-point settings of IEEE 754 on a thread of the library's own. */
void llk_standard_floats(void);

#endif
