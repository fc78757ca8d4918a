/* closure.h - a Swift closure that does not escape, as two addresses. Swift has no way to lend one to other threads
 * without a copy on the heap; C has, for it knows Swift's calling convention. */
#ifndef LLADA_KERNELS_CLOSURE_H
#define LLADA_KERNELS_CLOSURE_H

#include <stdint.h>

/* Calls the closure (chunk, worker) -> Void of these addresses, which Swift got from llk_lend. */
void llk_call_closure(const void *code, const void *context, intptr_t chunk, intptr_t worker);

/* llk_lend has Swift's calling convention, and is declared where it is used (ThreadTeam.swift). It calls `use` with the
 * addresses of a closure. They are valid until it returns. */

#endif
