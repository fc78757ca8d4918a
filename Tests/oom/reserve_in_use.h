/* What the library's reserve has given out (Sources/Kernels/include/reserve.h). */
#ifndef RESERVE_IN_USE_H
#define RESERVE_IN_USE_H

#include <stddef.h>

/* The bytes; 0 if the library is stripped, and cannot be asked. */
size_t reserve_in_use(void);

#endif
