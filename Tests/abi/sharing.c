/* Prefix caches, batches, forks and truncation: what is refused, who may do what when, and that results do not change. */
#include "harness.h"

#include <pthread.h>

enum { GEN = 20, MANY = 6, LENGTH = 16 };

static llada_prefix_cache_info info_of(const llada_prefix_cache *cache) {
    llada_error error = LLADA_ERROR_INIT;
    llada_prefix_cache_info info = LLADA_PREFIX_CACHE_INFO_INIT;
    CHECK_OK(llada_prefix_cache_get_info(cache, &info, &error));
    return info;
}

static llada_prefix_cache *make_cache(const llada_model *model, uint64_t bytes) {
    llada_prefix_cache *cache = NULL;
    CHECK_STATUS(llada_prefix_cache_create(model, bytes, &cache, NULL), LLADA_OK);
    NEED(cache);
    return cache;
}

/* The n-th of several: prompts of one beginning, and of several lengths. */
static llada_decoder *make_nth(const llada_model *model, llada_prefix_cache *cache, int n) {
    llada_error error = LLADA_ERROR_INIT;
    int32_t tokens[LENGTH + MANY];
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    for (int i = 0; i < LENGTH + n; i++) tokens[i] = i < LENGTH ? i * 5 % 90 : n + i;
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    options.block_length = BLOCK;
    options.gen_length = GEN - n;
    options.prefix_cache = cache;
    CHECK_STATUS(llada_decoder_create(model, tokens, (size_t)(LENGTH + n), &options, &decoder, NULL), LLADA_OK);
    NEED(decoder);
    return decoder;
}

static void make_all(const llada_model *model, llada_prefix_cache *cache, llada_decoder **all) {
    for (int n = 0; n < MANY; n++) all[n] = make_nth(model, cache, n);
}

static void free_all(llada_decoder **all) {
    for (int n = 0; n < MANY; n++) llada_decoder_free(all[n]);
}

/* Each has ended, as it does alone. */
static void check_all(const llada_model *model, llada_decoder **all) {
    for (int n = 0; n < MANY; n++) {
        int32_t tokens[2][GEN];
        llada_decoder *alone = make_nth(model, NULL, n);
        size_t count = run_out(alone, tokens[0], GEN), other = 0;
        CHECK(has_finished(all[n]));
        CHECK_STATUS(llada_decoder_output(all[n], tokens[1], GEN, &other, NULL), LLADA_OK);
        CHECK(count == other && !memcmp(tokens[0], tokens[1], count * sizeof **tokens));
        CHECK_EQUAL(state_of(all[n]).forwards, state_of(alone).forwards);
        llada_decoder_free(alone);
    }
}

static void arguments_of_caches(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1), *other_model = open_model(1);
    llada_prefix_cache *cache = NULL;
    llada_prefix_cache_info info = LLADA_PREFIX_CACHE_INFO_INIT;
    size_t found = 7;
    CHECK_REFUSED(llada_prefix_cache_create(NULL, 1 << 20, &cache, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_create(model, 1 << 20, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_create(model, 0, &cache, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!cache);
    CHECK_OK(llada_prefix_cache_create(model, UINT64_MAX, &cache, &error));
    CHECK_EQUAL(info_of(cache).max_bytes, INT64_MAX);
    llada_prefix_cache_free(cache);
    llada_prefix_cache_free(NULL);
    cache = make_cache(model, 1 << 20);

    CHECK_REFUSED(llada_prefix_cache_get_info(NULL, &info, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_get_info(cache, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_clear(NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_pin(NULL, prompt, PROMPT, BLOCK, true, &found, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_pin(cache, NULL, 1, BLOCK, true, &found, &error), LLADA_ERROR_INVALID_ARGUMENT);
    for (int32_t block = -1; block <= 0; block++)
        CHECK_REFUSED(llada_prefix_cache_pin(cache, prompt, PROMPT, block, true, &found, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_EQUAL(found, 7);
    CHECK_OK(llada_prefix_cache_pin(cache, prompt, PROMPT, BLOCK, true, NULL, &error));
    CHECK_OK(llada_prefix_cache_pin(cache, NULL, 0, BLOCK, true, &found, &error));
    CHECK_EQUAL(found, 0);

    /* A decoder of another model, or one that recomputes everything, has no use for it. */
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    CHECK(options.prefix_cache == NULL);
    options.prefix_cache = cache;
    CHECK_REFUSED(llada_decoder_create(other_model, prompt, PROMPT, &options, &decoder, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    options.use_cache = false;
    CHECK_REFUSED(llada_decoder_create(model, prompt, PROMPT, &options, &decoder, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!decoder);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
    llada_model_free(other_model);
}

/* It fills as much as there is, never more. */
static void ages_of_cache_info(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_prefix_cache *cache = make_cache(model, 1 << 20);
    struct {
        llada_prefix_cache_info i;
        unsigned char tail[16];
    } s;
    memset(&s, 0, sizeof s);
    s.i.struct_size = sizeof s;
    CHECK_OK(llada_prefix_cache_get_info(cache, &s.i, &error));
    CHECK(s.i.struct_size == sizeof s && s.i.max_bytes == 1 << 20);
    s.tail[7] = 1;
    CHECK_REFUSED(llada_prefix_cache_get_info(cache, &s.i, &error), LLADA_ERROR_INVALID_ARGUMENT);
    memset(&s, 0xA5, sizeof s);
    s.i.struct_size = offsetof(llada_prefix_cache_info, blocks);
    CHECK_OK(llada_prefix_cache_get_info(cache, &s.i, &error));
    CHECK(s.i.max_bytes == 1 << 20 && s.i.bytes == 0);
    for (size_t i = s.i.struct_size; i < sizeof s; i++) CHECK(((unsigned char *)&s)[i] == 0xA5);
    s.i.struct_size = 0;
    CHECK_REFUSED(llada_prefix_cache_get_info(cache, &s.i, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
}

static void arguments_of_batches(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1), *other_model = open_model(1);
    llada_decoder *one = make_nth(model, NULL, 0), *stranger = make_nth(other_model, NULL, 1);
    llada_decoder *done = make_nth(model, NULL, 2);
    int32_t tokens[GEN];
    run_out(done, tokens, GEN);
    const struct {
        llada_decoder *decoders[2];
        size_t count;
        llada_status forward, step, run;
    } bad[] = {
        {{one, NULL}, 2, LLADA_ERROR_INVALID_ARGUMENT, LLADA_ERROR_INVALID_ARGUMENT, LLADA_ERROR_INVALID_ARGUMENT},
        {{one, one}, 2, LLADA_ERROR_INVALID_ARGUMENT, LLADA_ERROR_INVALID_ARGUMENT, LLADA_ERROR_INVALID_ARGUMENT},
        {{one, stranger}, 2, LLADA_ERROR_INVALID_ARGUMENT, LLADA_ERROR_INVALID_ARGUMENT, LLADA_ERROR_INVALID_ARGUMENT},
        {{one}, (size_t)-1, LLADA_ERROR_INVALID_ARGUMENT, LLADA_ERROR_INVALID_ARGUMENT, LLADA_ERROR_INVALID_ARGUMENT},
        {{one, done}, 2, LLADA_ERROR_STATE, LLADA_ERROR_STATE, LLADA_OK}, /* last: it runs the first to its end */
    };
    CHECK_REFUSED(llada_decoders_forward(NULL, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoders_step(NULL, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoders_run(NULL, 1, 0, NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_decoders_forward(NULL, 0, &error)); /* nobody wants anything */
    CHECK_OK(llada_decoders_step(NULL, 0, &error));
    CHECK_OK(llada_decoders_run(NULL, 0, 0, NULL, NULL, &error));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_REFUSED(llada_decoders_forward(bad[i].decoders, bad[i].count, &error), bad[i].forward);
        CHECK_REFUSED(llada_decoders_step(bad[i].decoders, bad[i].count, &error), bad[i].step);
        CHECK_EQUAL(state_of(one).forwards, 0);
        CHECK_REFUSED(llada_decoders_run(bad[i].decoders, bad[i].count, 0, NULL, NULL, &error), bad[i].run);
    }
    CHECK(has_finished(one));
    llada_decoder_free(one);
    llada_decoder_free(stranger);
    llada_decoder_free(done);
    llada_model_free(model);
    llada_model_free(other_model);
}

static void arguments_of_branches(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_nth(model, NULL, 3), *fork = NULL;
    llada_policy policy;
    CHECK_REFUSED(llada_decoder_fork(NULL, NULL, &fork, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_fork(decoder, NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_policy_init(&policy, sizeof policy, LLADA_PRESET_SPEEDY, &error));
    policy.struct_size = 3;
    CHECK_REFUSED(llada_decoder_fork(decoder, &policy, &fork, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_policy_init(&policy, sizeof policy, LLADA_PRESET_LOW_CONFIDENCE, &error));
    policy.minimal_topk = GEN + 1; /* more than there is to generate */
    CHECK_REFUSED(llada_decoder_fork(decoder, &policy, &fork, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!fork);

    CHECK_REFUSED(llada_decoder_truncate(NULL, 0, &error), LLADA_ERROR_INVALID_ARGUMENT);
    int32_t first = state_of(decoder).active_first;
    for (int32_t n = 0; n < 5; n++) {
        const int32_t bad[] = {-BLOCK, first - BLOCK, first + 1, first + BLOCK, INT32_MIN};
        CHECK_REFUSED(llada_decoder_truncate(decoder, bad[n], &error), LLADA_ERROR_INVALID_ARGUMENT);
    }
    CHECK_OK(llada_decoder_truncate(decoder, first, &error));
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* Alone, at once, through a cache: the same. */
static void three_ways(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(2);
    llada_prefix_cache *cache = make_cache(model, 1 << 24);
    for (int way = 0; way < 4; way++) {
        llada_decoder *all[MANY];
        make_all(model, way % 2 ? cache : NULL, all);
        if (way < 2) {
            CHECK_OK(llada_decoders_run(all, MANY, 0, NULL, NULL, &error));
        } else {
            for (int left = MANY; left > 0;) { /* the last one leaves as soon as it can */
                CHECK_OK(llada_decoders_step(all, (size_t)left, &error));
                for (int n = 0; n < left; n++)
                    if (has_finished(all[n])) {
                        llada_decoder *last = all[--left];
                        all[left] = all[n];
                        all[n--] = last;
                    }
            }
            /* Back into their order, which their lengths tell. */
            for (int n = 0; n < MANY; n++)
                while (state_of(all[n]).prompt_length != LENGTH + n) {
                    int at = state_of(all[n]).prompt_length - LENGTH;
                    llada_decoder *other = all[at];
                    all[at] = all[n];
                    all[n] = other;
                }
        }
        check_all(model, all);
        if (way == 3) CHECK(state_of(all[MANY - 1]).reused_positions >= LENGTH);
        free_all(all);
    }
    CHECK(info_of(cache).reused_tokens >= MANY * LENGTH);
    CHECK_OK(llada_prefix_cache_clear(cache, &error));
    CHECK_EQUAL(info_of(cache).bytes, 0);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
}

/* The cache and the model live as long as a decoder that uses them. */
static void decoders_keep_their_cache(void) {
    llada_model *model = open_model(1);
    llada_prefix_cache *cache = make_cache(model, 1 << 24);
    llada_decoder *all[MANY];
    make_all(model, cache, all);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
    CHECK_STATUS(llada_decoders_run(all, MANY, 2, NULL, NULL, NULL), LLADA_OK);
    model = open_model(1);
    check_all(model, all);
    free_all(all);
    llada_model_free(model);
}

/* ---- In callbacks ----------------------------------------------------------------------------------------------- */

typedef struct {
    llada_decoder *all[MANY];
    llada_decoder *fork;
    bool met[MANY];
    int calls, stop_at, met_count;
} batch;

static int nth(const batch *b, const llada_decoder *decoder) {
    for (int n = 0; n < MANY; n++)
        if (b->all[n] == decoder) return n;
    failed(__FILE__, __LINE__, "a callback for a decoder that is not there");
    return 0;
}

static int look(const llada_decoder *decoder, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    batch *b = user;
    int n = nth(b, decoder);
    llada_decoder *same = b->all[n], *other = b->all[(n + 1) % MANY];
    CHECK(state_of(decoder).forwards > 0);
    CHECK_STATUS(llada_decoder_step(same, NULL), LLADA_ERROR_BUSY);
    CHECK_STATUS(llada_decoder_truncate(same, 0, NULL), LLADA_ERROR_BUSY);
    CHECK_STATUS(llada_decoders_step(&same, 1, NULL), LLADA_ERROR_BUSY);
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    CHECK_REFUSED(llada_decoder_get_state(other, &state, &error), LLADA_ERROR_BUSY); /* it may look at that one */
    CHECK_STATUS(llada_decoders_step(&other, 1, NULL), LLADA_ERROR_BUSY);
    if (b->calls == 7) CHECK_STATUS(llada_decoder_fork(decoder, NULL, &b->fork, NULL), LLADA_OK);
    if (!b->met[n]) {
        CHECK_EQUAL(n, b->met_count); /* they join in their order */
        b->met[n] = true;
        b->met_count++;
    }
    return ++b->calls == b->stop_at;
}

static void callbacks_look_and_stop(void) {
    for (int stop_at = 0; stop_at < 12; stop_at += 5) {
        llada_model *model = open_model(2);
        batch b = {.stop_at = stop_at};
        make_all(model, NULL, b.all);
        if (stop_at) {
            CHECK_STATUS(llada_decoders_run(b.all, MANY, 3, look, &b, NULL), LLADA_ERROR_STOPPED);
            /* Those that had a step in this round were all shown. */
            CHECK(b.calls >= stop_at && b.calls < stop_at + 3);
        }
        CHECK_STATUS(llada_decoders_run(b.all, MANY, 3, look, &b, NULL), LLADA_OK);
        CHECK_EQUAL(b.met_count, MANY);
        uint64_t steps = 0;
        for (int n = 0; n < MANY; n++) steps += state_of(b.all[n]).forwards;
        CHECK_EQUAL(b.calls, steps);
        check_all(model, b.all);
        /* The fork knows nothing of the batch, and goes its own way to the same end. */
        int32_t tokens[2][GEN];
        NEED(b.fork);
        size_t count = run_out(b.fork, tokens[0], GEN), other = 0;
        int n = state_of(b.fork).prompt_length - LENGTH;
        CHECK_STATUS(llada_decoder_output(b.all[n], tokens[1], GEN, &other, NULL), LLADA_OK);
        CHECK(count == other && !memcmp(tokens[0], tokens[1], count * sizeof **tokens));
        llada_decoder_free(b.fork);
        free_all(b.all);
        llada_model_free(model);
    }
}

static int free_at_the_second_step(const llada_decoder *decoder, void *user) {
    batch *b = user;
    int n = nth(b, decoder);
    if (b->met[n]) {
        CHECK(state_of(decoder).forwards > 0);
    } else if (state_of(decoder).forwards == 2) {
        b->met[n] = true;
        llada_decoder_free(b->all[n]); /* takes effect when the run is over */
    }
    return 0;
}

static void freed_in_callbacks(void) {
    llada_model *model = open_model(2);
    batch b = {0};
    make_all(model, NULL, b.all);
    CHECK_STATUS(llada_decoders_run(b.all, MANY, 0, free_at_the_second_step, &b, NULL), LLADA_OK);
    for (int n = 0; n < MANY; n++) CHECK(b.met[n]);
    llada_model_free(model);
}

/* ---- Threads ---------------------------------------------------------------------------------------------------- */

static void *cancel_one(void *user) {
    batch *b = user;
    for (int i = 0; i < 300; i++) {
        llada_decoder_cancel(b->all[i % MANY]);
        sched_yield();
    }
    return NULL;
}

static void cancelled_from_another_thread(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(2);
    int cancelled = 0;
    for (int round = 0; round < 5; round++) {
        batch b = {0};
        pthread_t thread;
        llada_status status;
        make_all(model, NULL, b.all);
        llada_decoder_cancel(b.all[round % MANY]); /* once, for certain */
        NEED(!pthread_create(&thread, NULL, cancel_one, &b));
        while ((status = llada_decoders_run(b.all, MANY, 4, NULL, NULL, &error)) == LLADA_ERROR_CANCELLED) cancelled++;
        CHECK_STATUS(status, LLADA_OK);
        pthread_join(thread, NULL);
        check_all(model, b.all);
        free_all(b.all);
    }
    CHECK(cancelled >= 5);
    remark("%d times", cancelled);
    llada_model_free(model);
}

/* Another thread wants two of them, one of which is at work: it is told so, and leaves the other as it was. */
static void *intrude(void *user) {
    batch *b = user;
    llada_error error = LLADA_ERROR_INIT;
    llada_decoder *two[] = {b->fork, b->all[1]}, *free_one = b->fork;
    CHECK_REFUSED(llada_decoders_step(two, 2, &error), LLADA_ERROR_BUSY);
    CHECK_EQUAL(state_of(b->fork).forwards, 0);
    CHECK_OK(llada_decoders_step(&free_one, 1, &error));
    return NULL;
}

static int let_intrude(const llada_decoder *decoder, void *user) {
    pthread_t thread;
    (void)decoder;
    NEED(!pthread_create(&thread, NULL, intrude, user));
    pthread_join(thread, NULL);
    return 1;
}

static void busy_for_other_threads(void) {
    llada_model *model = open_model(2);
    batch b = {0};
    make_all(model, NULL, b.all);
    b.fork = make_nth(model, NULL, 4);
    CHECK_STATUS(llada_decoders_run(b.all, 2, 1, let_intrude, &b, NULL), LLADA_ERROR_STOPPED);
    CHECK_EQUAL(state_of(b.fork).forwards, 1);
    llada_decoder_free(b.fork);
    free_all(b.all);
    llada_model_free(model);
}

/* ---- Branches --------------------------------------------------------------------------------------------------- */

/* From between any two parts of a step; the origin may go meanwhile. */
static void forks_in_the_midst_of_a_step(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    int32_t expected[GEN], tokens[GEN];
    llada_decoder *alone = make_nth(model, NULL, 5);
    size_t count = run_out(alone, expected, GEN);
    llada_decoder_free(alone);
    for (int parts = 0; parts < 3; parts++) {
        llada_prefix_cache *cache = make_cache(model, 1 << 24);
        llada_decoder *origin = make_nth(model, cache, 5), *fork = NULL;
        CHECK_STATUS(llada_decoder_step(origin, NULL), LLADA_OK);
        if (parts > 0) CHECK_STATUS(llada_decoder_forward(origin, NULL), LLADA_OK);
        if (parts > 1) CHECK_STATUS(llada_decoder_propose(origin, NULL), LLADA_OK);
        CHECK_STATUS(llada_decoder_fork(origin, NULL, &fork, NULL), LLADA_OK);
        NEED(fork);
        CHECK_EQUAL(state_of(fork).phase, parts);
        CHECK_EQUAL(state_of(fork).computed_positions, 0);
        if (parts == 1) llada_decoder_free(origin);
        CHECK(run_out(fork, tokens, GEN) == count && !memcmp(tokens, expected, count * sizeof *tokens));
        if (parts != 1) {
            CHECK(run_out(origin, tokens, GEN) == count && !memcmp(tokens, expected, count * sizeof *tokens));
            llada_decoder_free(origin);
        }
        llada_decoder_free(fork);
        CHECK_OK(llada_prefix_cache_clear(cache, &error));
        CHECK_EQUAL(info_of(cache).bytes, 0);
        llada_prefix_cache_free(cache);
    }
    llada_model_free(model);
}

static void truncated_after_the_end(void) {
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_nth(model, NULL, 0);
    int32_t expected[GEN], tokens[GEN];
    size_t count = run_out(decoder, expected, GEN);
    llada_decoder_state end = state_of(decoder);
    CHECK_STATUS(llada_decoder_truncate(decoder, end.canvas_length, NULL), LLADA_OK); /* nothing to forget */
    CHECK(has_finished(decoder));
    for (int32_t position = end.canvas_length - BLOCK; position >= LENGTH; position -= BLOCK) {
        CHECK_STATUS(llada_decoder_truncate(decoder, position, NULL), LLADA_OK);
        llada_decoder_state back = state_of(decoder);
        CHECK(back.phase != LLADA_PHASE_FINISHED && back.active_first == position && back.settled_length == position &&
              back.finish_reason == LLADA_FINISH_NONE && back.phase == LLADA_PHASE_READY);
        CHECK(run_out(decoder, tokens, GEN) == count && !memcmp(tokens, expected, count * sizeof *tokens));
    }
    llada_decoder_free(decoder);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"arguments of prefix caches", arguments_of_caches},
        {"struct_size of llada_prefix_cache_info", ages_of_cache_info},
        {"arguments of batches", arguments_of_batches},
        {"arguments of fork and truncate", arguments_of_branches},
        {"alone, at once, through a cache", three_ways},
        {"decoders keep their cache and model", decoders_keep_their_cache},
        {"callbacks of a batch look and stop", callbacks_look_and_stop},
        {"decoders freed in callbacks of a batch", freed_in_callbacks},
        {"a batch cancelled from another thread", cancelled_from_another_thread},
        {"a batch with one that is busy", busy_for_other_threads},
        {"forks in the midst of a step", forks_in_the_midst_of_a_step},
        {"truncated after the end", truncated_after_the_end},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
