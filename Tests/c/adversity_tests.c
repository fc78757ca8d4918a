/*
 * Threads that the system refuses, processors that are taken away in the midst of work, and signals at a thousand a
 * second: the same results.
 */
#include "decoders.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int allowed = -1; /* threads that may be made from now on; -1: any number */

/* Stands before that of the C library. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    if (allowed == 0) return EAGAIN;
    if (allowed > 0) allowed--;
    __typeof__(&pthread_create) real;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, attributes, run, argument);
}

static void results_of(const llada_model *model, float *logits, int32_t *tokens) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    CHECK_OK(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, logits, PROMPT * VOCAB, &count, &error));
    CHECK_EQUAL(straight(model, LLADA_PRESET_SPEEDY, tokens), GEN);
}

static void refused(void) {
    static const struct {
        int32_t threads;
        int allowed, are;
    } cases[] = {{1, 0, 1}, {2, 0, 1}, {2, 1, 2}, {3, 0, 1}, {3, 1, 2}, {8, 3, 4}, {1024, 2, 3}};
    static float expected[PROMPT * VOCAB], logits[PROMPT * VOCAB];
    int32_t tokens[2][GEN];
    llada_model *model = open_model(2);
    results_of(model, expected, tokens[0]);
    llada_model_free(model);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        llada_error error = LLADA_ERROR_INIT;
        llada_model_info info = LLADA_MODEL_INFO_INIT;
        char notes[4096], note[100];
        size_t count = 0;
        allowed = cases[i].allowed;
        model = open_model(cases[i].threads);
        CHECK_OK(llada_model_get_info(model, &info, &error));
        CHECK_EQUAL(info.threads, cases[i].are);
        CHECK_OK(llada_model_notes(model, notes, sizeof notes - 1, &count, &error));
        notes[count] = 0;
        const int missing = cases[i].threads - cases[i].are;
        snprintf(note, sizeof note, "refused %d of %d threads", missing, cases[i].threads);
        CHECK(!missing == !strstr(notes, "refused"));
        CHECK(!missing || strstr(notes, note));
        results_of(model, logits, tokens[1]);
        CHECK(!memcmp(logits, expected, sizeof logits) && !memcmp(tokens[0], tokens[1], sizeof *tokens));
        llada_model_free(model);
    }
}

/* By the system itself: no more threads for this user. Root has no limit, so another user tries it. */
static void refused_by_the_system(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    if (getuid() == 0 && setuid(54321)) return;
    const struct rlimit none = {1, 1};
    NEED(!setrlimit(RLIMIT_NPROC, &none));
    llada_model *model = open_model(4);
    CHECK_OK(llada_model_get_info(model, &info, &error));
    CHECK_EQUAL(info.threads, 1);
    int32_t tokens[GEN];
    CHECK_EQUAL(straight(model, LLADA_PRESET_SPEEDY, tokens), GEN);
    llada_model_free(model);
}

/* ---- One processor ---------------------------------------------------------------------------------------------- */

static double processor_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void pin(const cpu_set_t *set) {
    /* All threads of the process: those of the team as well. */
    DIR *threads = opendir("/proc/self/task");
    NEED(threads);
    for (struct dirent *entry; (entry = readdir(threads));)
        if (atoi(entry->d_name) > 0) sched_setaffinity(atoi(entry->d_name), sizeof *set, set);
    closedir(threads);
}

static int take_away(const llada_decoder *decoder, void *user) {
    (void)decoder;
    int *step = user;
    cpu_set_t one, all;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    CPU_ZERO(&all);
    for (size_t cpu = 0; cpu < 256; cpu++) CPU_SET(cpu, &all);
    pin((*step)++ % 2 ? &all : &one);
    return 0;
}

static void taken_away_and_given_back(void) {
    llada_error error = LLADA_ERROR_INIT;
    int32_t tokens[2][GEN];
    int step = 0;
    llada_model *model = open_model(3);
    straight(model, LLADA_PRESET_SPEEDY, tokens[0]);
    for (int round = 0; round < 10; round++) {
        llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
        size_t count = 0;
        CHECK_OK(llada_decoder_run(decoder, take_away, &step, &error));
        CHECK_OK(llada_decoder_output(decoder, tokens[1], GEN, &count, &error));
        CHECK(!memcmp(tokens[0], tokens[1], sizeof *tokens));
        llada_decoder_free(decoder);
    }
    llada_model_free(model);
}

static double time_of(const llada_model *model) {
    double least = 1e9;
    int32_t tokens[GEN];
    for (int round = 0; round < 7; round++) {
        const double begin = processor_time();
        for (int i = 0; i < 3; i++) straight(model, LLADA_PRESET_SPEEDY, tokens);
        const double time = processor_time() - begin;
        if (time < least) least = time;
    }
    return least;
}

/* A team of two on one processor: waiting costs little. Loops that only spin took 2.2 times the time of one thread. */
static void two_threads_on_one_processor(void) {
    cpu_set_t one;
    llada_model *alone = open_model(1), *two = open_model(2);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    pin(&one);
    const double least = time_of(alone), shared = time_of(two);
    remark("%.2f times the time of one thread", shared / least);
    CHECK(shared < 2.5 * least);
    llada_model_free(alone);
    llada_model_free(two);
}

/* ---- Signals ---------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t ticks;

static void tick(int number) {
    (void)number;
    ticks++;
}

static void signals(void) {
    static float expected[PROMPT * VOCAB], logits[PROMPT * VOCAB];
    static char snapshot[1 << 20];
    int32_t tokens[2][GEN];
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0, added = 0;
    make_own_folder();
    llada_model *model = open_model(2);
    results_of(model, expected, tokens[0]);
    llada_model_free(model);
    for (int restarts = 0; restarts < 2; restarts++) {
        struct sigaction action = {0};
        action.sa_handler = tick;
        action.sa_flags = restarts ? SA_RESTART : 0;
        sigaction(SIGALRM, &action, NULL);
        const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
        setitimer(ITIMER_REAL, &often, NULL);
        ticks = 0;
        for (int round = 0; round < 200 && (ticks < 300 || round < 5); round++) {
            llada_model_options options = usual_options();
            options.threads = 2;
            options.eos_token_id_count = 0;
            options.use_mmap = round % 3;
            CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
            NEED(model);
            results_of(model, logits, tokens[1]);
            CHECK(!memcmp(logits, expected, sizeof logits) && !memcmp(tokens[0], tokens[1], sizeof *tokens));
            llada_prefix_cache *cache = make_cache(model, 1 << 20);
            llada_decoder *decoder = make_nth(model, cache, 0), *again = NULL;
            CHECK_OK(llada_decoder_step(decoder, &error));
            CHECK_OK(llada_decoder_save_file(decoder, true, inside("snapshot"), NULL, NULL, &error));
            CHECK_OK(llada_decoder_save(decoder, true, NULL, NULL, snapshot, sizeof snapshot, &count, &error));
            CHECK_OK(llada_decoder_restore_file(model, cache, inside("snapshot"), NULL, NULL, &again, &error));
            CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
            CHECK_OK(llada_decoder_run(again, NULL, NULL, &error));
            CHECK_OK(llada_prefix_cache_save(cache, inside("cache"), NULL, NULL, &error));
            CHECK_OK(llada_prefix_cache_clear(cache, &error));
            CHECK_OK(llada_prefix_cache_load(cache, inside("cache"), NULL, NULL, &added, &error));
            llada_decoder_free(decoder);
            llada_decoder_free(again);
            llada_prefix_cache_free(cache);
            llada_model_free(model);
            char name[32];
            snprintf(name, sizeof name, "packed%d-%d", restarts, round);
            options.dtype = LLADA_DTYPE_INT8;
            CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
            CHECK_OK(llada_model_save(model, inside(name), NULL, NULL, &error));
            llada_model_free(model);
        }
        setitimer(ITIMER_REAL, &never, NULL);
        CHECK(ticks >= 100);
    }
    alarm(60);
}

int main(void) {
    static const test tests[] = {
        {"threads are refused: fewer, and a note", refused},
        {"threads are refused by the system", refused_by_the_system},
        {"processors taken away and given back", taken_away_and_given_back},
        {"two threads on one processor", two_threads_on_one_processor},
        {"a thousand signals a second", signals},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
