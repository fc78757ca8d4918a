/*
 * What the library leaves as it was: signals, locale, floating-point mode, files, threads. (That it prints nothing is
 * seen by the harness, in every test.) And what many threads may do to one model at once.
 */
#include "decoders.h"

#include <dirent.h>
#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static int entries(const char *folder) {
    DIR *dir = opendir(folder);
    int count = 0;
    NEED(dir);
    while (readdir(dir)) count++;
    closedir(dir);
    return count;
}

static int mappings_of(const char *name) {
    char line[1024];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    NEED(maps);
    while (fgets(line, sizeof line, maps)) count += strstr(line, name) != NULL;
    fclose(maps);
    return count;
}

/* Everything there is: open, run in all modes, fail, close. */
static void a_whole_life(int32_t threads) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    llada_model *model = open_model(threads), *none = NULL;
    static float logits[PROMPT * VOCAB];
    int32_t tokens[12];
    CHECK_OK(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, logits, PROMPT * VOCAB, &count, &error));
    for (llada_preset preset = LLADA_PRESET_LOW_CONFIDENCE; preset <= LLADA_PRESET_QUALITY_MBE; preset++) {
        llada_decoder *decoder = make_decoder(model, preset, 12);
        CHECK_EQUAL(run_out(decoder, tokens, 12), 12);
        llada_decoder_free(decoder);
    }
    CHECK_REFUSED(llada_model_open("no/such/folder", NULL, &none, &error), LLADA_ERROR_IO);
    llada_model_free(model);
}

static void signals(void) {
    struct sigaction before[65], after;
    sigset_t mask_before, mask_after;
    stack_t stack_before, stack_after;
    for (int s = 1; s < 65; s++) sigaction(s, NULL, &before[s]);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
    sigaltstack(NULL, &stack_before);
    a_whole_life(2);
    for (int s = 1; s < 65; s++) {
        if (sigaction(s, NULL, &after)) continue;
        if (after.sa_handler != before[s].sa_handler || after.sa_flags != before[s].sa_flags)
            failed(__FILE__, __LINE__, "signal %d has another disposition", s);
    }
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (int s = 1; s < 65; s++) CHECK(sigismember(&mask_before, s) == sigismember(&mask_after, s));
    sigaltstack(NULL, &stack_after);
    CHECK(stack_before.ss_sp == stack_after.ss_sp);
}

static volatile sig_atomic_t on_main, elsewhere;
static pthread_t main_thread;

static void on_signal(int number) {
    (void)number;
    if (pthread_equal(pthread_self(), main_thread))
        on_main = 1;
    else
        elsewhere = 1;
}

static int raise_it(const llada_decoder *decoder, void *user) {
    (void)decoder;
    (void)user;
    kill(getpid(), SIGUSR1);
    return 0;
}

/* A host's signals are for the host's threads: the team blocks them. */
static void team_takes_no_signals(void) {
    llada_error error = LLADA_ERROR_INIT;
    struct sigaction action = {0};
    action.sa_handler = on_signal;
    sigaction(SIGUSR1, &action, NULL);
    main_thread = pthread_self();
    llada_model *model = open_model(3);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, 12);
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    CHECK_OK(llada_decoder_step(decoder, &error)); /* the team has begun by now */
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);       /* only the team could take it */
    CHECK_OK(llada_decoder_run(decoder, raise_it, NULL, &error));
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    CHECK(on_main && !elsewhere);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static void environment(void) {
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"};
    const char *chosen = NULL;
    for (size_t i = 0; !chosen && i < 3; i++) chosen = setlocale(LC_ALL, locales[i]);
    char locale[256], folder_before[4096], folder_after[4096];
    snprintf(locale, sizeof locale, "%s", setlocale(LC_ALL, NULL));
    locale_t thread_locale = uselocale((locale_t)0);
    mode_t mask = umask(027);
    NEED(getcwd(folder_before, sizeof folder_before));
    fesetround(FE_UPWARD);
    fenv_t mode;
    fegetenv(&mode);
    int exceptions = fegetexcept();
    a_whole_life(2);
    CHECK(fegetround() == FE_UPWARD);
    CHECK(fegetexcept() == exceptions);
#if defined(__x86_64__)
    /* The mode, not the flags of what has happened. */
    CHECK_EQUAL(__builtin_ia32_stmxcsr() & 0xFFC0u, mode.__mxcsr & 0xFFC0u);
#endif
    fesetround(FE_TONEAREST);
    CHECK(!strcmp(locale, setlocale(LC_ALL, NULL)));
    CHECK(uselocale((locale_t)0) == thread_locale);
    CHECK(umask(mask) == 027);
    NEED(getcwd(folder_after, sizeof folder_after));
    CHECK(!strcmp(folder_before, folder_after));
    remark("in %s", locale);
}

/* Nothing stays behind: descriptors, mappings of the checkpoint, threads. */
static void leaves_nothing(void) {
    a_whole_life(3);
    int files = entries("/proc/self/fd");
    for (int i = 0; i < 10; i++) a_whole_life(3);
    CHECK_EQUAL(entries("/proc/self/fd"), files);
    CHECK_EQUAL(entries("/proc/self/task"), 3); /* ".", ".." and this one */
    CHECK_EQUAL(mappings_of("model.safetensors"), 0);
}

/* Both ways of holding the weights give the same; only one maps the file. */
static void mapped_or_read(void) {
    llada_error error = LLADA_ERROR_INIT;
    int32_t tokens[2][12];
    for (int map = 0; map < 2; map++) {
        llada_model_options options = usual_options();
        options.use_mmap = map;
        options.eos_token_id_count = 0;
        llada_model *model = NULL;
        CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
        NEED(model);
        CHECK((mappings_of("model.safetensors") > 0) == map);
        llada_decoder *decoder = make_decoder(model, LLADA_PRESET_QUALITY, 12);
        CHECK_EQUAL(run_out(decoder, tokens[map], 12), 12);
        llada_decoder_free(decoder);
        llada_model_free(model);
    }
    CHECK(!memcmp(tokens[0], tokens[1], sizeof tokens[0]));
}

/* ---- Threads ---------------------------------------------------------------------------------------------------- */

enum { WORKERS = 4, ROUNDS = 3, LENGTH = 40 };

typedef struct {
    const llada_model *model;
    llada_preset preset;
    int32_t tokens[LENGTH];
    float logits[PROMPT * VOCAB];
    size_t count;
    int wrong;
} worker;

static void *work(void *user) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    worker *w = user;
    for (int round = 0; round < ROUNDS; round++) {
        llada_policy policy;
        llada_decoder_options options;
        llada_decoder *decoder = NULL;
        CHECK_OK(llada_policy_init(&policy, sizeof policy, w->preset, &error));
        CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
        options.policy = &policy;
        options.block_length = BLOCK;
        options.gen_length = LENGTH;
        options.eos_early_stop = false;
        w->wrong += llada_model_logits(w->model, prompt, PROMPT, BLOCK, NULL, NULL, w->logits, PROMPT * VOCAB, &count,
                                       NULL) != LLADA_OK;
        w->wrong += llada_decoder_create(w->model, prompt, PROMPT, &options, &decoder, NULL) != LLADA_OK;
        w->wrong += llada_decoder_run(decoder, NULL, NULL, NULL) != LLADA_OK;
        w->wrong += llada_decoder_output(decoder, w->tokens, LENGTH, &w->count, NULL) != LLADA_OK;
        llada_decoder_free(decoder);
    }
    return NULL;
}

/* One model, four threads, a decoder each: what each gets is what it gets alone. */
static void one_model_many_threads(void) {
    static worker workers[WORKERS], alone;
    for (int32_t team = 1; team <= 3; team++) {
        llada_model *model = open_model(team);
        pthread_t threads[WORKERS];
        for (int i = 0; i < WORKERS; i++) {
            workers[i] = (worker){.model = model, .preset = i % 2 ? LLADA_PRESET_SPEEDY : LLADA_PRESET_QUALITY};
            NEED(!pthread_create(&threads[i], NULL, work, &workers[i]));
        }
        for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
        for (int i = 0; i < WORKERS; i++) {
            alone = (worker){.model = model, .preset = workers[i].preset};
            work(&alone);
            CHECK(!workers[i].wrong && !alone.wrong);
            CHECK(alone.count == LENGTH && workers[i].count == LENGTH);
            CHECK(!memcmp(alone.tokens, workers[i].tokens, sizeof alone.tokens));
            CHECK(!memcmp(alone.logits, workers[i].logits, sizeof alone.logits));
        }
        llada_model_free(model);
    }
}

static void *open_and_free(void *unused) {
    (void)unused;
    for (int i = 0; i < 10; i++) a_whole_life(2);
    return NULL;
}

static void models_come_and_go(void) {
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++) NEED(!pthread_create(&threads[i], NULL, open_and_free, NULL));
    for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
    CHECK_EQUAL(entries("/proc/self/task"), 3);
}

/* As many threads or as few: the same bits. */
static void any_number_of_threads(void) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    static float logits[4][PROMPT * VOCAB];
    static int32_t tokens[4][LENGTH];
    static const int32_t counts[] = {1, 2, 3, 7};
    for (int i = 0; i < 4; i++) {
        llada_model *model = open_model(counts[i]);
        CHECK_OK(
            llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, logits[i], PROMPT * VOCAB, &count, &error));
        llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, LENGTH);
        CHECK_EQUAL(run_out(decoder, tokens[i], LENGTH), LENGTH);
        llada_decoder_free(decoder);
        llada_model_free(model);
        CHECK(!memcmp(logits[i], logits[0], sizeof logits[0]) && !memcmp(tokens[i], tokens[0], sizeof tokens[0]));
    }
}

/* A small stack, as servers give their threads. */
static void *with_little_stack(void *unused) {
    a_whole_life(2);
    return unused;
}

static void small_stack(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    NEED(!pthread_create(&thread, &attributes, with_little_stack, NULL));
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
}

int main(void) {
    static const test tests[] = {
        {"signals are left alone", signals},
        {"the team takes no signals", team_takes_no_signals},
        {"locale, rounding, umask, folder are left alone", environment},
        {"no descriptor, mapping or thread stays", leaves_nothing},
        {"weights mapped or read", mapped_or_read},
        {"one model, four threads, a decoder each", one_model_many_threads},
        {"models come and go on four threads", models_come_and_go},
        {"any number of threads, the same bits", any_number_of_threads},
        {"a thread with a small stack", small_stack},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
