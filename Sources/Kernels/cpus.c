/* cpus.c - the number of CPUs, asked of the system. */
#define _GNU_SOURCE /* CPU_ALLOC: the usual set has room for 1024 CPUs */
#include "cpus.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

/* More than any machine has. */
enum { MOST_CPUS = 1 << 18 };

long llk_affinity(void) {
    for (int cpus = 1024; cpus <= MOST_CPUS; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        if (!set) return 0;
        const size_t size = CPU_ALLOC_SIZE((size_t)cpus);
        const int status = sched_getaffinity(0, size, set);
        const long count = status == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        /* EINVAL: the machine may have more CPUs than the set has room for. */
        if (status == 0 || errno != EINVAL) return count;
    }
    return 0;
}

long llk_cpu_count(void) {
    long count = llk_affinity();
    if (count <= 0) count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? count : 1;
}
