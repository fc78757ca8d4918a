/*
 * process.h - locks that survive fork(2).
 *
 * A child of fork has one thread, and a copy of all memory: what another thread held or was changing at that moment
 * stays as it was, for ever. A lock here knows the process that took it, so a child neither waits for a thread that
 * does not exist, nor looks at what that thread has left half done.
 */
#ifndef LLADA_PROCESS_H
#define LLADA_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* Returns a number, not 0 and below 2^31, that this process has and no process that it was forked from. It costs a
 * load, where the system can empty a page in children (Linux 4.14). */
uint32_t llk_process(void);

/* A lock. 0: free. */
typedef uint32_t llk_lock;

typedef enum {
    LLK_BUSY = 0,     /* not taken: a thread of this process has it */
    LLK_TAKEN = 1,    /* taken */
    LLK_ORPHANED = 2, /* taken from a thread that was left behind by a fork: what the lock guards may be half changed */
} llk_taking;

/* Takes the lock, or does not. */
llk_taking llk_lock_try(llk_lock *lock);

/* Waits for the lock. Never LLK_BUSY. */
llk_taking llk_lock_wait(llk_lock *lock);

void llk_lock_release(llk_lock *lock);

/* Whether somebody has the lock, and whether it is a thread that was left behind by a fork. */
bool llk_lock_is_held(const llk_lock *lock);
bool llk_lock_is_orphaned(const llk_lock *lock);

#endif
