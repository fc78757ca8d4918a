/* mapping.c - parts of mapped files, before they are read (man 2 madvise). */
#define _GNU_SOURCE
#include "mapping.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* What is asked for at once. Some kernels read no more than this at one request, whatever its size. */
enum { PIECE = 128 << 10 };

void llk_expect_random(const void *base, size_t size) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t first = ((uintptr_t)base + page - 1) / page * page, end = ((uintptr_t)base + size) / page * page;
    const int before = errno;
    if (first < end) madvise((void *)first, end - first, MADV_RANDOM);
    errno = before;
}

void llk_read_ahead(const void *base, size_t size) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = (uintptr_t)base + size;
    const int before = errno;
    for (uintptr_t piece = (uintptr_t)base / page * page; piece < end; piece += PIECE)
        madvise((void *)piece, end - piece < PIECE ? end - piece : PIECE, MADV_WILLNEED);
    errno = before;
}
