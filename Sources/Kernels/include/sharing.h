/*
 * sharing.h - tells ThreadSanitizer what orders a thread's last look at shared memory and another's first write to it.
 *
 * That is the object's reference count: Swift gives a reference up with release order, and who then finds the object
 * his own writes only after that. The counts are the runtime's, which is not instrumented, so the sanitizer would
 * report a race. Without it, both functions do nothing.
 */
#ifndef LLADA_KERNELS_SHARING_H
#define LLADA_KERNELS_SHARING_H

/* The calling thread has read `object`, and looks at it no more before it gives up its reference. */
void llk_has_read(const void *object);

/* The calling thread has found that its reference to `object` is the only one. */
void llk_is_alone_with(const void *object);

#endif
