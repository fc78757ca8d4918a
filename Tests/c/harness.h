/*
 * A small harness. Each test runs in a process of its own, so that one that crashes is one failure, and so that every
 * test also proves the library's manners: whatever reaches the child's stdout or stderr is a failure.
 */
#ifndef HARNESS_H
#define HARNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define LLADA_EXPERIMENTAL
#include <llada.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    void (*run)(void);
    const void *argument; /* of a test that is one of many; the running one's is test_argument */
} test;

extern const void *test_argument;

/* Runs the tests, prints a line for each and "N passed, N failed"; returns the exit status. */
int run_tests(const test *tests, size_t count);

/* Notes a failure of the running test and goes on. */
void failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Shown beside the test's name. */
void remark(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition)                                                \
    do {                                                                \
        if (!(condition)) failed(__FILE__, __LINE__, "%s", #condition); \
    } while (0)

#define CHECK_EQUAL(a, b)                                                             \
    do {                                                                              \
        long long a_ = (long long)(a), b_ = (long long)(b);                           \
        if (a_ != b_) failed(__FILE__, __LINE__, "%s is %lld, not %lld", #a, a_, b_); \
    } while (0)

/* Calls are given &error, a llada_error that the test has. It must agree, and is left clean: a call that succeeds has
 * not touched it, one that is refused has filled it with the same code, and words. */
#define CHECK_OK(call) check_status(__FILE__, __LINE__, #call, (call), LLADA_OK, &error)
#define CHECK_REFUSED(call, expected) check_status(__FILE__, __LINE__, #call, (call), (expected), &error)
/* For calls without an error. */
#define CHECK_STATUS(call, expected) check_status(__FILE__, __LINE__, #call, (call), (expected), NULL)
/* Whatever it answers, it answers one of two. */
#define CHECK_EITHER(call, one, other)                                                                        \
    do {                                                                                                      \
        llada_status s_ = (call);                                                                             \
        if (s_ != (one) && s_ != (other)) failed(__FILE__, __LINE__, "%s: %s", #call, llada_status_name(s_)); \
    } while (0)

void check_status(const char *file, int line, const char *call, llada_status is, llada_status expected,
                  llada_error *error);

/* Stops the test: what follows makes no sense without this. */
#define NEED(condition)                                                           \
    do {                                                                          \
        if (!(condition)) failed(__FILE__, __LINE__, "%s", #condition), finish(); \
    } while (0)
_Noreturn void finish(void);

extern const char *fixtures;   /* the folder of the conformance data */
extern const char *text_model; /* a checkpoint with a tokenizer; NULL if there is none */

/* ---- Structs of another age: what the size says, what stands in the tail, whether it is welcome ----------------- */

typedef struct {
    uint32_t size; /* 0: as it should be */
    unsigned char tail;
    bool welcome;
} age;

enum { AGE_COUNT = 7 };
#define AGES(T, second_field)                                                                           \
    {                                                                                                   \
        {0, 0, true}, {sizeof(T) + 16, 0, true}, {sizeof(T) + 16, 1, false}, {sizeof(T) + 1, 1, false}, \
            {offsetof(T, second_field), 0xFF, true}, {1, 0xFF, false}, {                                \
            3, 0xFF, false                                                                              \
        }                                                                                               \
    }

/* ---- A folder of the test's own --------------------------------------------------------------------------------- */

extern char own_folder[64];
void make_own_folder(void);
/* The path of a name in it; the last four that were asked for stay. */
const char *inside(const char *name);

#endif
