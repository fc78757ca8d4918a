/* cpus.c - the number of CPUs, asked of the system. */
#define _GNU_SOURCE
#include "cpus.h"

#include <sched.h>
#include <unistd.h>

long llk_cpu_count(void) {
    cpu_set_t set;
    long count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? count : 1;
}
