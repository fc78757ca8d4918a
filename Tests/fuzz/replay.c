/* replay TARGET FILE...   Runs a target over inputs, without libFuzzer. It comes back, or the target aborts. */
#include "fuzz.h"

int main(int count, char **arguments) {
    target *run = count > 1 ? target_named(arguments[1]) : NULL;
    if (!run) {
        fprintf(stderr, "usage: replay TARGET FILE...\n");
        return 2;
    }
    for (int i = 2; i < count; i++) {
        FILE *file = fopen(arguments[i], "rb");
        if (!file || fseek(file, 0, SEEK_END)) wrong(__FILE__, __LINE__, "cannot read %s", arguments[i]);
        size_t length = (size_t)ftell(file);
        /* Of exactly this size, so that a sanitizer sees what reads beyond. */
        uint8_t *bytes = malloc(length ? length : 1);
        rewind(file);
        if (!bytes || fread(bytes, 1, length, file) != length)
            wrong(__FILE__, __LINE__, "cannot read %s", arguments[i]);
        fclose(file);
        run(bytes, length);
        free(bytes);
    }
    return 0;
}
