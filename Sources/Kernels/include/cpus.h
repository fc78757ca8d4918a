/* cpus.h - how many CPUs this process may run on: its affinity mask, which containers and taskset narrow. */
#ifndef LLADA_CPUS_H
#define LLADA_CPUS_H

/* Returns the number of CPUs, at least 1. */
long llk_cpu_count(void);

#endif
