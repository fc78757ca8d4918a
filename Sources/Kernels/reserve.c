/* reserve.c - blocks of a few sizes in static memory, and rooms, from which blocks are cut one after another. */
#define _DEFAULT_SOURCE
#include "reserve.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

/* In the static part of a thread's memory: a variable that the loader has to allocate when a thread first touches it
 * would end the process if there is no memory for it, even with that of Swift's runtime. */
#define OF_THREAD static _Thread_local __attribute__((tls_model("initial-exec")))

OF_THREAD bool is_drawn;
OF_THREAD llk_room *rooms; /* the innermost */

/* ---- The reserve ------------------------------------------------------------------------------------------------ */

/* The largest first, so that each block is aligned to its size, or to 4096. */
enum { CLASSES = 6, LARGEST_CLASS_COUNT = 1024 };
static const struct {
    size_t size, count, offset; /* offset: of the first block, in bytes */
} classes[CLASSES] = {
    {65536, 8, 0},        {16384, 16, 524288}, {4096, 64, 786432},
    {1024, 256, 1048576}, {256, 768, 1310720}, {64, 1024, 1507328},
};

static _Alignas(4096) unsigned char reserve[LLK_RESERVE_SIZE];
/* A bit for each block that is out. */
static _Atomic uint64_t taken[CLASSES][LARGEST_CLASS_COUNT / 64];
static atomic_size_t taken_count[CLASSES];
/* The number of classes of which less than half is there. */
static atomic_int low;

static void *take(int kind) {
    const size_t count = classes[kind].count;
    for (size_t word = 0; word * 64 < count; word++) {
        const uint64_t all = count - word * 64 < 64 ? (UINT64_C(1) << (count - word * 64)) - 1 : UINT64_MAX;
        uint64_t seen = atomic_load(&taken[kind][word]);
        while ((seen & all) != all) {
            const int bit = __builtin_ctzll(~seen & all);
            if (!atomic_compare_exchange_weak(&taken[kind][word], &seen, seen | UINT64_C(1) << bit)) continue;
            if (atomic_fetch_add(&taken_count[kind], 1) == count / 2) atomic_fetch_add(&low, 1);
            return reserve + classes[kind].offset + (word * 64 + (size_t)bit) * classes[kind].size;
        }
    }
    return NULL;
}

static bool is_in_reserve(const void *block) { return (uintptr_t)block - (uintptr_t)reserve < LLK_RESERVE_SIZE; }

static int class_of(const void *block) {
    const size_t offset = (uintptr_t)block - (uintptr_t)reserve;
    int kind = CLASSES - 1;
    while (offset < classes[kind].offset) kind--;
    return kind;
}

static void give_back(const void *block) {
    const int kind = class_of(block);
    const size_t offset = (uintptr_t)block - (uintptr_t)reserve;
    const size_t index = (offset - classes[kind].offset) / classes[kind].size;
    atomic_fetch_and(&taken[kind][index / 64], ~(UINT64_C(1) << index % 64));
    if (atomic_fetch_sub(&taken_count[kind], 1) == classes[kind].count / 2 + 1) atomic_fetch_sub(&low, 1);
}

/* ---- Rooms ------------------------------------------------------------------------------------------------------ */

/* Stands at the beginning of the memory that it describes. */
struct llk_room {
    llk_room *outer;
    unsigned char *next, *end;
    atomic_size_t users; /* the blocks that are out, and one for the thread while the room is open */
    int place;           /* in the register; -1 until the first block is cut */
};

/* Stands before each block. */
typedef struct {
    llk_room *room;
    size_t size;
} cut;

/* The rooms of which blocks are out, in one word each, so that it is read as a whole: the address of the memory and its
 * size, both in units of 64 KB. */
enum { UNIT = 65536, SIZE_BITS = 23, REGISTERED = 256 };
static _Atomic uint64_t registered[REGISTERED];
static atomic_int registered_count;
static atomic_size_t cut_bytes;

static bool enter_in_register(llk_room *room) {
    const uint64_t units = (uint64_t)(room->end - (unsigned char *)room) / UNIT;
    const uint64_t word = (uint64_t)(uintptr_t)room / UNIT << SIZE_BITS | units;
    for (int place = 0; place < REGISTERED; place++) {
        uint64_t empty = 0;
        if (!atomic_compare_exchange_strong(&registered[place], &empty, word)) continue;
        room->place = place;
        atomic_fetch_add(&registered_count, 1);
        return true;
    }
    return false;
}

static void drop_room(llk_room *room) {
    if (atomic_fetch_sub(&room->users, 1) != 1) return;
    if (room->place >= 0) {
        atomic_fetch_sub(&registered_count, 1);
        atomic_store(&registered[room->place], 0);
    }
    munmap(room, (size_t)(room->end - (unsigned char *)room));
}

llk_room *llk_room_open(size_t bytes) {
    const size_t most = (size_t)UNIT << SIZE_BITS;
    if (bytes >= most - 2 * UNIT) return NULL;
    /* One unit more for the headers, and one to align. */
    const size_t size = (bytes + UNIT - 1) / UNIT * UNIT + UNIT;
    unsigned char *memory = mmap(NULL, size + UNIT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    const size_t before = (size_t)(-(uintptr_t)memory % UNIT);
    if (before) munmap(memory, before);
    if (before != UNIT) munmap(memory + before + size, UNIT - before);
    llk_room *room = (llk_room *)(void *)(memory + before);
    *room = (llk_room){.outer = rooms, .next = (unsigned char *)(room + 1), .end = memory + before + size, .place = -1};
    atomic_store(&room->users, 1);
    rooms = room;
    return room;
}

void llk_room_close(llk_room *room) {
    rooms = room->outer;
    drop_room(room);
}

static void *cut_from(llk_room *room, size_t size, size_t alignment) {
    const uintptr_t place = ((uintptr_t)room->next + sizeof(cut) + alignment - 1) & ~(uintptr_t)(alignment - 1);
    if (place > (uintptr_t)room->end || size > (uintptr_t)room->end - place) return NULL;
    if (room->place < 0 && !enter_in_register(room)) return NULL;
    unsigned char *block = room->next + (place - (uintptr_t)room->next);
    const size_t whole = (size + 15) / 16 * 16;
    room->next = whole > (size_t)(room->end - block) ? room->end : block + whole;
    ((cut *)(void *)block)[-1] = (cut){room, size};
    atomic_fetch_add(&room->users, 1);
    atomic_fetch_add(&cut_bytes, size);
    return block;
}

static bool is_cut(const void *block) {
    const uint64_t unit = (uint64_t)(uintptr_t)block / UNIT;
    for (int place = 0; place < REGISTERED; place++) {
        const uint64_t word = atomic_load(&registered[place]);
        if (unit - (word >> SIZE_BITS) < (word & ((UINT64_C(1) << SIZE_BITS) - 1))) return true;
    }
    return false;
}

/* ---- Both ------------------------------------------------------------------------------------------------------- */

void *llk_reserve_take(size_t size, size_t alignment) {
    is_drawn = true;
    if (alignment < 16) alignment = 16;
    if (alignment > 4096) return NULL;
    /* Small blocks of the reserve are used again; what is cut from a room is not. */
    for (int kind = CLASSES - 1; kind >= 0; kind--) {
        if (classes[kind].size < size || classes[kind].size < alignment) continue;
        void *block = take(kind);
        if (block) return block;
    }
    for (llk_room *room = rooms; room; room = room->outer) {
        void *block = cut_from(room, size, alignment);
        if (block) return block;
    }
    return NULL;
}

bool llk_reserve_owns(const void *block) {
    return is_in_reserve(block) || (atomic_load_explicit(&registered_count, memory_order_relaxed) && is_cut(block));
}

size_t llk_reserve_size(const void *block) {
    return is_in_reserve(block) ? classes[class_of(block)].size : ((const cut *)block)[-1].size;
}

void llk_reserve_give_back(void *block) {
    if (is_in_reserve(block)) {
        give_back(block);
        return;
    }
    const cut *header = (cut *)block - 1;
    atomic_fetch_sub(&cut_bytes, header->size);
    drop_room(header->room);
}

/* ---- Calls ------------------------------------------------------------------------------------------------------ */

bool llk_reserve_enter(void) {
    const bool outer = is_drawn;
    is_drawn = false;
    return outer;
}

void llk_reserve_leave(bool outer) { is_drawn = outer; }

void llk_reserve_mark(void) { is_drawn = true; }

bool llk_reserve_is_drawn(void) { return is_drawn; }

bool llk_reserve_admits(void) {
    if (atomic_load_explicit(&low, memory_order_relaxed) == 0) return true;
    /* Not malloc, which would not fail; and volatile, or the compiler would leave both calls out. */
    void *volatile memory = aligned_alloc(64, 4096);
    free(memory);
    return memory != NULL;
}

size_t llk_reserve_in_use(void) {
    size_t bytes = atomic_load(&cut_bytes);
    for (int kind = 0; kind < CLASSES; kind++) bytes += atomic_load(&taken_count[kind]) * classes[kind].size;
    return bytes;
}
