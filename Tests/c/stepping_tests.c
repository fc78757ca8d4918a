/* Stepping: the order of calls, callbacks that stop or re-enter, other threads, cancelling. */
#include "decoders.h"

#include <pthread.h>
#include <unistd.h>

static void order_of_calls(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    llada_candidate candidate;
    const float *floats = NULL;
    const llada_edit *edits = NULL;
    const llada_event *events = NULL;
    llada_active active = LLADA_ACTIVE_INIT;
    size_t count = 7;
    llada_edit edit = {6, 1, 1, LLADA_REASON_HOST};

    CHECK_EQUAL(state_of(decoder).phase, LLADA_PHASE_READY);
    CHECK_REFUSED(llada_decoder_propose(decoder, &error), LLADA_ERROR_STATE);
    CHECK_REFUSED(llada_decoder_apply(decoder, &error), LLADA_ERROR_STATE);
    CHECK_REFUSED(llada_decoder_active(decoder, &active, &error), LLADA_ERROR_STATE);
    CHECK_REFUSED(llada_decoder_candidates(decoder, 6, &candidate, 1, &count, &error), LLADA_ERROR_STATE);
    CHECK_REFUSED(llada_decoder_logits(decoder, 6, &floats, &count, &error), LLADA_ERROR_STATE);
    CHECK_REFUSED(llada_decoder_proposal(decoder, &edits, &count, &error), LLADA_ERROR_STATE);
    CHECK_REFUSED(llada_decoder_set_proposal(decoder, &edit, 1, &error), LLADA_ERROR_STATE);
    CHECK_OK(llada_decoder_events(decoder, &events, &count, &error));
    CHECK_EQUAL(count, 0);
    CHECK_EQUAL(state_of(decoder).phase, LLADA_PHASE_READY);

    CHECK_OK(llada_decoder_forward(decoder, &error));
    CHECK_EQUAL(state_of(decoder).phase, LLADA_PHASE_FORWARDED);
    CHECK_REFUSED(llada_decoder_apply(decoder, &error), LLADA_ERROR_STATE);
    CHECK_REFUSED(llada_decoder_proposal(decoder, &edits, &count, &error), LLADA_ERROR_STATE);
    CHECK_OK(llada_decoder_active(decoder, &active, &error));
    CHECK(active.first == 4 && active.count == 4);
    CHECK_OK(llada_decoder_forward(decoder, &error)); /* may be called again, and counts */
    CHECK_EQUAL(state_of(decoder).forwards, 2);
    CHECK_EQUAL(state_of(decoder).phase, LLADA_PHASE_FORWARDED);

    CHECK_OK(llada_decoder_propose(decoder, &error));
    CHECK_EQUAL(state_of(decoder).phase, LLADA_PHASE_PROPOSED);
    CHECK_OK(llada_decoder_proposal(decoder, &edits, &count, &error));
    CHECK(count > 0);
    size_t proposed = count;
    CHECK_OK(llada_decoder_propose(decoder, &error)); /* may be called again */
    CHECK_OK(llada_decoder_proposal(decoder, &edits, &count, &error));
    CHECK_EQUAL(count, proposed);
    CHECK_OK(llada_decoder_step(decoder, &error)); /* the rest of the step */
    CHECK_EQUAL(state_of(decoder).phase, LLADA_PHASE_READY);
    CHECK_OK(llada_decoder_events(decoder, &events, &count, &error));
    CHECK_EQUAL(count, proposed);
    CHECK_REFUSED(llada_decoder_proposal(decoder, &edits, &count, &error), LLADA_ERROR_STATE);
    CHECK_OK(llada_decoder_active(decoder, &active, &error)); /* predictions stay */

    CHECK_OK(llada_decoder_run_block(decoder, NULL, NULL, &error));
    CHECK_EQUAL(state_of(decoder).active_first, 8);
    CHECK_EQUAL(state_of(decoder).block_step, 0);
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
    CHECK(has_finished(decoder));
    CHECK_REFUSED(llada_decoder_forward(decoder, &error), LLADA_ERROR_STATE);
    CHECK_REFUSED(llada_decoder_propose(decoder, &error), LLADA_ERROR_STATE);
    CHECK_REFUSED(llada_decoder_apply(decoder, &error), LLADA_ERROR_STATE);
    CHECK_REFUSED(llada_decoder_step(decoder, &error), LLADA_ERROR_STATE);
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error)); /* nothing to do */
    CHECK_REFUSED(llada_decoder_run_block(decoder, NULL, NULL, &error), LLADA_ERROR_STATE);
    same_as_straight(decoder, model, LLADA_PRESET_SPEEDY);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* By parts, by steps, by blocks, at one go: the same. */
static void four_ways(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    for (llada_preset preset = LLADA_PRESET_LOW_CONFIDENCE; preset <= LLADA_PRESET_QUALITY_MBE; preset++) {
        for (int way = 0; way < 3; way++) {
            llada_decoder *decoder = make_decoder(model, preset, GEN);
            llada_decoder *whole = make_decoder(model, preset, GEN);
            for (int guard = 0; !has_finished(decoder) && guard < 10000; guard++) {
                if (way == 0) {
                    CHECK_OK(llada_decoder_forward(decoder, &error));
                    CHECK_OK(llada_decoder_propose(decoder, &error));
                    CHECK_OK(llada_decoder_apply(decoder, &error));
                } else if (way == 1) {
                    CHECK_OK(llada_decoder_step(decoder, &error));
                } else {
                    CHECK_OK(llada_decoder_run_block(decoder, NULL, NULL, &error));
                }
            }
            CHECK_OK(llada_decoder_run(whole, NULL, NULL, &error));
            llada_decoder_state a = state_of(decoder), b = state_of(whole);
            CHECK(a.phase == LLADA_PHASE_FINISHED && a.forwards == b.forwards && a.commits == b.commits &&
                  a.edits == b.edits && a.prefills == b.prefills && a.finish_reason == b.finish_reason);
            same_as_straight(decoder, model, preset);
            llada_decoder_free(decoder);
            llada_decoder_free(whole);
        }
    }
    llada_model_free(model);
}

/* ---- Callbacks --------------------------------------------------------------------------------------------------- */

/* The events, replayed on a canvas of our own, give the decoder's. */
typedef struct {
    int32_t canvas[64];
    int64_t edits;
    int steps;
    int stop_after;
} replay;

static int replay_events(const llada_decoder *decoder, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    replay *r = user;
    const llada_event *events = NULL;
    const int32_t *tokens = NULL;
    const uint8_t *states = NULL;
    size_t count = 0, length = 0;
    CHECK_OK(llada_decoder_events(decoder, &events, &count, &error));
    for (size_t i = 0; i < count; i++) {
        const llada_event *e = &events[i];
        CHECK(e->position >= PROMPT && e->position < 64);
        CHECK_EQUAL(r->canvas[e->position], e->old_token);
        CHECK(e->old_token != e->new_token);
        CHECK_EQUAL(e->kind, e->old_token == MASK   ? LLADA_EVENT_UNMASK
                             : e->new_token == MASK ? LLADA_EVENT_REMASK
                                                    : LLADA_EVENT_REPLACE);
        CHECK(e->confidence > 0 && e->confidence <= 1.00001f);
        r->canvas[e->position] = e->new_token;
        r->edits += e->kind == LLADA_EVENT_REPLACE;
    }
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, &states, &length, &error));
    llada_decoder_state state = state_of(decoder);
    CHECK_EQUAL(length, state.canvas_length);
    for (size_t i = 0; i < length; i++) {
        CHECK_EQUAL(tokens[i], r->canvas[i]);
        CHECK((i < PROMPT) == (states[i] == LLADA_POSITION_PROMPT));
        CHECK((tokens[i] == MASK) == (states[i] == LLADA_POSITION_MASKED));
        if (i >= PROMPT) CHECK(((int32_t)i < state.settled_length) == (states[i] == LLADA_POSITION_SETTLED));
    }
    CHECK_EQUAL(state.edits, r->edits);
    r->steps++;
    return r->stop_after && r->steps % r->stop_after == 0;
}

static replay new_replay(int stop_after) {
    replay r = {.stop_after = stop_after};
    for (int i = 0; i < 64; i++) r.canvas[i] = i < PROMPT ? prompt[i] : MASK;
    return r;
}

static void events_tell_all(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    for (llada_preset preset = LLADA_PRESET_LOW_CONFIDENCE; preset <= LLADA_PRESET_QUALITY_MBE; preset++) {
        llada_decoder *decoder = make_decoder(model, preset, GEN);
        replay r = new_replay(0);
        CHECK_OK(llada_decoder_run(decoder, replay_events, &r, &error));
        CHECK(r.steps > 0);
        llada_decoder_free(decoder);
    }
    llada_model_free(model);
}

static void callback_stops(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    for (int every = 1; every <= 3; every += 2) {
        llada_decoder *decoder = make_decoder(model, LLADA_PRESET_QUALITY_MBE, GEN);
        replay r = new_replay(every);
        int stops = 0;
        llada_status status;
        while ((status = llada_decoder_run(decoder, replay_events, &r, &error)) == LLADA_ERROR_STOPPED &&
               stops++ < 10000)
            error = (llada_error)LLADA_ERROR_INIT;
        CHECK_OK(status);
        CHECK(stops > 3);
        same_as_straight(decoder, model, LLADA_PRESET_QUALITY_MBE);
        llada_decoder_free(decoder);
    }
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    replay r = new_replay(1);
    CHECK_REFUSED(llada_decoder_run_block(decoder, replay_events, &r, &error), LLADA_ERROR_STOPPED);
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
    same_as_straight(decoder, model, LLADA_PRESET_SPEEDY);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* In a callback everything that is not const is BUSY, and changes nothing; another decoder is free to work. */
static int reenter(const llada_decoder *decoder, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    llada_decoder *d = (llada_decoder *)(uintptr_t)decoder;
    llada_edit edit = {6, 1, 1, 0};
    CHECK_REFUSED(llada_decoder_forward(d, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_propose(d, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_apply(d, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_step(d, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_run(d, NULL, NULL, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_run_block(d, NULL, NULL, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_set_proposal(d, &edit, 1, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_set_token(d, 6, 1, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_mask(d, 31, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_lock(d, 6, true, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_ban(d, 1, 6, true, &error), LLADA_ERROR_BUSY);

    llada_decoder_state state = state_of(decoder);
    const float *floats = NULL;
    int32_t some[GEN];
    size_t count = 0;
    llada_candidate candidate;
    llada_active active = active_of(decoder);
    NEED(active.count > 0);
    int32_t at = active.first + active.count - 1;
    CHECK(at < state.canvas_length);
    CHECK_OK(llada_decoder_output(decoder, some, GEN, &count, &error));
    CHECK_OK(llada_decoder_candidates(decoder, at, &candidate, 1, &count, &error));
    CHECK_OK(llada_decoder_logits(decoder, at, &floats, &count, &error));

    llada_decoder *other = user;
    if (!has_finished(other)) CHECK_OK(llada_decoder_step(other, &error));
    return 0;
}

static void callback_reenters(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(2);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_QUALITY, GEN),
                  *other = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    CHECK_OK(llada_decoder_run(decoder, reenter, other, &error));
    same_as_straight(decoder, model, LLADA_PRESET_QUALITY);
    CHECK_OK(llada_decoder_run(other, NULL, NULL, &error));
    same_as_straight(other, model, LLADA_PRESET_SPEEDY);
    llada_decoder_free(decoder);
    llada_decoder_free(other);
    llada_model_free(model);
}

/* Freed by its own callback: that takes effect afterwards, and the run need not be told to stop. */
static int free_it(const llada_decoder *decoder, void *user) {
    int *left = user;
    if (--*left == 0) llada_decoder_free((llada_decoder *)(uintptr_t)decoder);
    llada_decoder_state state = state_of(decoder);
    CHECK(state.forwards > 0);
    return *left <= 0;
}

static void freed_in_the_callback(void) {
    llada_model *model = open_model(2);
    for (int after = 1; after < 4; after++) {
        int left = after;
        llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
        CHECK_STATUS(llada_decoder_run(decoder, free_it, &left, NULL), LLADA_ERROR_STOPPED);
    }
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    llada_model_free(model); /* only the decoder holds it now */
    int left = 2;
    CHECK_STATUS(llada_decoder_run(decoder, free_it, &left, NULL), LLADA_ERROR_STOPPED);
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

/* Another thread, at the same handle, while it works. */
static void *intrude(void *decoder) {
    llada_error error = LLADA_ERROR_INIT;
    CHECK_REFUSED(llada_decoder_step(decoder, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_set_token(decoder, 6, 1, &error), LLADA_ERROR_BUSY);
    return NULL;
}

static int let_intrude(const llada_decoder *decoder, void *user) {
    pthread_t thread;
    (void)user;
    NEED(!pthread_create(&thread, NULL, intrude, (void *)(uintptr_t)decoder));
    pthread_join(thread, NULL);
    return 0;
}

static void busy_for_other_threads(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    CHECK_OK(llada_decoder_run(decoder, let_intrude, NULL, &error));
    same_as_straight(decoder, model, LLADA_PRESET_SPEEDY);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* ---- Cancelling -------------------------------------------------------------------------------------------------- */

static void cancel_before(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    llada_decoder_cancel(decoder);
    llada_decoder_cancel(decoder); /* twice is once */
    CHECK_REFUSED(llada_decoder_run(decoder, NULL, NULL, &error), LLADA_ERROR_CANCELLED);
    CHECK_EQUAL(state_of(decoder).forwards, 0);
    CHECK_OK(llada_decoder_step(decoder, &error));
    llada_decoder_cancel(decoder);
    CHECK_REFUSED(llada_decoder_forward(decoder, &error), LLADA_ERROR_CANCELLED);
    CHECK_EQUAL(state_of(decoder).phase, LLADA_PHASE_READY);
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
    same_as_straight(decoder, model, LLADA_PRESET_SPEEDY);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static int cancel_in_callback(const llada_decoder *decoder, void *user) {
    if (++*(int *)user == 3) llada_decoder_cancel((llada_decoder *)(uintptr_t)decoder);
    return 0;
}

static void cancel_from_the_callback(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    int steps = 0;
    CHECK_REFUSED(llada_decoder_run(decoder, cancel_in_callback, &steps, &error), LLADA_ERROR_CANCELLED);
    CHECK_EQUAL(steps, 3);
    CHECK_OK(llada_decoder_run(decoder, cancel_in_callback, &steps, &error));
    same_as_straight(decoder, model, LLADA_PRESET_SPEEDY);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

typedef struct {
    llada_decoder *decoder;
    int done;
} canceller;

static void *cancel_again_and_again(void *user) {
    canceller *c = user;
    while (!__atomic_load_n(&c->done, __ATOMIC_ACQUIRE)) {
        llada_decoder_cancel(c->decoder);
        usleep(2000);
    }
    return NULL;
}

/* A run that is cancelled at random moments, and taken up again each time, is the run it would have been. */
static void cancel_during_a_run(void) {
    llada_error error = LLADA_ERROR_INIT;
    enum { LONG = 400 };
    llada_model *model = open_model(2);
    llada_decoder *plain = make_decoder(model, LLADA_PRESET_QUALITY_MBE, LONG);
    static int32_t should[LONG], is[LONG];
    size_t expected = run_out(plain, should, LONG), count = 0;
    canceller c = {make_decoder(model, LLADA_PRESET_QUALITY_MBE, LONG), 0};
    pthread_t thread;
    NEED(!pthread_create(&thread, NULL, cancel_again_and_again, &c));
    int cancelled = 0;
    llada_status status;
    while ((status = llada_decoder_run(c.decoder, NULL, NULL, NULL)) == LLADA_ERROR_CANCELLED && cancelled < 1000000)
        cancelled++;
    CHECK_STATUS(status, LLADA_OK);
    __atomic_store_n(&c.done, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    CHECK(cancelled > 0);
    CHECK_OK(llada_decoder_output(c.decoder, is, LONG, &count, &error));
    CHECK(count == expected && !memcmp(is, should, count * sizeof *is));
    CHECK_EQUAL(state_of(c.decoder).edits, state_of(plain).edits);
    CHECK_EQUAL(state_of(c.decoder).forwards, state_of(plain).forwards);
    remark("cancelled %d times", cancelled);
    llada_decoder_free(c.decoder);
    llada_decoder_free(plain);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"the order of calls", order_of_calls},
        {"by parts, steps, blocks, or at one go", four_ways},
        {"events tell all", events_tell_all},
        {"a step callback stops and goes on", callback_stops},
        {"a step callback re-enters", callback_reenters},
        {"a step callback frees its decoder", freed_in_the_callback},
        {"busy for other threads", busy_for_other_threads},
        {"cancel before a call", cancel_before},
        {"cancel from the callback", cancel_from_the_callback},
        {"cancel during a run, from another thread", cancel_during_a_run},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
