/*
 * shim.c - makes system calls fail, or kills the process at one of them. Loaded before everything else (LD_PRELOAD).
 *
 * fault_arm(n, kind) counts the calls below from then on, and the n-th of them has the fault. fault_disarm returns how
 * many there were.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { NONE = 0, KILL = 1, SHORT = 2 }; /* other kinds are an errno */

static int armed, seen, at, kind;

void fault_arm(int n, int what) {
    armed = 1;
    seen = 0;
    at = n;
    kind = what;
}

int fault_disarm(void) {
    armed = 0;
    return seen;
}

/* Whether this call fails, with errno set. */
static int fails(void) {
    if (!armed || ++seen != at) return 0;
    if (kind == KILL) kill(getpid(), SIGKILL);
    if (kind <= SHORT) return 0;
    errno = kind;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const mode_t mode = (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails() ? -1 : REAL(open)(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const mode_t mode = (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails() ? -1 : REAL(openat)(folder, path, flags, mode);
}

ssize_t write(int file, const void *bytes, size_t count) {
    if (fails()) return -1;
    if (armed && seen == at && kind == SHORT && count > 1) count /= 2;
    return REAL(write)(file, bytes, count);
}

ssize_t read(int file, void *bytes, size_t count) {
    if (fails()) return -1;
    if (armed && seen == at && kind == SHORT && count > 1) count /= 2;
    return REAL(read)(file, bytes, count);
}

ssize_t pread(int file, void *bytes, size_t count, off_t offset) {
    if (fails()) return -1;
    if (armed && seen == at && kind == SHORT && count > 1) count /= 2;
    return REAL(pread)(file, bytes, count, offset);
}

int fstat(int file, struct stat *status) { return fails() ? -1 : REAL(fstat)(file, status); }

int fstatfs(int file, struct statfs *system) { return fails() ? -1 : REAL(fstatfs)(file, system); }

int fsync(int file) { return fails() ? -1 : REAL(fsync)(file); }

int fdatasync(int file) { return fails() ? -1 : REAL(fdatasync)(file); }

int mkdir(const char *path, mode_t mode) { return fails() ? -1 : REAL(mkdir)(path, mode); }

int fchmod(int file, mode_t mode) { return fails() ? -1 : REAL(fchmod)(file, mode); }

int flock(int file, int operation) { return fails() ? -1 : REAL(flock)(file, operation); }

int linkat(int from, const char *old, int to, const char *new, int flags) {
    return fails() ? -1 : REAL(linkat)(from, old, to, new, flags);
}

int renameat(int from, const char *old, int to, const char *new) {
    return fails() ? -1 : REAL(renameat)(from, old, to, new);
}

int unlinkat(int folder, const char *path, int flags) { return fails() ? -1 : REAL(unlinkat)(folder, path, flags); }
