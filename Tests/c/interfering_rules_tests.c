/* Decoding rules of the host: who calls them, what they may do, how they stop, who ends a block. */
#include "decoders.h"

static size_t output_of(const llada_decoder *decoder, int32_t *tokens) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    CHECK_OK(llada_decoder_output(decoder, tokens, GEN, &count, &error));
    return count;
}

static llada_decoder *with_rule(const llada_model *model, llada_preset preset, llada_rule rule, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    llada_decoder *decoder = make_decoder(model, preset, GEN);
    CHECK_OK(llada_decoder_set_rule(decoder, rule, user, &error));
    return decoder;
}

/* ---- Called in every way to step -------------------------------------------------------------------------------- */

/* Left to right, one token a step. `user` counts the calls. */
static int left_to_right(llada_decoder *decoder, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    llada_active active = active_of(decoder);
    ++*(int *)user;
    for (int32_t i = 0; i < active.count; i++) {
        if (active.states[i] != LLADA_POSITION_MASKED || active.locked[i]) continue;
        llada_edit edit = {active.first + i, active.predictions[i], active.confidences[i], LLADA_REASON_EDIT};
        CHECK_OK(llada_decoder_set_proposal(decoder, &edit, 1, &error));
        return 0;
    }
    return 0;
}

typedef struct {
    int32_t next;
} order;

static int in_order(const llada_decoder *decoder, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    order *o = user;
    const llada_event *events = NULL;
    size_t count = 0;
    CHECK_OK(llada_decoder_events(decoder, &events, &count, &error));
    CHECK_EQUAL(count, 1);
    if (count != 1) return 1;
    CHECK_EQUAL(events->position, o->next++);
    CHECK_EQUAL(events->reason, LLADA_REASON_HOST);
    CHECK_EQUAL(events->kind, LLADA_EVENT_UNMASK);
    CHECK(events->confidence > 0 && events->confidence <= 1.00001f);
    return 0;
}

static void every_way_to_step(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    int32_t first[GEN], tokens[GEN];
    enum { WAYS = 6 };
    for (int way = 0; way < WAYS; way++) {
        int calls = 0;
        order o = {PROMPT};
        llada_decoder *decoder = with_rule(model, LLADA_PRESET_LOW_CONFIDENCE, left_to_right, &calls);
        while (!has_finished(decoder)) {
            if (way == 0) {
                CHECK_OK(llada_decoder_forward(decoder, &error));
                CHECK_OK(llada_decoder_propose(decoder, &error));
                CHECK_OK(llada_decoder_apply(decoder, &error));
                in_order(decoder, &o);
            } else if (way == 1) {
                CHECK_OK(llada_decoder_step(decoder, &error));
                in_order(decoder, &o);
            } else if (way == 2) {
                CHECK_OK(llada_decoder_run_block(decoder, in_order, &o, &error));
            } else if (way == 3) {
                CHECK_OK(llada_decoder_run(decoder, in_order, &o, &error));
            } else if (way == 4) {
                CHECK_OK(llada_decoders_step(&decoder, 1, &error));
                in_order(decoder, &o);
            } else {
                CHECK_OK(llada_decoders_run(&decoder, 1, 0, in_order, &o, &error));
            }
        }
        CHECK_EQUAL(calls, GEN);
        CHECK_EQUAL(state_of(decoder).forwards, GEN);
        CHECK_EQUAL(output_of(decoder, way ? tokens : first), GEN);
        if (way) CHECK(!memcmp(first, tokens, sizeof first));
        llada_decoder_free(decoder);
    }
    llada_model_free(model);
}

static int count_only(llada_decoder *decoder, void *user) {
    (void)decoder;
    ++*(int *)user;
    return 0;
}

static void doing_nothing_agrees(void) {
    llada_model *model = open_model(1);
    for (llada_preset preset = LLADA_PRESET_LOW_CONFIDENCE; preset <= LLADA_PRESET_QUALITY_MBE; preset++) {
        int32_t plain[GEN], ruled[GEN];
        int calls = 0;
        llada_decoder *decoder = make_decoder(model, preset, GEN);
        size_t count = run_out(decoder, plain, GEN);
        llada_decoder *other = with_rule(model, preset, count_only, &calls);
        CHECK_EQUAL(run_out(other, ruled, GEN), count);
        CHECK(!memcmp(plain, ruled, count * sizeof *plain));
        CHECK_EQUAL(calls, state_of(other).forwards);
        CHECK_EQUAL(calls, state_of(decoder).forwards);
        llada_decoder_free(decoder);
        llada_decoder_free(other);
    }
    llada_model_free(model);
}

/* One of several has a rule, which changes none of the others. */
static void beside_others(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(2);
    llada_decoder *decoders[3];
    int32_t plain[GEN], ruled[GEN], tokens[GEN];
    int calls = 0;
    llada_decoder *alone = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    llada_decoder *led = with_rule(model, LLADA_PRESET_SPEEDY, left_to_right, &calls);
    run_out(alone, plain, GEN);
    run_out(led, ruled, GEN);
    CHECK(memcmp(plain, ruled, sizeof plain));
    for (int i = 0; i < 3; i++)
        decoders[i] = i == 1 ? with_rule(model, LLADA_PRESET_SPEEDY, left_to_right, &calls)
                             : make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    CHECK_OK(llada_decoders_run(decoders, 3, 2, NULL, NULL, &error));
    for (int i = 0; i < 3; i++) {
        output_of(decoders[i], tokens);
        CHECK(!memcmp(tokens, i == 1 ? ruled : plain, sizeof tokens));
        llada_decoder_free(decoders[i]);
    }
    llada_decoder_free(alone);
    llada_decoder_free(led);
    llada_model_free(model);
}

/* ---- What it may do --------------------------------------------------------------------------------------------- */

static int try_everything(llada_decoder *d, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    int *calls = user;
    if ((*calls)++) return 0;
    llada_active active = active_of(d);
    const int32_t last = active.first + active.count - 1;

    /* Const. */
    const int32_t *numbers = NULL;
    const float *reals = NULL;
    const uint8_t *states = NULL;
    const llada_edit *edits = NULL;
    const llada_event *events = NULL;
    llada_candidate best = {-1, 0, 0};
    llada_decoder *fork = NULL;
    size_t count = 0;
    CHECK_EQUAL(state_of(d).phase, LLADA_PHASE_PROPOSED);
    CHECK_OK(llada_decoder_canvas(d, &numbers, &states, &count, &error));
    CHECK_EQUAL(active.count, BLOCK);
    CHECK_OK(llada_decoder_proposal(d, &edits, &count, &error));
    CHECK(count > 0);
    CHECK_OK(llada_decoder_events(d, &events, &count, &error));
    CHECK_OK(llada_decoder_step_map(d, &numbers, &count, &error));
    CHECK_OK(llada_decoder_candidates(d, last, &best, 1, &count, &error));
    CHECK_EQUAL(best.token, active.predictions[BLOCK - 1]);
    CHECK_OK(llada_decoder_logits(d, last, &reals, &count, &error));
    CHECK_EQUAL(count, VOCAB);
    CHECK_OK(llada_decoder_fork(d, NULL, &fork, &error));
    if (fork) {
        CHECK_OK(llada_decoder_run(fork, NULL, NULL, &error));
        CHECK(*calls > 1); /* a fork has the same rule */
        *calls = 1;
    }
    llada_decoder_free(fork);

    /* What needs the decoder for itself. */
    llada_decoder *self[] = {d};
    CHECK_REFUSED(llada_decoder_forward(d, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_propose(d, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_apply(d, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_step(d, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_run(d, NULL, NULL, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_run_block(d, NULL, NULL, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoders_step(self, 1, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_truncate(d, 4, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_set_rule(d, NULL, NULL, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_watch(d, LLADA_WATCH_HIDDEN, &error), LLADA_ERROR_BUSY);
    CHECK_REFUSED(llada_decoder_disable_expert(d, 0, 1, true, &error), LLADA_ERROR_BUSY);

    /* What interferes: the favourite of the last position goes, the next one is locked, one stands in a block to
     * come. */
    CHECK_OK(llada_decoder_ban(d, best.token, last, true, &error));
    active = active_of(d);
    CHECK(active.predictions[BLOCK - 1] != best.token);
    CHECK_OK(llada_decoder_lock(d, last - 1, true, &error));
    active = active_of(d);
    CHECK(active.locked[BLOCK - 2] && !active.locked[BLOCK - 1]);
    CHECK_OK(llada_decoder_set_token(d, last + 2, 7, &error));
    CHECK_OK(llada_decoder_set_token(d, last + 3, 8, &error));
    CHECK_OK(llada_decoder_mask(d, last + 3, &error));
    llada_edit wrong = {last - 1, 3, 0, 0}, edit = {last, 3, 0, 0};
    CHECK_REFUSED(llada_decoder_set_proposal(d, &wrong, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_decoder_set_proposal(d, &edit, 1, &error));
    CHECK_OK(llada_decoder_end_block(d, LLADA_BLOCK_END_NOW, &error));
    return 0;
}

static void looks_and_interferes(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    int calls = 0;
    llada_decoder *decoder = with_rule(model, LLADA_PRESET_SPEEDY, try_everything, &calls);
    CHECK_OK(llada_decoder_step(decoder, &error));
    CHECK_EQUAL(calls, 1);
    const int32_t *tokens = NULL;
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, NULL, NULL, &error));
    static const int32_t expected[] = {64, MASK, MASK, 3, MASK, 7, MASK};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        if (tokens[4 + i] != expected[i])
            failed(__FILE__, __LINE__, "at %d is %d, not %d", (int)(4 + i), (int)tokens[4 + i], (int)expected[i]);
    }
    CHECK_EQUAL(state_of(decoder).active_first, 8); /* the block was ended with masks in it */
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* ---- How it stops ----------------------------------------------------------------------------------------------- */

static int stop_at_first(llada_decoder *decoder, void *user) {
    (void)decoder;
    return (*(int *)user)++ == 0 ? 7 : 0;
}

static int always_stop(llada_decoder *decoder, void *user) {
    (void)decoder, (void)user;
    return -1;
}

static void non_zero_stops(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    int32_t plain[GEN], tokens[GEN];
    llada_decoder *straight = make_decoder(model, LLADA_PRESET_QUALITY, GEN);
    size_t count = run_out(straight, plain, GEN);
    for (int way = 0; way < 5; way++) {
        int calls = 0;
        llada_decoder *decoder = with_rule(model, LLADA_PRESET_QUALITY, stop_at_first, &calls);
        llada_status status = way == 0   ? llada_decoder_step(decoder, &error)
                              : way == 1 ? llada_decoder_run(decoder, NULL, NULL, &error)
                              : way == 2 ? llada_decoder_run_block(decoder, NULL, NULL, &error)
                              : way == 3 ? llada_decoders_step(&decoder, 1, &error)
                                         : llada_decoders_run(&decoder, 1, 1, NULL, NULL, &error);
        CHECK_REFUSED(status, LLADA_ERROR_STOPPED);
        /* There was a forward; nothing is proposed, nothing written. */
        const llada_edit *edits = NULL;
        const int32_t *canvas = NULL;
        size_t length = 0;
        CHECK_EQUAL(state_of(decoder).phase, LLADA_PHASE_FORWARDED);
        CHECK_EQUAL(state_of(decoder).forwards, 1);
        CHECK_REFUSED(llada_decoder_proposal(decoder, &edits, &length, &error), LLADA_ERROR_STATE);
        CHECK_OK(llada_decoder_canvas(decoder, &canvas, NULL, &length, &error));
        for (size_t i = PROMPT; i < length; i++) CHECK_EQUAL(canvas[i], MASK);
        /* And the step is done again, without another forward. */
        CHECK_EQUAL(run_out(decoder, tokens, GEN), count);
        CHECK(!memcmp(plain, tokens, count * sizeof *plain));
        CHECK_EQUAL(state_of(decoder).forwards, state_of(straight).forwards);
        llada_decoder_free(decoder);
    }
    llada_decoder_free(straight);
    llada_model_free(model);
}

static void one_of_several_stops(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    int32_t plain[GEN], tokens[GEN];
    llada_decoder *straight = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    run_out(straight, plain, GEN);
    llada_decoder *decoders[3];
    for (int i = 0; i < 3; i++) decoders[i] = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    CHECK_OK(llada_decoder_set_rule(decoders[1], always_stop, NULL, &error));
    CHECK_REFUSED(llada_decoders_run(decoders, 3, 0, NULL, NULL, &error), LLADA_ERROR_STOPPED);
    CHECK_OK(llada_decoder_set_rule(decoders[1], NULL, NULL, &error));
    CHECK_OK(llada_decoders_run(decoders, 3, 0, NULL, NULL, &error));
    for (int i = 0; i < 3; i++) {
        output_of(decoders[i], tokens);
        CHECK(!memcmp(plain, tokens, sizeof plain));
        CHECK_EQUAL(state_of(decoders[i]).forwards, state_of(straight).forwards);
        llada_decoder_free(decoders[i]);
    }
    llada_decoder_free(straight);
    llada_model_free(model);
}

static int free_it(llada_decoder *decoder, void *user) {
    ++*(int *)user;
    llada_decoder_free(decoder);
    llada_active active = active_of(decoder); /* it takes effect afterwards */
    CHECK_EQUAL(active.count, BLOCK);
    return 0;
}

static int free_and_stop(llada_decoder *decoder, void *user) {
    free_it(decoder, user);
    return 1;
}

static void frees_its_decoder(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    int calls = 0;
    CHECK_OK(llada_decoder_step(with_rule(model, LLADA_PRESET_SPEEDY, free_it, &calls), &error));
    CHECK_REFUSED(llada_decoder_run(with_rule(model, LLADA_PRESET_SPEEDY, free_and_stop, &calls), NULL, NULL, &error),
                  LLADA_ERROR_STOPPED);
    llada_decoder *two[] = {with_rule(model, LLADA_PRESET_SPEEDY, free_it, &calls),
                            make_decoder(model, LLADA_PRESET_SPEEDY, GEN)};
    CHECK_OK(llada_decoders_step(two, 2, &error));
    CHECK_EQUAL(calls, 3);
    CHECK_OK(llada_decoder_run(two[1], NULL, NULL, &error));
    llada_decoder_free(two[1]);
    llada_model_free(model);
}

static void set_and_unset(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    int calls = 0, others = 0;
    llada_decoder *decoder = with_rule(model, LLADA_PRESET_SPEEDY, count_only, &calls), *fork = NULL;
    CHECK_OK(llada_decoder_step(decoder, &error));
    CHECK_OK(llada_decoder_fork(decoder, NULL, &fork, &error));
    CHECK_OK(llada_decoder_step(fork, &error));
    CHECK_EQUAL(calls, 2);
    CHECK_OK(llada_decoder_set_rule(decoder, count_only, &others, &error));
    CHECK_OK(llada_decoder_step(decoder, &error));
    CHECK_OK(llada_decoder_set_rule(decoder, NULL, NULL, &error));
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
    CHECK(calls == 2 && others == 1);
    CHECK_REFUSED(llada_decoder_set_rule(NULL, count_only, &others, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_decoder_free(fork);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* ---- Who says that a block is done ------------------------------------------------------------------------------ */

static void end_of_a_block(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_QUALITY, GEN);
    for (int32_t wrong = -1; wrong <= 3; wrong += 4)
        CHECK_REFUSED(llada_decoder_end_block(decoder, wrong, &error), LLADA_ERROR_INVALID_ARGUMENT);

    /* Not yet: it goes on although all is said, for as long as it is told. */
    llada_decoder *plain = make_decoder(model, LLADA_PRESET_QUALITY, GEN);
    CHECK_OK(llada_decoder_run_block(plain, NULL, NULL, &error));
    int steps = (int)state_of(plain).forwards;
    for (int i = 0; i < steps + 3; i++) {
        CHECK_OK(llada_decoder_end_block(decoder, LLADA_BLOCK_END_NOT_YET, &error));
        CHECK_OK(llada_decoder_step(decoder, &error));
        CHECK_EQUAL(state_of(decoder).active_first, 4);
    }
    CHECK_OK(llada_decoder_step(decoder, &error)); /* once alone: now it is the policy's to say */
    CHECK_EQUAL(state_of(decoder).active_first, 8);

    /* Taken back. */
    CHECK_OK(llada_decoder_end_block(decoder, LLADA_BLOCK_END_NOW, &error));
    CHECK_OK(llada_decoder_end_block(decoder, LLADA_BLOCK_END_AUTO, &error));
    CHECK_OK(llada_decoder_forward(decoder, &error));
    CHECK_OK(llada_decoder_set_proposal(decoder, NULL, 0, &error));
    CHECK_OK(llada_decoder_apply(decoder, &error));
    CHECK_EQUAL(state_of(decoder).active_first, 8);

    /* Now: with all its masks, which stay. */
    CHECK_OK(llada_decoder_forward(decoder, &error));
    CHECK_OK(llada_decoder_set_proposal(decoder, NULL, 0, &error));
    CHECK_OK(llada_decoder_end_block(decoder, LLADA_BLOCK_END_NOW, &error));
    CHECK_OK(llada_decoder_apply(decoder, &error));
    const int32_t *tokens = NULL;
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, NULL, NULL, &error));
    for (int i = 8; i < 12; i++) CHECK_EQUAL(tokens[i], MASK);
    CHECK_EQUAL(state_of(decoder).active_first, 12);
    CHECK_EQUAL(state_of(decoder).settled_length, 12);
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));

    /* With multi-block editing, the revisiting follows, and can be ended as well. */
    llada_decoder *mbe = make_decoder(model, LLADA_PRESET_QUALITY_MBE, GEN);
    CHECK_OK(llada_decoder_end_block(mbe, LLADA_BLOCK_END_NOW, &error));
    CHECK_OK(llada_decoder_step(mbe, &error));
    CHECK(!state_of(mbe).editing_blocks); /* the first block alone is no window */
    CHECK_EQUAL(state_of(mbe).active_first, 8);
    CHECK_OK(llada_decoder_end_block(mbe, LLADA_BLOCK_END_NOW, &error));
    CHECK_OK(llada_decoder_step(mbe, &error));
    CHECK(state_of(mbe).editing_blocks);
    CHECK_OK(llada_decoder_forward(mbe, &error));
    CHECK(active_of(mbe).editing_blocks);
    CHECK_OK(llada_decoder_end_block(mbe, LLADA_BLOCK_END_NOT_YET, &error));
    CHECK_OK(llada_decoder_step(mbe, &error));
    CHECK(state_of(mbe).editing_blocks);
    CHECK_OK(llada_decoder_end_block(mbe, LLADA_BLOCK_END_NOW, &error));
    CHECK_OK(llada_decoder_step(mbe, &error));
    CHECK(!state_of(mbe).editing_blocks);
    CHECK_EQUAL(state_of(mbe).active_first, 12);
    llada_decoder_free(mbe);
    llada_decoder_free(plain);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"a rule in every way to step", every_way_to_step},
        {"a rule that does nothing agrees", doing_nothing_agrees},
        {"a rule beside decoders that have none", beside_others},
        {"a rule looks and interferes", looks_and_interferes},
        {"a rule stops, and the step is done again", non_zero_stops},
        {"one of several stops", one_of_several_stops},
        {"a rule frees its decoder", frees_its_decoder},
        {"a rule is set, replaced, and gone", set_and_unset},
        {"who ends a block", end_of_a_block},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
