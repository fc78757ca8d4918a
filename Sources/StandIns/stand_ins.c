/* stand_ins.c - what libllada.so has in place of some of Swift's static library. */
#include "stand_ins.h"

#include <math.h>

float hypotf(float x, float y) {
    if (isinf(x) || isinf(y)) return INFINITY;
    return (float)sqrt((double)x * x + (double)y * y);
}

intptr_t __wrap__swift_stdlib_getScalarName(uint32_t scalar, uint8_t *name, intptr_t capacity) {
    (void)scalar, (void)name, (void)capacity;
    return 0;
}

uint64_t _swift_backtraceSettings[16]; /* the runtime's has 88 bytes */

bool _swift_backtrace_isThunkFunction(const char *mangled) {
    (void)mangled;
    return false;
}
