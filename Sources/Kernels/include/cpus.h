/* cpus.h - how many CPUs this process may run on: its affinity mask, which containers and taskset narrow. */
#ifndef LLADA_CPUS_H
#define LLADA_CPUS_H

/* Returns the number of CPUs in the affinity mask; 0 if the system does not tell. */
long llk_affinity(void);

/* Returns the number of CPUs that the process may run on, at least 1: of its affinity mask, else of the machine. */
long llk_cpu_count(void);

#endif
