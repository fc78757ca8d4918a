/* The function is not exported: it is found in the symbol table of the file. */
#define _GNU_SOURCE
#include "reserve_in_use.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <llada.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t (*function)(void);

static void find(const unsigned char *file, uintptr_t base) {
    const Elf64_Ehdr *header = (const void *)file;
    const Elf64_Shdr *sections = (const void *)(file + header->e_shoff);
    for (int i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB) continue;
        const Elf64_Sym *symbols = (const void *)(file + sections[i].sh_offset);
        const char *names = (const char *)file + sections[sections[i].sh_link].sh_offset;
        for (size_t s = 0; s < sections[i].sh_size / sizeof *symbols; s++)
            if (!strcmp(names + symbols[s].st_name, "llk_reserve_in_use"))
                function = (size_t (*)(void))(base + symbols[s].st_value);
    }
}

size_t reserve_in_use(void) {
    static int searched;
    if (!searched++) {
        Dl_info info;
        struct stat status;
        if (!dladdr((void *)(uintptr_t)llada_version, &info)) return 0;
        const int file = open(info.dli_fname, O_RDONLY);
        if (file < 0 || fstat(file, &status)) return 0;
        void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        close(file);
        if (bytes == MAP_FAILED) return 0;
        find(bytes, (uintptr_t)info.dli_fbase);
        munmap(bytes, (size_t)status.st_size);
    }
    return function ? function() : 0;
}
