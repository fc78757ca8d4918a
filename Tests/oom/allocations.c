#define _GNU_SOURCE
#include "allocations.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);

static atomic_int kind;
static atomic_long planned, counted, failures, live, mapped;
static atomic_bool armed;

void allocations_plan(failure what, long n) {
    armed = false;
    kind = what;
    planned = n;
    counted = failures = 0;
}

void allocations_arm(void) { armed = true; }
void allocations_disarm(void) { armed = false; }
long allocations_counted(void) { return counted; }
long allocations_failed(void) { return failures; }
long allocations_live(void) { return live; }
long allocations_mapped(void) { return mapped; }

/* A debugger's breakpoint on the one that fails. */
__attribute__((noinline)) void allocation_fails(void) { failures++; }

static bool fails(void) {
    if (!armed) return false;
    const long n = ++counted;
    if (kind == FAIL_NONE || (kind == FAIL_ONCE ? n != planned : n < planned)) return false;
    allocation_fails();
    errno = ENOMEM;
    return true;
}

static void *noted(void *memory) {
    if (memory) live++;
    return memory;
}

void *malloc(size_t size) { return fails() ? NULL : noted(__libc_malloc(size)); }

void *calloc(size_t count, size_t size) { return fails() ? NULL : noted(__libc_calloc(count, size)); }

void *realloc(void *old, size_t size) {
    if (fails()) return NULL;
    void *memory = __libc_realloc(old, size);
    if (!old && memory) live++;
    if (old && !memory && size == 0) live--;
    return memory;
}

void *memalign(size_t alignment, size_t size) { return fails() ? NULL : noted(__libc_memalign(alignment, size)); }

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **memory, size_t alignment, size_t size) {
    void *made = memalign(alignment, size);
    if (made) *memory = made;
    return made ? 0 : ENOMEM;
}

void free(void *memory) {
    if (memory) live--;
    __libc_free(memory);
}

#define REAL(name) (__extension__(__typeof__(&name)) dlsym(RTLD_NEXT, #name))

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    if (fails()) return MAP_FAILED;
    void *memory = REAL(mmap)(address, length, protection, flags, file, offset);
    if (memory != MAP_FAILED) mapped += (long)length;
    return memory;
}

int munmap(void *address, size_t length) {
    mapped -= (long)length;
    return REAL(munmap)(address, length);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    return fails() ? EAGAIN : REAL(pthread_create)(thread, attributes, run, argument);
}
