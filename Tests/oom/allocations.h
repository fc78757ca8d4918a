/* The program's own malloc and its like, and mmap and pthread_create, which fail on request: the library that the
 * program loads calls them here. */
#ifndef ALLOCATIONS_H
#define ALLOCATIONS_H

#include <stdbool.h>

typedef enum { FAIL_NONE, FAIL_ONCE, FAIL_FROM_THEN_ON } failure;

/* From now on allocations are counted, and the n-th of them fails (1 is the first), alone or with all after it. */
void allocations_plan(failure kind, long n);
/* Counting goes on or pauses; between plan and the first of these it pauses. */
void allocations_arm(void);
void allocations_disarm(void);

/* Of the plan: how many were counted, and how many have failed. */
long allocations_counted(void);
long allocations_failed(void);

/* The blocks and the bytes of mappings that are not freed. */
long allocations_live(void);
long allocations_mapped(void);

#endif
