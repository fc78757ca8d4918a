/* process.c - which process this is, and locks that know theirs. */
#define _GNU_SOURCE
#include "process.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- The process ---- */

/* A page that is all zeros in a child, and holds the number of its process; or NO_PAGE. */
static _Atomic(_Atomic(uint32_t) *) page;
static _Atomic(uint32_t) no_page;
/* The last number that was given to this process or to one it was forked from. */
static _Atomic(uint32_t) last;

static _Atomic(uint32_t) *make_page(void) {
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *fresh = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh != MAP_FAILED && madvise(fresh, size, MADV_WIPEONFORK) != 0) {
        munmap(fresh, size);
        fresh = MAP_FAILED;
    }
    _Atomic(uint32_t) *made = fresh == MAP_FAILED ? &no_page : fresh, *other = NULL;
    if (atomic_compare_exchange_strong(&page, &other, made)) return made;
    if (made != &no_page) munmap(fresh, size);
    return other;
}

uint32_t llk_process(void) {
    _Atomic(uint32_t) *here = atomic_load_explicit(&page, memory_order_acquire);
    if (!here) here = make_page();
    if (here == &no_page) return (uint32_t)getpid();
    uint32_t number = atomic_load_explicit(here, memory_order_relaxed);
    if (number == 0) {
        const uint32_t fresh = (atomic_fetch_add(&last, 1) & INT_MAX) + 1;
        if (atomic_compare_exchange_strong(here, &number, fresh)) number = fresh;
    }
    return number;
}

/* ---- Locks: twice the number of the process that has it, plus 1 if a thread may be waiting ---- */

static _Atomic(uint32_t) *word(llk_lock *lock) { return (_Atomic(uint32_t) *)lock; }

/* Takes the lock as `value` if it is free or an orphan's; else `*found` is what it holds. */
static llk_taking take(llk_lock *lock, uint32_t value, uint32_t *found) {
    for (;;) {
        *found = 0;
        if (atomic_compare_exchange_strong_explicit(word(lock), found, value, memory_order_acquire,
                                                    memory_order_relaxed))
            return LLK_TAKEN;
        if (*found >> 1 == value >> 1) return LLK_BUSY;
        if (*found != 0 && atomic_compare_exchange_strong_explicit(word(lock), found, value, memory_order_acquire,
                                                                   memory_order_relaxed))
            return LLK_ORPHANED;
    }
}

llk_taking llk_lock_try(llk_lock *lock) {
    uint32_t found;
    return take(lock, llk_process() << 1, &found);
}

llk_taking llk_lock_wait(llk_lock *lock) {
    const uint32_t process = llk_process() << 1;
    uint32_t mine = process, found;
    for (;;) {
        const llk_taking result = take(lock, mine, &found);
        if (result != LLK_BUSY) return result;
        /* From here on this thread cannot know whether others wait. */
        mine = process | 1;
        if (found & 1 || atomic_compare_exchange_strong(word(lock), &found, found | 1))
            syscall(SYS_futex, lock, FUTEX_WAIT_PRIVATE, mine, NULL, NULL, 0);
    }
}

bool llk_lock_is_held(const llk_lock *lock) { return __atomic_load_n(lock, __ATOMIC_ACQUIRE) != 0; }

bool llk_lock_is_orphaned(const llk_lock *lock) {
    const uint32_t found = __atomic_load_n(lock, __ATOMIC_RELAXED);
    return found != 0 && found >> 1 != llk_process();
}

void llk_lock_release(llk_lock *lock) {
    if (atomic_exchange_explicit(word(lock), 0, memory_order_release) & 1)
        syscall(SYS_futex, lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
