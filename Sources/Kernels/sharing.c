/* sharing.c - the order that reference counts make, for ThreadSanitizer. */
#include "sharing.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAS_THREAD_SANITIZER 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define HAS_THREAD_SANITIZER 1
#endif

#if HAS_THREAD_SANITIZER
void __tsan_acquire(void *address);
void __tsan_release(void *address);

void llk_has_read(const void *object) { __tsan_release((void *)object); }
void llk_is_alone_with(const void *object) { __tsan_acquire((void *)object); }
#else
void llk_has_read(const void *object) { (void)object; }
void llk_is_alone_with(const void *object) { (void)object; }
#endif
