/*
 * fork(2) at any moment, while other threads are in calls. The child gets results or errors from every handle, and
 * waits for nobody; the parent notices nothing.
 */
#include "decoders.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 3, CHILD_SECONDS = 20 };

static llada_model *model;
static llada_prefix_cache *cache;
static llada_decoder *decoders[THREADS], *resting;
static llada_text_stream *stream;
static int32_t expected[GEN];
static float expected_logits[PROMPT * VOCAB];
static atomic_bool stop;
static atomic_int wrong;

static llada_decoder *make_cached(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    if (llada_decoder_options_init(&options, sizeof options, &error)) return NULL;
    options.block_length = BLOCK;
    options.gen_length = GEN;
    options.eos_early_stop = false;
    options.prefix_cache = cache;
    return llada_decoder_create(model, prompt, PROMPT, &options, &decoder, &error) ? NULL : decoder;
}

static bool is_expected(llada_decoder *decoder) {
    int32_t tokens[GEN];
    size_t count = 0;
    return !llada_decoder_output(decoder, tokens, GEN, &count, NULL) && count == GEN &&
           !memcmp(tokens, expected, sizeof tokens);
}

/* Goes from one decoder to the next, so that each is in a call now and then, and at rest now and then. */
static void *decode(void *number) {
    for (int i = *(int *)number; !atomic_load(&stop); i++) {
        llada_decoder *decoder = decoders[i % THREADS];
        llada_status status = llada_decoder_step(decoder, NULL);
        if (status == LLADA_ERROR_STATE) {
            status = llada_decoder_truncate(decoder, PROMPT / BLOCK * BLOCK + BLOCK, NULL);
            if (status == LLADA_OK) continue;
        }
        if (status && status != LLADA_ERROR_BUSY && status != LLADA_ERROR_STATE) atomic_store(&wrong, 1);
        usleep(300);
    }
    return NULL;
}

/* Everything else: opening, scoring a sequence, saving and restoring, the cache. */
static void *others(void *unused) {
    (void)unused;
    static char buffer[1 << 20];
    while (!atomic_load(&stop)) {
        llada_error error = LLADA_ERROR_INIT;
        llada_model_options options = usual_options();
        llada_model *another = NULL;
        llada_text text = LLADA_TEXT_INIT;
        size_t count = 0;
        options.threads = 2;
        options.dtype = LLADA_DTYPE_INT8;
        int bad = llada_model_open(checkpoint(), &options, &another, &error);
        llada_model_free(another);
        llada_decoder *decoder = make_cached(), *copy = NULL;
        bad |= !decoder || llada_decoder_run(decoder, NULL, NULL, &error) || !is_expected(decoder);
        bad |= llada_decoder_save(decoder, true, NULL, NULL, buffer, sizeof buffer, &count, &error);
        bad |= llada_decoder_restore(model, cache, buffer, count, NULL, NULL, &copy, &error) || !is_expected(copy);
        llada_decoder_free(decoder);
        llada_decoder_free(copy);
        bad |= llada_prefix_cache_save(cache, inside("cache"), NULL, NULL, &error);
        bad |= llada_prefix_cache_clear(cache, &error);
        bad |= llada_prefix_cache_load(cache, inside("cache"), NULL, NULL, &count, &error);
        bad |= llada_text_stream_push(stream, prompt, PROMPT, &text, &error);
        if (bad) atomic_store(&wrong, 1);
    }
    return NULL;
}

/* What a child finds. Returns a line of this file if something is not as it should be. */
static int in_child(int number) {
    static float logits[PROMPT * VOCAB];
    llada_error error = LLADA_ERROR_INIT;
    llada_prefix_cache_info info = LLADA_PREFIX_CACHE_INFO_INIT;
    llada_text text = LLADA_TEXT_INIT;
    size_t count = 0;
    int left_behind = 0;
#define OR_FAIL(condition)                 \
    do {                                   \
        if (!(condition)) return __LINE__; \
    } while (0)
    /* What was at work is refused, for ever and by name; what was at rest goes on. */
    for (int i = 0; i < THREADS; i++) {
        llada_decoder_state state = LLADA_DECODER_STATE_INIT;
        llada_status status = llada_decoder_get_state(decoders[i], &state, &error);
        if (status == LLADA_ERROR_STATE) {
            left_behind++;
            OR_FAIL(strstr(error.message, "forked"));
            OR_FAIL(llada_decoder_step(decoders[i], &error) == LLADA_ERROR_STATE && strstr(error.message, "forked"));
            OR_FAIL(llada_decoders_step(decoders, THREADS, &error) == LLADA_ERROR_STATE);
        } else {
            OR_FAIL(status == LLADA_OK);
            OR_FAIL(!llada_decoder_truncate(decoders[i], PROMPT / BLOCK * BLOCK + BLOCK, &error) || true);
            OR_FAIL(!llada_decoder_run(decoders[i], NULL, NULL, &error));
        }
    }
    OR_FAIL(!llada_decoder_run(resting, NULL, NULL, &error) && is_expected(resting));
    OR_FAIL(!llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, logits, PROMPT * VOCAB, &count, &error));
    OR_FAIL(!memcmp(logits, expected_logits, sizeof logits));
    OR_FAIL(!llada_prefix_cache_get_info(cache, &info, &error));
    llada_status pushed = llada_text_stream_push(stream, prompt, PROMPT, &text, &error);
    OR_FAIL(!pushed || (pushed == LLADA_ERROR_STATE && strstr(error.message, "forked")));
    llada_decoder *fresh = make_cached();
    OR_FAIL(fresh && !llada_decoder_run(fresh, NULL, NULL, &error) && is_expected(fresh));
    OR_FAIL(!llada_prefix_cache_pin(cache, prompt, PROMPT, BLOCK, true, &count, &error));
    if (number % 4 == 0) {
        llada_model_options options = usual_options();
        llada_model *another = NULL;
        options.threads = 2;
        OR_FAIL(!llada_model_open(checkpoint(), &options, &another, &error));
        llada_model_free(another);
        OR_FAIL(!llada_prefix_cache_save(cache, inside("child"), NULL, NULL, &error));
    }
    /* Freeing, in some order. */
    if (number % 2) llada_prefix_cache_free(cache), llada_model_free(model);
    for (int i = 0; i < THREADS; i++) llada_decoder_free(decoders[i]);
    llada_decoder_free(resting);
    llada_decoder_free(fresh);
    llada_text_stream_free(stream);
    if (number % 2 == 0) llada_model_free(model), llada_prefix_cache_free(cache);
    /* 1, 2, 3: how many were left behind; 0: none. */
    return -left_behind;
}

static void at_any_moment(void) {
    const char *rounds = getenv("FORKS");
    const int forks = rounds ? atoi(rounds) : 60;
    pthread_t threads[THREADS + 1];
    int numbers[THREADS], left_behind = 0;
    size_t count = 0;
    llada_error error = LLADA_ERROR_INIT;
    make_own_folder();
    model = open_model(2);
    cache = make_cache(model, 1 << 20);
    llada_model *text = NULL;
    CHECK_OK(llada_model_open(text_model, NULL, &text, &error));
    CHECK_OK(llada_text_stream_create(text, 0, NULL, &stream, &error));
    llada_model_free(text);
    llada_decoder *first = make_cached();
    CHECK_EQUAL(run_out(first, expected, GEN), GEN);
    llada_decoder_free(first);
    CHECK_OK(
        llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, expected_logits, PROMPT * VOCAB, &count, &error));
    for (int i = 0; i < THREADS; i++) NEED((decoders[i] = make_cached()));
    NEED((resting = make_cached()));
    CHECK_OK(llada_decoder_step(resting, &error));
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        NEED(!pthread_create(&threads[i], NULL, decode, &numbers[i]));
    }
    NEED(!pthread_create(&threads[THREADS], NULL, others, NULL));
    for (int i = 0; i < forks; i++) {
        int status = 0;
        usleep((useconds_t)(i * 7919 % 5000));
        pid_t child = fork();
        if (child == 0) {
            alarm(CHILD_SECONDS);
            int line = in_child(i);
            if (line > 0) failed(__FILE__, line, "in child %d", i), _exit(100);
            _exit(-line);
        }
        NEED(child > 0 && waitpid(child, &status, 0) == child);
        if (!WIFEXITED(status))
            failed(__FILE__, __LINE__, "child %d: %s", i,
                   WTERMSIG(status) == 14 ? "waits for ever" : strsignal(WTERMSIG(status)));
        else if (WEXITSTATUS(status) != 100)
            left_behind += WEXITSTATUS(status);
        else
            CHECK(false);
    }
    atomic_store(&stop, true);
    for (int i = 0; i <= THREADS; i++) pthread_join(threads[i], NULL);
    CHECK(!atomic_load(&wrong));
    CHECK(left_behind > 0);
    remark("%d forks, %d decoders were left behind in calls", forks, left_behind);
    CHECK_OK(llada_decoder_run(resting, NULL, NULL, &error));
    CHECK(is_expected(resting));
    for (int i = 0; i < THREADS; i++) llada_decoder_free(decoders[i]);
    llada_decoder_free(resting);
    llada_text_stream_free(stream);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
}

/* ---- In a callback: the thread that forks is the one that is at work, so the child can go on --------------------- */

static int fork_once(const llada_decoder *decoder, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    pid_t *child = user;
    if (*child != -1) return 0;
    *child = fork();
    if (*child == 0) {
        llada_decoder_state state = LLADA_DECODER_STATE_INIT;
        alarm(CHILD_SECONDS);
        if (llada_decoder_get_state(decoder, &state, &error)) _exit(101);
        if (llada_decoder_step((llada_decoder *)decoder, &error) != LLADA_ERROR_BUSY) _exit(102);
    }
    return 0;
}

static void in_a_callback(void) {
    llada_error error = LLADA_ERROR_INIT;
    int status = 0;
    pid_t child = -1;
    model = open_model(3);
    straight(model, LLADA_PRESET_SPEEDY, expected);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    llada_status answer = llada_decoder_run(decoder, fork_once, &child, &error);
    const bool good = answer == LLADA_OK && is_expected(decoder);
    llada_decoder_free(decoder);
    llada_model_free(model);
    if (child == 0) _exit(good ? 0 : 103);
    CHECK(good);
    NEED(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void) {
    static const test tests[] = {
        {"at any moment, whoever is in a call", at_any_moment},
        {"in a callback", in_a_callback},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
