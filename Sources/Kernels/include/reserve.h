/*
 * reserve.h - memory for the time when there is none.
 *
 * Swift's own allocations cannot fail: where the system has no memory, they end the process. In libllada.so they come
 * here instead (allocator.c), and get a block of the reserve. That leaves a mark on the thread, and at the next
 * checkpoint the call that it is in fails, which gives the block back. So the reserve has to last from one checkpoint
 * to the next, no longer.
 *
 * A block is at most LLK_RESERVE_LARGEST. What may want more asks for room first, which can fail.
 *
 * Any thread may call any of these functions. None waits for another, so none is disturbed by a fork.
 */
#ifndef LLADA_RESERVE_H
#define LLADA_RESERVE_H

#include <stdbool.h>
#include <stddef.h>

/* The largest block of the reserve, in bytes, and all of them together. */
#define LLK_RESERVE_LARGEST 65536
#define LLK_RESERVE_SIZE 1572864

/* ---- For the allocator ------------------------------------------------------------------------------------------ */

/* Returns a block, of the reserve or of this thread's rooms, and marks the thread; NULL if none is large enough.
 * alignment: a power of two, at most 4096 */
void *llk_reserve_take(size_t size, size_t alignment);

/* Whether the address is that of a block that llk_reserve_take has given. */
bool llk_reserve_owns(const void *block);

/* The bytes of such a block, at least as many as were asked for. */
size_t llk_reserve_size(const void *block);

void llk_reserve_give_back(void *block);

/* ---- For calls -------------------------------------------------------------------------------------------------- */

/* Begins a call: the thread has no mark now. Returns whether it had one, which belongs to llk_reserve_leave. */
bool llk_reserve_enter(void);
void llk_reserve_leave(bool outer);

/* Marks the thread as one that was given a block: what has failed for want of memory can do without, but must not. */
void llk_reserve_mark(void);

/* Whether this thread has been given a block since it entered. */
bool llk_reserve_is_drawn(void);

/* Whether a call may begin: more than half of the reserve is there, or the system has memory. */
bool llk_reserve_admits(void);

/* The bytes that are out at present, in blocks of the reserve and of rooms. */
size_t llk_reserve_in_use(void);

/* ---- Room ------------------------------------------------------------------------------------------------------- */

typedef struct llk_room llk_room;

/* Holds `bytes` at hand for this thread's allocations until llk_room_close; NULL if there is no memory. What neither
 * the system nor the reserve has memory for then comes from there. Rooms are closed in the opposite order, by the
 * thread that opened them. A block may outlive its room. */
llk_room *llk_room_open(size_t bytes);
void llk_room_close(llk_room *room);

#endif
