/* The version: of the header, of the library, as a number and as text. */
#include "decoders.h"

static void version(void) {
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", LLADA_VERSION_MAJOR, LLADA_VERSION_MINOR, LLADA_VERSION_PATCH);
    CHECK_EQUAL(llada_version(), LLADA_VERSION);
    CHECK(!strcmp(llada_version_string(), text));
    CHECK(!strncmp(llada_build_info(), "llada ", 6) && strstr(llada_build_info(), text));
    CHECK(!strchr(llada_build_info(), '\n'));
    CHECK(llada_version_string() == llada_version_string());
    remark("%s", llada_build_info());
}

int main(void) {
    static const test tests[] = {
        {"version", version},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
