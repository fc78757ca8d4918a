/* probes.h - what a machine can do at most: the yardsticks of llada-bench. */
#ifndef LLADA_PROBES_H
#define LLADA_PROBES_H

#include <stddef.h>
#include <stdint.h>

/* Reads `bytes` bytes once, as fast as one thread can. Returns something that depends on them all. */
uint64_t probe_read(const void *memory, size_t bytes);

typedef enum { PROBE_F32 = 0, PROBE_BF16 = 1, PROBE_INT8 = 2 } probe_kind;

/* Multiplies and adds in registers, the widest way this CPU has for numbers of this kind; returns how many operations
 * (two a multiply-add) it did. 0: no such instructions. */
double probe_arithmetic(probe_kind kind, size_t rounds);

#endif
