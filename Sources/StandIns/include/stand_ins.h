/* stand_ins.h - functions and data that libllada.so has in place of some of Swift's static library. exports.map keeps
 * them inside; Swift clients of LLaDA do not get them. */
#ifndef LLADA_STAND_INS_H
#define LLADA_STAND_INS_H

#include <stdbool.h>
#include <stdint.h>

/* C's hypotf. A function of Swift's library that nothing calls would ask for the one of glibc 2.35, and all else runs
 * on glibc 2.34. */
float hypotf(float x, float y);

/* The name of a Unicode scalar: there is none. Nothing asks for names, and the table of them takes 0.5 MB. The linker
 * puts this in the place of _swift_stdlib_getScalarName. */
intptr_t __wrap__swift_stdlib_getScalarName(uint32_t scalar, uint8_t *name, intptr_t capacity);

/* What Swift's runtime keeps of its backtraces, all of it off. The object that these come from reads SWIFT_BACKTRACE as
 * the library is loaded, and may install handlers of signals, which are the host's. */
extern uint64_t _swift_backtraceSettings[16];
bool _swift_backtrace_isThunkFunction(const char *mangled);

#endif
