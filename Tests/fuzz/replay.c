/*
 * replay TARGET FILE...   Runs a target over inputs, without libFuzzer. It comes back, or the target aborts; so does an
 * input that takes more than two seconds.
 */
#include "fuzz.h"

#include <time.h>

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
        clock_t started = clock();
        run(bytes, length);
        if (clock() - started > 2 * CLOCKS_PER_SEC) wrong(__FILE__, __LINE__, "%s takes too long", arguments[i]);
        free(bytes);
    }
    return 0;
}
