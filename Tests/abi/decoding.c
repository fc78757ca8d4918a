/* The life of a decoder: order of calls, views, events, callbacks that stop or re-enter, cancelling. */
#include "harness.h"

#include <pthread.h>
#include <unistd.h>

enum { GEN = 27 }; /* 8 blocks, the first of which holds a token of the prompt */

/* What every detour below must come to. */
static size_t straight(const llada_model *model, llada_preset preset, int32_t *tokens) {
    llada_decoder *decoder = make_decoder(model, preset, GEN);
    size_t count = run_out(decoder, tokens, GEN);
    llada_decoder_free(decoder);
    return count;
}

static void same_as_straight(llada_decoder *decoder, const llada_model *model, llada_preset preset) {
    llada_error error = LLADA_ERROR_INIT;
    int32_t is[GEN], should[GEN];
    size_t count = 0;
    CHECK_OK(llada_decoder_output(decoder, is, GEN, &count, &error));
    CHECK_EQUAL(count, straight(model, preset, should));
    CHECK(!memcmp(is, should, count * sizeof *is));
}

/* One case of the conformance data by heart: gqa_group/B4/short/S. */
static void known_answer(void) {
    llada_error error = LLADA_ERROR_INIT;
    static const int32_t one[] = {1}, answer[] = {35, 35, 22, 100, 47, 102, 96, 100, 6};
    llada_model *model = open_model(0);
    llada_policy policy;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    CHECK_OK(llada_policy_init(&policy, sizeof policy, LLADA_PRESET_SPEEDY, &error));
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    options.policy = &policy;
    options.block_length = 4;
    options.gen_length = 9;
    options.eos_early_stop = false;
    CHECK_OK(llada_decoder_create(model, one, 1, &options, &decoder, &error));
    NEED(decoder);
    int32_t tokens[9];
    CHECK_EQUAL(run_out(decoder, tokens, 9), 9);
    CHECK(!memcmp(tokens, answer, sizeof answer));
    CHECK_OK(llada_decoder_get_state(decoder, &state, &error));
    CHECK_EQUAL(state.forwards, 14);
    CHECK(state.phase == LLADA_PHASE_FINISHED && state.phase == LLADA_PHASE_FINISHED &&
          state.finish_reason == LLADA_FINISH_LENGTH);
    CHECK_EQUAL(state.canvas_length, 12);
    CHECK_EQUAL(state.settled_length, 12);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* Decoding in each packed format comes to an end, and to the same one again. */
static void packed_formats(void) {
    llada_error error = LLADA_ERROR_INIT;
    for (llada_dtype dtype = LLADA_DTYPE_BF16; dtype <= LLADA_DTYPE_INT4; dtype++) {
        int32_t tokens[2][GEN];
        for (int time = 0; time < 2; time++) {
            llada_model_options options = usual_options();
            options.dtype = dtype;
            options.threads = time + 1;
            options.expert_capacity = 4;
            options.eos_token_id_count = 0;
            llada_model *model = NULL;
            CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
            NEED(model);
            llada_policy policy;
            llada_decoder_options decoding;
            llada_decoder *decoder = NULL;
            CHECK_OK(llada_policy_init(&policy, sizeof policy, LLADA_PRESET_SPEEDY, &error));
            CHECK_OK(llada_decoder_options_init(&decoding, sizeof decoding, &error));
            decoding.policy = &policy;
            decoding.gen_length = GEN;
            CHECK_OK(llada_decoder_create(model, prompt, PROMPT, &decoding, &decoder, &error));
            NEED(decoder);
            CHECK_EQUAL(run_out(decoder, tokens[time], GEN), GEN);
            llada_decoder_free(decoder);
            llada_model_free(model);
        }
        CHECK(!memcmp(tokens[0], tokens[1], sizeof tokens[0]));
        for (int i = 0; i < GEN; i++) CHECK(tokens[0][i] >= 0 && tokens[0][i] < VOCAB);
    }
}

static void outlives_the_model(void) {
    llada_model *model = open_model(2), *other = open_model(2);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_QUALITY, GEN),
                  *second = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    llada_model_free(model);
    int32_t tokens[GEN];
    run_out(decoder, tokens, GEN);
    same_as_straight(decoder, other, LLADA_PRESET_QUALITY);
    llada_decoder_free(decoder);
    run_out(second, tokens, GEN);
    same_as_straight(second, other, LLADA_PRESET_SPEEDY);
    llada_decoder_free(second);
    llada_model_free(other);
}

/* The same policy dies with the caller's frame: it was copied. */
static void policy_is_copied(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_policy *policy = malloc(sizeof *policy);
    llada_decoder_options *options = malloc(sizeof *options);
    int32_t *words = malloc(sizeof prompt);
    llada_decoder *decoder = NULL;
    memcpy(words, prompt, sizeof prompt);
    CHECK_OK(llada_policy_init(policy, sizeof *policy, LLADA_PRESET_SPEEDY, &error));
    CHECK_OK(llada_decoder_options_init(options, sizeof *options, &error));
    options->policy = policy;
    options->block_length = BLOCK;
    options->gen_length = GEN;
    options->eos_early_stop = false;
    CHECK_OK(llada_decoder_create(model, words, PROMPT, options, &decoder, &error));
    memset(policy, 0xA5, sizeof *policy);
    memset(options, 0xA5, sizeof *options);
    memset(words, 0xA5, sizeof prompt);
    free(policy);
    free(options);
    free(words);
    NEED(decoder);
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
    same_as_straight(decoder, model, LLADA_PRESET_SPEEDY);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

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

/* ---- Cancelling ------------------------------------------------------------------------------------------------- */

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

/* ---- Interfering ------------------------------------------------------------------------------------------------ */

static void interfering(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    const int32_t *tokens = NULL;
    const uint8_t *states = NULL;
    const llada_edit *edits = NULL;
    const llada_event *events = NULL;
    size_t count = 0;

    /* A ban moves the prediction on; lifting it brings the old one back. */
    CHECK_OK(llada_decoder_forward(decoder, &error));
    llada_active active = active_of(decoder);
    int32_t was = active.predictions[2];
    float sure = active.confidences[2];
    for (int32_t where = 6; where >= -1; where -= 7) { /* there, then anywhere */
        CHECK_OK(llada_decoder_ban(decoder, was, where, true, &error));
        active = active_of(decoder);
        CHECK(active.predictions[2] != was);
        llada_candidate best;
        CHECK_OK(llada_decoder_candidates(decoder, 6, &best, 1, &count, &error));
        CHECK_EQUAL(best.token, active.predictions[2]);
        CHECK(best.probability - active.confidences[2] < 1e-6f && active.confidences[2] - best.probability < 1e-6f);
        CHECK_OK(llada_decoder_ban(decoder, was, where, false, &error));
        active = active_of(decoder);
        CHECK(active.predictions[2] == was && active.confidences[2] == sure);
    }

    /* A proposal of ours: one token, one position; what stays masked stays masked. */
    llada_edit mine[] = {{6, 11, 0.25f, LLADA_REASON_EDIT}};
    CHECK_OK(llada_decoder_set_proposal(decoder, mine, 1, &error));
    CHECK_EQUAL(state_of(decoder).phase, LLADA_PHASE_PROPOSED);
    CHECK_OK(llada_decoder_proposal(decoder, &edits, &count, &error));
    CHECK(count == 1 && edits[0].position == 6 && edits[0].token == 11 && edits[0].reason == LLADA_REASON_HOST);
    CHECK_OK(llada_decoder_apply(decoder, &error));
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, &states, &count, &error));
    CHECK(tokens[6] == 11 && states[6] == LLADA_POSITION_DRAFT && states[5] == LLADA_POSITION_MASKED);
    CHECK_OK(llada_decoder_events(decoder, &events, &count, &error));
    CHECK(count == 1 && events[0].position == 6 && events[0].kind == LLADA_EVENT_UNMASK &&
          events[0].reason == LLADA_REASON_HOST && events[0].old_token == MASK && events[0].new_token == 11);

    /* Locked, it stands to the end, and a locked mask stays a mask until it is unlocked. */
    CHECK_OK(llada_decoder_lock(decoder, 6, true, &error));
    CHECK_OK(llada_decoder_set_token(decoder, 10, 12, &error)); /* a draft in a block to come */
    CHECK_OK(llada_decoder_lock(decoder, 10, true, &error));
    CHECK_OK(llada_decoder_run_block(decoder, NULL, NULL, &error));
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, &states, &count, &error));
    CHECK_EQUAL(tokens[6], 11);
    CHECK_EQUAL(states[10], LLADA_POSITION_DRAFT);

    /* A finished block, changed: its tokens stay, and the rest goes on from there. */
    CHECK_OK(llada_decoder_set_token(decoder, 5, 13, &error));
    CHECK_OK(llada_decoder_set_token(decoder, 1, 14, &error));
    /* An unmasked position of the active block, masked again. */
    CHECK_OK(llada_decoder_step(decoder, &error));
    CHECK_OK(llada_decoder_set_token(decoder, 9, 15, &error));
    CHECK_OK(llada_decoder_mask(decoder, 9, &error));
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, &states, &count, &error));
    CHECK(tokens[9] == MASK && states[9] == LLADA_POSITION_MASKED);
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, &states, &count, &error));
    CHECK(tokens[5] == 13 && tokens[1] == 14 && tokens[6] == 11 && tokens[10] == 12);
    for (size_t i = PROMPT; i < count; i++) CHECK(tokens[i] != MASK && states[i] == LLADA_POSITION_SETTLED);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* More steps than any sane run takes. */
static int enough(const llada_decoder *decoder, void *user) {
    (void)decoder;
    return ++*(int *)user == 1000;
}

/* A mask that is locked for ever: the run must end, or say why it cannot. */
static void locked_mask(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    for (llada_preset preset = LLADA_PRESET_LOW_CONFIDENCE; preset <= LLADA_PRESET_QUALITY_MBE; preset++) {
        llada_decoder *decoder = make_decoder(model, preset, GEN);
        CHECK_OK(llada_decoder_lock(decoder, 9, true, &error));
        int steps = 0;
        llada_status status = llada_decoder_run(decoder, enough, &steps, &error);
        CHECK(status != LLADA_ERROR_STOPPED);
        remark("it ends with %s", llada_status_name(status));
        const int32_t *tokens = NULL;
        CHECK_OK(llada_decoder_canvas(decoder, &tokens, NULL, NULL, &error));
        CHECK_EQUAL(tokens[9], MASK);
        llada_decoder_free(decoder);
    }
    llada_model_free(model);
}

/* Bans leave a token other than the mask to predict: the one too many is refused, and the run gets by with what is left. */
static void everything_banned(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    int refused = 0;
    for (int32_t token = 0; token < VOCAB; token++) {
        llada_status status = llada_decoder_ban(decoder, token, -1, true, &error);
        CHECK(status == LLADA_OK || status == LLADA_ERROR_INVALID_ARGUMENT);
        refused += status != LLADA_OK;
    }
    CHECK_EQUAL(refused, 1);
    int steps = 0;
    llada_status status = llada_decoder_run(decoder, enough, &steps, &error);
    CHECK(status != LLADA_ERROR_STOPPED);
    remark("it ends with %s", llada_status_name(status));
    const int32_t *tokens = NULL;
    size_t count = 0;
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, NULL, &count, &error));
    for (size_t i = 0; i < count; i++) CHECK(tokens[i] >= 0 && tokens[i] < VOCAB);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* A window that begins at 0 is what one block of its width would be: the same bits as the whole sequence's logits. */
static void block_editing_window(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_policy policy;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    int windows = 0;
    CHECK_OK(llada_policy_init(&policy, sizeof policy, LLADA_PRESET_QUALITY_MBE, &error));
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    options.policy = &policy;
    options.block_length = BLOCK;
    options.gen_length = GEN;
    CHECK_OK(llada_decoder_create(model, prompt, 1, &options, &decoder, &error));
    NEED(decoder);
    while (!has_finished(decoder)) {
        CHECK_OK(llada_decoder_forward(decoder, &error));
        llada_decoder_state state = state_of(decoder);
        if (state.editing_blocks)
            CHECK_EQUAL(state.active_count, state.active_first + state.active_count == BLOCK ? BLOCK : 2 * BLOCK);
        if (state.editing_blocks && state.active_first == 0 && state.active_count == 2 * BLOCK) {
            static float whole[2 * BLOCK * VOCAB];
            const int32_t *tokens = NULL;
            const float *logits = NULL;
            size_t count = 0;
            windows++;
            CHECK_OK(llada_decoder_canvas(decoder, &tokens, NULL, NULL, &error));
            CHECK_OK(llada_model_logits(model, tokens, 2 * BLOCK, 2 * BLOCK, whole, 2 * BLOCK * VOCAB, &count, &error));
            for (int32_t at = 0; at < 2 * BLOCK; at++) {
                CHECK_OK(llada_decoder_logits(decoder, at, &logits, &count, &error));
                CHECK(count == VOCAB && !memcmp(logits, whole + at * VOCAB, VOCAB * sizeof *logits));
            }
        }
        CHECK_OK(llada_decoder_step(decoder, &error));
    }
    CHECK(windows > 0);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* ---- Loading ---------------------------------------------------------------------------------------------------- */

typedef struct {
    double last;
    int calls;
    int stop_at;
} loading;

static int on_progress(double fraction, void *user) {
    loading *l = user;
    CHECK(fraction >= l->last && fraction >= 0 && fraction <= 1);
    l->last = fraction;
    return ++l->calls == l->stop_at;
}

static void progress(void) {
    llada_error error = LLADA_ERROR_INIT;
    loading l = {0};
    llada_model_options options = usual_options();
    options.progress = on_progress;
    options.progress_user = &l;
    llada_model *model = NULL;
    CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
    CHECK(model && l.calls > 0 && l.last == 1);
    llada_model_free(model);
    int calls = l.calls;
    for (int stop_at = 1; stop_at <= calls; stop_at = stop_at < 4 ? stop_at + 1 : stop_at * 2) {
        l = (loading){.stop_at = stop_at};
        model = NULL;
        CHECK_REFUSED(llada_model_open(checkpoint(), &options, &model, &error), LLADA_ERROR_STOPPED);
        CHECK(!model && l.calls == stop_at);
    }
    remark("%d calls", calls);
}

int main(void) {
    static const test tests[] = {
        {"a known answer", known_answer},
        {"packed formats", packed_formats},
        {"a decoder outlives its model", outlives_the_model},
        {"arguments are copied", policy_is_copied},
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
        {"set, mask, lock, ban, set_proposal", interfering},
        {"block editing sees its window as one block", block_editing_window},
        {"a mask locked for ever", locked_mask},
        {"every token banned", everything_banned},
        {"loading reports progress and can be stopped", progress},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
