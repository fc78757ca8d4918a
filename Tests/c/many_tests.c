/* Many decoders in one call: what is refused, who may do what when, and that results do not change. */
#include "decoders.h"

#include <pthread.h>

static void arguments_of_batches(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1), *other_model = open_model(1);
    llada_decoder *one = make_nth(model, NULL, 0), *stranger = make_nth(other_model, NULL, 1);
    llada_decoder *done = make_nth(model, NULL, 2);
    int32_t tokens[MANY_GEN];
    run_out(done, tokens, MANY_GEN);
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
                while (state_of(all[n]).prompt_length != MANY_PROMPT + n) {
                    int at = state_of(all[n]).prompt_length - MANY_PROMPT;
                    llada_decoder *other = all[at];
                    all[at] = all[n];
                    all[n] = other;
                }
        }
        check_all(model, all);
        if (way == 3) CHECK(state_of(all[MANY - 1]).reused_positions >= MANY_PROMPT);
        free_all(all);
    }
    CHECK(info_of(cache).reused_tokens >= MANY * MANY_PROMPT);
    CHECK_OK(llada_prefix_cache_clear(cache, &error));
    CHECK_EQUAL(info_of(cache).bytes, 0);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
}

/* ---- In callbacks ------------------------------------------------------------------------------------------------ */

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
        int32_t tokens[2][MANY_GEN];
        NEED(b.fork);
        size_t count = run_out(b.fork, tokens[0], MANY_GEN), other = 0;
        int n = state_of(b.fork).prompt_length - MANY_PROMPT;
        CHECK_STATUS(llada_decoder_output(b.all[n], tokens[1], MANY_GEN, &other, NULL), LLADA_OK);
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

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

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

int main(void) {
    static const test tests[] = {
        {"arguments of batches", arguments_of_batches},
        {"alone, at once, through a cache", three_ways},
        {"callbacks of a batch look and stop", callbacks_look_and_stop},
        {"decoders freed in callbacks of a batch", freed_in_callbacks},
        {"a batch cancelled from another thread", cancelled_from_another_thread},
        {"a batch with one that is busy", busy_for_other_threads},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
