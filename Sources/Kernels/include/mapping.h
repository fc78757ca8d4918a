/* mapping.h - parts of mapped files, before they are read. */
#ifndef LLADA_MAPPING_H
#define LLADA_MAPPING_H

#include <stddef.h>

/* Tells the system that this part of a mapped file is read here and there: who touches a page of it brings in no other
 * pages. Pages that lie in the part only in part are left as they are. */
void llk_expect_random(const void *base, size_t size);

/* Asks the system to read what of this part of a mapped file is not in memory, and does not wait for it. */
void llk_read_ahead(const void *base, size_t size);

#endif
