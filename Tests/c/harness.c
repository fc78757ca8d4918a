#include "harness.h"

#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

const char *fixtures = "Tests/Fixtures/conformance";
const char *text_model;
const void *test_argument;

static FILE *report; /* the real stdout, in a test */
static int failures; /* of the running test */
static char remarks[320];

enum { BROKEN = 101 };

/* Of a test, in seconds by the clock: TEST_SECONDS in the environment, for what makes tests slow. */
static unsigned time_limit(void) {
    const char *seconds = getenv("TEST_SECONDS");
    return seconds ? (unsigned)atoi(seconds) : 180;
}

void failed(const char *file, int line, const char *format, ...) {
    const char *name = strrchr(file, '/');
    va_list list;
    if (++failures > 20) return;
    fprintf(report, "    %s:%d: ", name ? name + 1 : file, line);
    va_start(list, format);
    vfprintf(report, format, list);
    va_end(list);
    fputc('\n', report);
    fflush(report);
}

void remark(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(remarks, sizeof remarks, format, list);
    va_end(list);
}

void check_status(const char *file, int line, const char *call, llada_status is, llada_status expected,
                  llada_error *error) {
    if (is != expected)
        failed(file, line, "%s: %s, not %s%s%s", call, llada_status_name(is), llada_status_name(expected),
               error && is ? ": " : "", error && is ? error->message : "");
    if (!error) return;
    if (is != LLADA_OK &&
        (error->status != is || !memchr(error->message, 0, sizeof error->message) || !*error->message))
        failed(file, line, "%s: the error says %s, \"%.80s\"", call, llada_status_name(error->status), error->message);
    if (is == LLADA_OK && (error->status != LLADA_OK || *error->message))
        failed(file, line, "%s: succeeds, but fills the error", call);
    *error = (llada_error)LLADA_ERROR_INIT;
}

_Noreturn void finish(void) {
    fflush(stdout);
    fflush(stderr);
    if (remarks[0]) fprintf(report, "    (%s)\n", remarks);
    fflush(report);
    exit(failures ? BROKEN : 0); /* exit, not _exit: sanitizers look for leaks there */
}

/* 1 if it passed. */
static int run_one(const test *t) {
    FILE *said = tmpfile();
    int verdict = 0;
    if (!said) return 0;
    printf("%-48s ", t->name);
    fflush(stdout);
    /* A remark or a failure comes after "ok" would: the child's lines are collected and printed behind the verdict. */
    FILE *lines = tmpfile();
    if (!lines) return 0;
    pid_t child = fork();
    if (child == 0) {
        report = lines;
        dup2(fileno(said), STDOUT_FILENO);
        dup2(fileno(said), STDERR_FILENO);
        alarm(time_limit());
        test_argument = t->argument;
        t->run();
        finish();
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return 0;
    long noise = fseek(said, 0, SEEK_END) ? -1 : ftell(said);
    verdict = WIFEXITED(status) && WEXITSTATUS(status) == 0 && noise == 0;
    puts(verdict ? "ok" : "FAILED");
    char buffer[4096];
    rewind(lines);
    while (fgets(buffer, sizeof buffer, lines)) fputs(buffer, stdout);
    if (WIFSIGNALED(status))
        printf("    %s\n", WTERMSIG(status) == 14 ? "did not end in time" : strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) && WEXITSTATUS(status) != BROKEN)
        printf("    exit status %d\n", WEXITSTATUS(status));
    if (noise != 0) {
        puts("    and something was printed:");
        rewind(said);
        for (int i = 0; i < 60 && fgets(buffer, sizeof buffer, said); i++) printf("    | %s", buffer);
    }
    fflush(stdout);
    fclose(said);
    fclose(lines);
    return verdict;
}

int run_tests(const test *tests, size_t count) {
    int passed = 0;
    if (getenv("FIXTURES")) fixtures = getenv("FIXTURES");
    text_model = getenv("TEXT_MODEL");
    const char *only = getenv("ONLY");
    int chosen = 0;
    for (size_t i = 0; i < count; i++) {
        if (only && !strstr(tests[i].name, only)) continue;
        chosen++;
        passed += run_one(&tests[i]);
    }
    printf("%d passed, %d failed\n", passed, chosen - passed);
    return passed != chosen;
}

char own_folder[64];

void make_own_folder(void) {
    snprintf(own_folder, sizeof own_folder, "/tmp/llada-abi-XXXXXX");
    NEED(mkdtemp(own_folder));
}

const char *inside(const char *name) {
    static char paths[4][256];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", own_folder, name);
    return path;
}
