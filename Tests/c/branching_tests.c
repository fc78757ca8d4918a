/* Forks and truncation: what is refused, and that every way on is the way it would have been. */
#include "decoders.h"

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
    policy.minimal_topk = MANY_GEN + 1; /* more than there is to generate */
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

/* From between any two parts of a step; the origin may go meanwhile. */
static void forks_in_the_midst_of_a_step(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    int32_t expected[MANY_GEN], tokens[MANY_GEN];
    llada_decoder *alone = make_nth(model, NULL, 5);
    size_t count = run_out(alone, expected, MANY_GEN);
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
        CHECK(run_out(fork, tokens, MANY_GEN) == count && !memcmp(tokens, expected, count * sizeof *tokens));
        if (parts != 1) {
            CHECK(run_out(origin, tokens, MANY_GEN) == count && !memcmp(tokens, expected, count * sizeof *tokens));
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
    int32_t expected[MANY_GEN], tokens[MANY_GEN];
    size_t count = run_out(decoder, expected, MANY_GEN);
    llada_decoder_state end = state_of(decoder);
    CHECK_STATUS(llada_decoder_truncate(decoder, end.canvas_length, NULL), LLADA_OK); /* nothing to forget */
    CHECK(has_finished(decoder));
    for (int32_t position = end.canvas_length - BLOCK; position >= MANY_PROMPT; position -= BLOCK) {
        CHECK_STATUS(llada_decoder_truncate(decoder, position, NULL), LLADA_OK);
        llada_decoder_state back = state_of(decoder);
        CHECK(back.phase != LLADA_PHASE_FINISHED && back.active_first == position && back.settled_length == position &&
              back.finish_reason == LLADA_FINISH_NONE && back.phase == LLADA_PHASE_READY);
        CHECK(run_out(decoder, tokens, MANY_GEN) == count && !memcmp(tokens, expected, count * sizeof *tokens));
    }
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* ---- The rule of a fork ----------------------------------------------------------------------------------------- */

typedef struct {
    const llada_decoder *expected; /* the decoder that steps */
    int calls;
    llada_decoder *fork; /* of the first call, made inside the rule */
} rule_log;

/* Works on the decoder it is called with, and on no other: the fork's origin may be gone, or busy. */
static int note_the_decoder(llada_decoder *decoder, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    rule_log *log = user;
    CHECK(decoder == log->expected);
    llada_active active = active_of(decoder);
    CHECK_OK(llada_decoder_ban(decoder, 3, active.first, true, &error));
    if (log->calls++ == 0) CHECK_OK(llada_decoder_fork(decoder, NULL, &log->fork, &error));
    return 0;
}

static void forks_have_the_rule(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    rule_log log = {NULL, 0, NULL};
    llada_decoder *origin = make_nth(model, NULL, 2), *fork = NULL, *second = NULL;
    int32_t tokens[3][MANY_GEN];
    CHECK_OK(llada_decoder_set_rule(origin, note_the_decoder, &log, &error));
    log.expected = origin;
    CHECK_OK(llada_decoder_step(origin, &error));
    CHECK_EQUAL(log.calls, 1);
    CHECK_OK(llada_decoder_fork(origin, NULL, &fork, &error));
    size_t count = run_out(origin, tokens[0], MANY_GEN);
    int calls = log.calls;
    CHECK_EQUAL(calls, state_of(origin).forwards);
    llada_decoder_free(origin);

    /* The origin is gone; the fork, and a fork of the fork, go on with the rule. */
    CHECK_OK(llada_decoder_fork(fork, NULL, &second, &error));
    llada_decoder *forks[] = {fork, second};
    for (int i = 0; i < 2; i++) {
        log.calls = 1;
        log.expected = forks[i];
        CHECK_EQUAL(run_out(forks[i], tokens[1], MANY_GEN), count);
        CHECK(!memcmp(tokens[0], tokens[1], count * sizeof **tokens));
        CHECK_EQUAL(log.calls, calls);
        llada_decoder_free(forks[i]);
    }

    /* One that was made inside the rule has it, too, and can do without. */
    NEED(log.fork);
    log.expected = log.fork;
    CHECK_OK(llada_decoder_step(log.fork, &error)); /* of which the proposal was made */
    CHECK_EQUAL(log.calls, calls);
    CHECK_OK(llada_decoder_step(log.fork, &error));
    CHECK_EQUAL(log.calls, calls + 1);
    CHECK_OK(llada_decoder_set_rule(log.fork, NULL, NULL, &error));
    run_out(log.fork, tokens[2], MANY_GEN);
    CHECK_EQUAL(log.calls, calls + 1);
    llada_decoder_free(log.fork);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"arguments of fork and truncate", arguments_of_branches},
        {"forks in the midst of a step", forks_in_the_midst_of_a_step},
        {"truncated after the end", truncated_after_the_end},
        {"forks have the rule of their origin", forks_have_the_rule},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
