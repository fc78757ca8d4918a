/*
 * allocator.h - what stands in the place of malloc and its like in libllada.so.
 *
 * The linker puts `__wrap_malloc` where code of the library, Swift's runtime included, calls malloc, and so on
 * (--wrap, in Package.swift). The host's calls are its own. The functions have no declarations: nobody calls them by
 * these names.
 */
#ifndef LLADA_ALLOCATOR_H
#define LLADA_ALLOCATOR_H
#endif
