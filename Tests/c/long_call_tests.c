/* Long calls: how far they have come, how they are stopped, and that what was stopped can be done again, with the same
 * bits. */
#include "decoders.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum { LONG = 4000 }; /* tokens of a prompt that takes many forwards of 512 */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* What a progress callback has seen. */
typedef struct {
    int calls, stop_at; /* 0: never */
    double last;
    bool falls;
} seen;

static int see(double fraction, void *user) {
    seen *s = user;
    if (!(fraction >= s->last && fraction <= 1)) s->falls = true;
    s->last = fraction;
    return ++s->calls == s->stop_at;
}

static const int32_t *long_prompt(void) {
    static int32_t tokens[LONG];
    for (int i = 0; i < LONG; i++) tokens[i] = (i * 7 + i / 11) % 120;
    return tokens;
}

static llada_decoder *long_decoder(const llada_model *model, llada_prefix_cache *cache) {
    llada_error error = LLADA_ERROR_INIT;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    options.block_length = BLOCK;
    options.gen_length = 8;
    options.prefix_cache = cache;
    CHECK_OK(llada_decoder_create(model, long_prompt(), LONG, &options, &decoder, &error));
    NEED(decoder);
    return decoder;
}

/* The logits of the active positions, after a forward. */
typedef struct {
    int32_t count;
    float logits[8][VOCAB];
} outcome;

static outcome outcome_of(const llada_decoder *decoder) {
    llada_error error = LLADA_ERROR_INIT;
    outcome o = {.count = active_of(decoder).count};
    NEED(o.count <= 8);
    for (int32_t i = 0; i < o.count; i++) {
        const float *logits = NULL;
        size_t count = 0;
        CHECK_OK(llada_decoder_logits(decoder, active_of(decoder).first + i, &logits, &count, &error));
        NEED(count == VOCAB);
        memcpy(o.logits[i], logits, sizeof o.logits[i]);
    }
    return o;
}

static bool same(const outcome *a, const outcome *b) { return !memcmp(a, b, sizeof *a); }

static outcome undisturbed(const llada_model *model) {
    llada_error error = LLADA_ERROR_INIT;
    llada_decoder *decoder = long_decoder(model, NULL);
    CHECK_OK(llada_decoder_forward(decoder, &error));
    outcome o = outcome_of(decoder);
    llada_decoder_free(decoder);
    return o;
}

static void forward_tells_and_stops(void) {
    llada_error error = LLADA_ERROR_INIT;
    for (int32_t threads = 1; threads <= 2; threads++) {
        llada_model *model = open_model(threads);
        outcome expected = undisturbed(model), found;
        llada_decoder *decoder = long_decoder(model, NULL);
        seen s = {.stop_at = 1};
        CHECK_OK(llada_decoder_set_progress(decoder, see, &s, &error));
        CHECK_REFUSED(llada_decoder_forward(decoder, &error), LLADA_ERROR_STOPPED);
        CHECK(s.calls == 1 && s.last > 0 && s.last < 1);
        CHECK_EQUAL(state_of(decoder).phase, LLADA_PHASE_READY);
        CHECK_EQUAL(state_of(decoder).forwards, 0);
        s = (seen){.stop_at = 1};
        CHECK_REFUSED(llada_decoder_step(decoder, &error), LLADA_ERROR_STOPPED);
        s = (seen){0};
        CHECK_OK(llada_decoder_forward(decoder, &error));
        CHECK(!s.falls);
        found = outcome_of(decoder);
        CHECK(same(&found, &expected));
        remark("%d times", s.calls);
        /* A step with little to do is not asked. */
        s = (seen){.stop_at = 1};
        CHECK_OK(llada_decoder_step(decoder, &error));
        CHECK_EQUAL(s.calls, 0);
        llada_decoder_free(decoder);
        llada_model_free(model);
    }
}

/* Forks have the callback, until they have another; of a list the first that has one is asked. */
static void forks_and_lists(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    outcome expected = undisturbed(model), found;
    llada_decoder *all[3] = {long_decoder(model, NULL), long_decoder(model, NULL), NULL};
    seen s = {.stop_at = 1};
    CHECK_OK(llada_decoder_set_progress(all[1], see, &s, &error));
    CHECK_OK(llada_decoder_fork(all[1], NULL, &all[2], &error));
    CHECK_REFUSED(llada_decoder_forward(all[2], &error), LLADA_ERROR_STOPPED);
    CHECK_EQUAL(s.calls, 1);
    CHECK_OK(llada_decoder_set_progress(all[2], NULL, NULL, &error));
    CHECK_OK(llada_decoder_forward(all[2], &error));
    CHECK_EQUAL(s.calls, 1);
    s = (seen){.stop_at = 1};
    CHECK_REFUSED(llada_decoders_forward(all, 2, &error), LLADA_ERROR_STOPPED);
    s = (seen){0};
    CHECK_OK(llada_decoders_forward(all, 2, &error));
    CHECK(s.calls > 0 && !s.falls);
    for (int i = 0; i < 3; i++) {
        found = outcome_of(all[i]);
        CHECK(same(&found, &expected));
        llada_decoder_free(all[i]);
    }
    llada_model_free(model);
}

typedef struct {
    llada_decoder *decoder;
    double after, at;
} canceller;

static void *cancel_later(void *user) {
    canceller *c = user;
    usleep((useconds_t)(1e6 * c->after));
    c->at = seconds();
    llada_decoder_cancel(c->decoder);
    return NULL;
}

static void forward_is_cancelled(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(2);
    outcome expected = undisturbed(model), found;
    llada_decoder *decoder = long_decoder(model, NULL);
    double longest = 0;
    for (int i = 0; i < 5; i++) {
        canceller c = {decoder, 0.004 * i, 0};
        pthread_t thread;
        NEED(!pthread_create(&thread, NULL, cancel_later, &c));
        CHECK_REFUSED(llada_decoder_forward(decoder, &error), LLADA_ERROR_CANCELLED);
        double now = seconds();
        pthread_join(thread, NULL);
        if (now - c.at > longest) longest = now - c.at;
    }
    CHECK(longest < 0.5);
    remark("%.0f ms", 1000 * longest);
    CHECK_OK(llada_decoder_forward(decoder, &error));
    found = outcome_of(decoder);
    CHECK(same(&found, &expected));
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static void logits_tell_and_stop(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    size_t count = 0;
    static float logits[LONG * VOCAB], again[LONG * VOCAB];
    CHECK_OK(llada_model_logits(model, long_prompt(), LONG, BLOCK, NULL, NULL, logits, LONG * VOCAB, &count, &error));
    seen s = {0};
    CHECK_OK(llada_model_logits(model, long_prompt(), LONG, BLOCK, see, &s, again, LONG * VOCAB, &count, &error));
    CHECK(s.calls > 20 && s.last == 1 && !s.falls);
    CHECK(!memcmp(logits, again, sizeof logits));
    for (int stop_at = 1; stop_at < s.calls; stop_at += 11) {
        seen t = {.stop_at = stop_at};
        CHECK_REFUSED(
            llada_model_logits(model, long_prompt(), LONG, BLOCK, see, &t, again, LONG * VOCAB, &count, &error),
            LLADA_ERROR_STOPPED);
        CHECK_EQUAL(t.calls, stop_at);
    }
    llada_model_free(model);
}

/* Saved and restored, in memory and as files. */
static void snapshots_tell_and_stop(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_prefix_cache *cache = make_cache(model, 64 << 20), *other = make_cache(model, 64 << 20);
    llada_decoder *decoder = long_decoder(model, cache), *restored = NULL;
    make_own_folder();
    CHECK_OK(llada_decoder_forward(decoder, &error));
    size_t size = 0, count = 0, added = 0;
    CHECK_REFUSED(llada_decoder_save(decoder, true, NULL, NULL, NULL, 0, &size, &error), LLADA_ERROR_BUFFER_TOO_SMALL);
    unsigned char *bytes = malloc(size);
    NEED(bytes);
    seen s = {0};
#define TELLS(call)                     \
    do {                                \
        s = (seen){0};                  \
        CHECK_OK(call);                 \
        CHECK(s.calls > 2 && !s.falls); \
        CHECK(s.last == 1);             \
    } while (0)
#define STOPS(call)                                      \
    do {                                                 \
        int all = s.calls;                               \
        for (int at = 1; at <= all; at += 1 + all / 3) { \
            s = (seen){.stop_at = at};                   \
            CHECK_REFUSED(call, LLADA_ERROR_STOPPED);    \
            CHECK_EQUAL(s.calls, at);                    \
        }                                                \
    } while (0)
    TELLS(llada_decoder_save(decoder, true, see, &s, bytes, size, &count, &error));
    STOPS(llada_decoder_save(decoder, true, see, &s, bytes, size, &count, &error));
    CHECK_OK(llada_decoder_save(decoder, true, NULL, NULL, bytes, size, &count, &error));
    TELLS(llada_decoder_restore(model, NULL, bytes, size, see, &s, &restored, &error));
    llada_decoder_free(restored);
    restored = NULL;
    STOPS(llada_decoder_restore(model, NULL, bytes, size, see, &s, &restored, &error));
    CHECK(!restored);
    TELLS(llada_decoder_save_file(decoder, true, inside("whole"), see, &s, &error));
    STOPS(llada_decoder_save_file(decoder, true, inside("stopped"), see, &s, &error));
    CHECK(access(inside("stopped"), F_OK) != 0);
    TELLS(llada_decoder_restore_file(model, NULL, inside("whole"), see, &s, &restored, &error));
    STOPS(llada_decoder_restore_file(model, NULL, inside("whole"), see, &s, &restored, &error));
    outcome expected = outcome_of(decoder), found = outcome_of(restored);
    CHECK(same(&found, &expected));

    TELLS(llada_prefix_cache_save(cache, inside("cache"), see, &s, &error));
    STOPS(llada_prefix_cache_save(cache, inside("stopped"), see, &s, &error));
    CHECK(access(inside("stopped"), F_OK) != 0);
    seen all = {0};
    CHECK_OK(llada_prefix_cache_load(other, inside("cache"), see, &all, &added, &error));
    CHECK(all.calls > 2 && all.last == 1 && !all.falls && added == LONG / BLOCK * BLOCK);
    CHECK_OK(llada_prefix_cache_clear(other, &error));
    s = all;
    STOPS(llada_prefix_cache_load(other, inside("cache"), see, &s, &added, &error));
    CHECK_EQUAL(info_of(other).blocks, 0);
    CHECK_EQUAL(info_of(other).bytes, 0);
    CHECK_OK(llada_prefix_cache_load(other, inside("cache"), NULL, NULL, &added, &error));
    CHECK_EQUAL(added, LONG / BLOCK * BLOCK);
    free(bytes);
    llada_decoder_free(decoder);
    llada_decoder_free(restored);
    llada_prefix_cache_free(cache);
    llada_prefix_cache_free(other);
    llada_model_free(model);
}

int main(void) {
    const test tests[] = {
        {"a forward tells how far it is, and is stopped", forward_tells_and_stops},
        {"the callback in forks and in lists", forks_and_lists},
        {"a forward is cancelled within 0.5 s", forward_is_cancelled},
        {"logits tell how far they are, and are stopped", logits_tell_and_stop},
        {"snapshots and prefix caches likewise", snapshots_tell_and_stop},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
