/* Interfering: what may be set, masked, locked, banned and proposed, and what becomes of it. */
#include "decoders.h"
#include <math.h>

static float probability_of(const llada_decoder *decoder, int32_t token, int32_t position) {
    llada_error error = LLADA_ERROR_INIT;
    llada_candidate candidates[VOCAB];
    size_t count = 0;
    CHECK_OK(llada_decoder_candidates(decoder, position, candidates, VOCAB, &count, &error));
    for (size_t i = 0; i < count; i++)
        if (candidates[i].token == token) return candidates[i].probability;
    return 0;
}

/* Whatever is refused changes nothing: the run that follows is the run it would have been. */
static void positions_and_tokens(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, 11),
                  *plain = make_decoder(model, LLADA_PRESET_SPEEDY, 11);
    llada_candidate candidates[VOCAB + 4];
    const float *logits = NULL;
    size_t count = 0;
    CHECK_OK(llada_decoder_forward(decoder, &error));
    static const int32_t outside[] = {-1, -2, 16, 17, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        int32_t at = outside[i];
        llada_edit edit = {at, 1, 1, LLADA_REASON_HOST};
        CHECK_REFUSED(llada_decoder_candidates(decoder, at, candidates, 1, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_decoder_logits(decoder, at, &logits, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_decoder_set_proposal(decoder, &edit, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_decoder_set_token(decoder, at, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_decoder_mask(decoder, at, &error), LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_decoder_lock(decoder, at, true, &error), LLADA_ERROR_INVALID_ARGUMENT);
        if (at != -1) CHECK_REFUSED(llada_decoder_ban(decoder, 1, at, true, &error), LLADA_ERROR_INVALID_ARGUMENT);
    }
    static const int32_t words[] = {-1, VOCAB, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        llada_edit edit = {6, words[i], 1, LLADA_REASON_HOST};
        CHECK_REFUSED(llada_decoder_set_token(decoder, 6, words[i], &error), LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_decoder_ban(decoder, words[i], 6, true, &error), LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_decoder_ban(decoder, words[i], -1, true, &error), LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_decoder_set_proposal(decoder, &edit, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);
    }
    /* The active block is 4 to 7, of which 4 is the prompt's. */
    CHECK_REFUSED(llada_decoder_candidates(decoder, 8, candidates, 1, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_candidates(decoder, 3, candidates, 1, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_mask(decoder, 4, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_mask(decoder, 0, &error), LLADA_ERROR_INVALID_ARGUMENT);
    static const llada_edit bad[][2] = {
        {{5, 1, 1, 0}, {5, 2, 1, 0}}, /* twice */
        {{5, 1, 1, 0}, {4, 2, 1, 0}}, /* of the prompt */
        {{5, 1, 1, 0}, {8, 2, 1, 0}}, /* not active */
        {{5, 1, 1, 0}, {0, 2, 1, 0}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_REFUSED(llada_decoder_set_proposal(decoder, bad[i], 2, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_set_proposal(decoder, bad[0], SIZE_MAX, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_decoder_lock(decoder, 6, true, &error));
    llada_edit locked = {6, 1, 1, 0};
    CHECK_REFUSED(llada_decoder_set_proposal(decoder, &locked, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_decoder_lock(decoder, 6, false, &error));

    CHECK_OK(llada_decoder_candidates(decoder, 5, NULL, 0, &count, &error));
    CHECK_EQUAL(count, 0);
    CHECK_OK(llada_decoder_candidates(decoder, 5, candidates, VOCAB, &count, &error));
    CHECK_EQUAL(count, VOCAB);
    double sum = 0;
    for (size_t i = 0; i < VOCAB; i++) {
        sum += (double)candidates[i].probability;
        if (i)
            CHECK(candidates[i].logit < candidates[i - 1].logit ||
                  (candidates[i].logit == candidates[i - 1].logit && candidates[i].token > candidates[i - 1].token));
    }
    CHECK(sum > 0.9999 && sum < 1.0001);
    CHECK_EITHER(llada_decoder_candidates(decoder, 5, candidates, VOCAB + 4, &count, NULL), LLADA_OK,
                 LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(count <= VOCAB);

    int32_t a[11], b[11];
    size_t na = run_out(decoder, a, 11), nb = run_out(plain, b, 11);
    CHECK(na == nb && !memcmp(a, b, na * sizeof *a));
    llada_decoder_free(decoder);
    llada_decoder_free(plain);
    llada_model_free(model);
}

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

        /* A bias as well: what it lifts is predicted, and -INFINITY is a ban. */
        int32_t other = was == 20 ? 21 : 20;
        CHECK_OK(llada_decoder_set_logit_bias(decoder, other, where, 40, &error));
        active = active_of(decoder);
        CHECK(active.predictions[2] == other && active.confidences[2] > 0.99f);
        CHECK_OK(llada_decoder_set_logit_bias(decoder, other, where, -INFINITY, &error));
        CHECK(probability_of(decoder, other, 6) == 0);
        CHECK_OK(llada_decoder_set_logit_bias(decoder, other, where, 0, &error));
        active = active_of(decoder);
        CHECK(active.predictions[2] == was && active.confidences[2] == sure);
    }
    static const float none[] = {NAN, INFINITY, 2e30f, -2e30f};
    for (size_t i = 0; i < 4; i++)
        CHECK_REFUSED(llada_decoder_set_logit_bias(decoder, 3, -1, none[i], &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_set_logit_bias(decoder, VOCAB, -1, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_set_logit_bias(decoder, 3, -2, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);

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

/* What is taken away comes first, then its place; what is written comes after its place. 5 and 6 are both, here. */
static void order_of_arguments(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    const int32_t *tokens = NULL;
    CHECK_OK(llada_decoder_forward(decoder, &error));
    CHECK(probability_of(decoder, 5, 6) > 0 && probability_of(decoder, 6, 5) > 0);
    CHECK_OK(llada_decoder_ban(decoder, 5, 6, true, &error));
    CHECK(probability_of(decoder, 5, 6) == 0 && probability_of(decoder, 6, 5) > 0);
    CHECK_OK(llada_decoder_set_token(decoder, 5, 6, &error));
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, NULL, NULL, &error));
    CHECK(tokens[5] == 6 && tokens[6] == MASK);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* A token goes, and two come in before another: what stands behind them moves, and events say how. */
static void moves(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    const int32_t *tokens = NULL, *forwards = NULL;
    const llada_edit *edits = NULL;
    const llada_event *events = NULL;
    size_t count = 0;
    CHECK_OK(llada_decoder_set_token(decoder, 5, 21, &error));
    CHECK_OK(llada_decoder_set_token(decoder, 6, 22, &error));
    CHECK_OK(llada_decoder_forward(decoder, &error));
    /* The active block is 4 to 7, of which 4 is the prompt's: 21, 22 and a mask. */
    llada_edit mine[] = {{6, 31, 0.5f, 0, LLADA_EDIT_INSERT},
                         {6, MASK, 0.5f, 0, LLADA_EDIT_INSERT},
                         {5, -1, 0.25f, 0, LLADA_EDIT_DELETE}};
    CHECK_OK(llada_decoder_set_proposal(decoder, mine, 3, &error));
    CHECK_OK(llada_decoder_proposal(decoder, &edits, &count, &error));
    CHECK(count == 3 && edits[0].kind == LLADA_EDIT_DELETE && edits[0].token == 21 && edits[0].confidence == 0.25f);
    CHECK(edits[1].token == 31 && edits[2].token == MASK && edits[2].reason == LLADA_REASON_HOST);
    CHECK_OK(llada_decoder_apply(decoder, &error));
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, NULL, NULL, &error));
    CHECK(tokens[5] == 31 && tokens[6] == MASK && tokens[7] == 22);
    CHECK_OK(llada_decoder_step_map(decoder, &forwards, NULL, &error));
    CHECK(forwards[5] == 1 && forwards[6] == 0 && forwards[7] == 0);
    CHECK_OK(llada_decoder_events(decoder, &events, &count, &error));
    CHECK_EQUAL(count, 5); /* the two that were set, first */
    CHECK(events[2].kind == LLADA_EVENT_DELETE && events[2].position == 5 && events[2].last == 7);
    CHECK(events[2].old_token == 21 && events[2].new_token == MASK);
    CHECK(events[3].kind == LLADA_EVENT_INSERT && events[3].position == 5 && events[3].last == 7);
    CHECK(events[3].new_token == 31 && events[3].old_token == MASK && events[0].last == 5);
    CHECK(events[4].position == 6 && events[4].new_token == MASK && events[4].old_token == MASK);
    CHECK(state_of(decoder).insertions == 2 && state_of(decoder).deletions == 1);
    CHECK_OK(llada_decoder_forward(decoder, &error));
    llada_edit unknown = {5, 31, 0, 0, 3};
    CHECK_REFUSED(llada_decoder_set_proposal(decoder, &unknown, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_edit twice[] = {{5, 31, 0, 0, LLADA_EDIT_DELETE}, {5, 31, 0, 0, LLADA_EDIT_WRITE}};
    CHECK_REFUSED(llada_decoder_set_proposal(decoder, twice, 2, &error), LLADA_ERROR_INVALID_ARGUMENT);
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
        llada_status status = llada_decoder_run(decoder, enough, &steps, NULL);
        CHECK(status != LLADA_ERROR_STOPPED);
        remark("it ends with %s", llada_status_name(status));
        const int32_t *tokens = NULL;
        CHECK_OK(llada_decoder_canvas(decoder, &tokens, NULL, NULL, &error));
        CHECK_EQUAL(tokens[9], MASK);
        llada_decoder_free(decoder);
    }
    llada_model_free(model);
}

/* Bans leave a token other than the mask to predict: the one too many is refused, and the run gets by with what is
 * left. */
static void everything_banned(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    int refused = 0;
    for (int32_t token = 0; token < VOCAB; token++) {
        llada_status status = llada_decoder_ban(decoder, token, -1, true, NULL);
        CHECK(status == LLADA_OK || status == LLADA_ERROR_INVALID_ARGUMENT);
        refused += status != LLADA_OK;
    }
    CHECK_EQUAL(refused, 1);
    int steps = 0;
    llada_status status = llada_decoder_run(decoder, enough, &steps, NULL);
    CHECK(status != LLADA_ERROR_STOPPED);
    remark("it ends with %s", llada_status_name(status));
    const int32_t *tokens = NULL;
    size_t count = 0;
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, NULL, &count, &error));
    for (size_t i = 0; i < count; i++) CHECK(tokens[i] >= 0 && tokens[i] < VOCAB);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"positions and tokens out of range", positions_and_tokens},
        {"set, mask, lock, ban, set_proposal", interfering},
        {"the order of arguments", order_of_arguments},
        {"tokens that move", moves},
        {"a mask locked for ever", locked_mask},
        {"every token banned", everything_banned},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
