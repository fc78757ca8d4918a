/* file_system.h - where an open file lies. */
#ifndef LLADA_FILE_SYSTEM_H
#define LLADA_FILE_SYSTEM_H

#include <stdbool.h>

/* Whether the file lies on another machine, or behind a program: there a file that is mapped can be cut or go away at
 * any time, and whoever touches it then is killed (SIGBUS). */
bool llk_is_remote(int file);

#endif
