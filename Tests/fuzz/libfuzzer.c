/* The targets under libFuzzer: `fuzz --target=NAME [flags of libFuzzer] [folders]`. */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static target *run;

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    static const char flag[] = "--target=";
    for (int i = 1; i < *count; i++)
        if (!strncmp((*arguments)[i], flag, sizeof flag - 1)) run = target_named((*arguments)[i] + sizeof flag - 1);
    if (run) return 0;
    fprintf(stderr, "usage: fuzz --target=NAME [flags of libFuzzer] [folders]\n");
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    run(bytes, count);
    return 0;
}
