/* allocator.c - malloc and its like, which turn to the reserve when the system has no memory. */
#include "allocator.h"

#include <errno.h>
#include <reserve.h>
#include <stdint.h>
#include <string.h>

#pragma clang diagnostic ignored "-Wreserved-identifier"
#pragma clang diagnostic ignored "-Wmissing-prototypes"

extern void *__real_malloc(size_t size);
extern void *__real_calloc(size_t count, size_t size);
extern void *__real_realloc(void *old, size_t size);
extern int __real_posix_memalign(void **memory, size_t alignment, size_t size);
extern void __real_free(void *memory);
extern size_t __real_malloc_usable_size(void *memory);

#define OFTEN(condition) __builtin_expect(!!(condition), 1)

void *__wrap_malloc(size_t size) {
    void *memory = __real_malloc(size);
    return OFTEN(memory) ? memory : llk_reserve_take(size, 1);
}

void *__wrap_calloc(size_t count, size_t size) {
    void *memory = __real_calloc(count, size);
    size_t bytes;
    if (OFTEN(memory) || __builtin_mul_overflow(count, size, &bytes)) return memory;
    memory = llk_reserve_take(bytes, 1);
    return memory ? memset(memory, 0, bytes) : NULL;
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size) {
    const int error = __real_posix_memalign(memory, alignment, size);
    if (OFTEN(error != ENOMEM)) return error;
    *memory = llk_reserve_take(size, alignment);
    return *memory ? 0 : ENOMEM;
}

void __wrap_free(void *memory) {
    if (OFTEN(!llk_reserve_owns(memory)))
        __real_free(memory);
    else
        llk_reserve_give_back(memory);
}

size_t __wrap_malloc_usable_size(void *memory) {
    return OFTEN(!llk_reserve_owns(memory)) ? __real_malloc_usable_size(memory) : llk_reserve_size(memory);
}

void *__wrap_realloc(void *old, size_t size) {
    size_t before;
    if (OFTEN(!llk_reserve_owns(old))) {
        void *memory = __real_realloc(old, size);
        if (OFTEN(memory) || size == 0) return memory;
        memory = llk_reserve_take(size, 1);
        if (!memory || !old) return memory;
        before = __real_malloc_usable_size(old);
        memcpy(memory, old, before < size ? before : size);
        __real_free(old);
        return memory;
    }
    before = llk_reserve_size(old);
    if (size != 0 && size <= before) return old;
    void *memory = size ? __wrap_malloc(size) : NULL;
    if (!memory && size) return NULL;
    if (memory) memcpy(memory, old, before);
    llk_reserve_give_back(old);
    return memory;
}

/* ---- C++'s, of which Swift's runtime is made. A host may have put others in their place ------------------------ */

extern void *__real__Znwm(size_t size);
extern void *__real__ZnwmSt11align_val_t(size_t size, size_t alignment);
extern void __real__ZdlPv(void *memory);
extern void __real__ZdlPvm(void *memory, size_t size);
extern void __real__ZdlPvmSt11align_val_t(void *memory, size_t size, size_t alignment);
/* Those that return NULL instead of throwing. */
extern void *_ZnwmRKSt9nothrow_t(size_t size, const void *nothrow);
extern void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *nothrow);
extern const char _ZSt7nothrow;

void *__wrap__Znwm(size_t size) {
    void *memory = _ZnwmRKSt9nothrow_t(size, &_ZSt7nothrow);
    if (OFTEN(memory) || (memory = llk_reserve_take(size, 1))) return memory;
    return __real__Znwm(size); /* throws */
}

void *__wrap__ZnwmSt11align_val_t(size_t size, size_t alignment) {
    void *memory = _ZnwmSt11align_val_tRKSt9nothrow_t(size, alignment, &_ZSt7nothrow);
    if (OFTEN(memory) || (memory = llk_reserve_take(size, alignment))) return memory;
    return __real__ZnwmSt11align_val_t(size, alignment); /* throws */
}

void __wrap__ZdlPv(void *memory) {
    if (OFTEN(!llk_reserve_owns(memory)))
        __real__ZdlPv(memory);
    else
        llk_reserve_give_back(memory);
}

void __wrap__ZdlPvm(void *memory, size_t size) {
    if (OFTEN(!llk_reserve_owns(memory)))
        __real__ZdlPvm(memory, size);
    else
        llk_reserve_give_back(memory);
}

void __wrap__ZdlPvmSt11align_val_t(void *memory, size_t size, size_t alignment) {
    if (OFTEN(!llk_reserve_owns(memory)))
        __real__ZdlPvmSt11align_val_t(memory, size, alignment);
    else
        llk_reserve_give_back(memory);
}
