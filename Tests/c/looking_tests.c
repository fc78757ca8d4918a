/* Looking: the state, the active positions, logits, output and step map of a decoder. */
#include "decoders.h"

static void ages_of_decoder_state(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, 9);
    struct {
        llada_decoder_state s;
        unsigned char tail[16];
    } s;
    memset(&s, 0, sizeof s);
    s.s.struct_size = sizeof s;
    CHECK_OK(llada_decoder_get_state(decoder, &s.s, &error));
    CHECK_EQUAL(s.s.struct_size, sizeof s);
    CHECK_EQUAL(s.s.canvas_length, 16);
    s.tail[0] = 1;
    CHECK_REFUSED(llada_decoder_get_state(decoder, &s.s, &error), LLADA_ERROR_INVALID_ARGUMENT);
    memset(&s, 0xA5, sizeof s);
    s.s.struct_size = offsetof(llada_decoder_state, canvas_length);
    CHECK_OK(llada_decoder_get_state(decoder, &s.s, &error));
    CHECK_EQUAL(s.s.prompt_length, PROMPT);
    for (size_t i = s.s.struct_size; i < sizeof s; i++) CHECK(((unsigned char *)&s)[i] == 0xA5);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static void null_out_pointers(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, 9);
    CHECK_REFUSED(llada_decoder_get_state(decoder, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_decoder_canvas(decoder, NULL, NULL, NULL, &error)); /* so the header says */
    CHECK_OK(llada_decoder_forward(decoder, &error));
    /* All others may not be. */
    int32_t tokens[16];
    const float *logits = NULL;
    size_t count = 0;
    llada_candidate candidates[2];
    CHECK_REFUSED(llada_decoder_active(decoder, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_logits(decoder, 5, NULL, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_logits(decoder, 5, &logits, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_output(decoder, tokens, 16, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_candidates(decoder, 5, candidates, 2, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_candidates(decoder, 5, NULL, 2, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_candidates(decoder, 5, NULL, 2, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_output(decoder, NULL, 16, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_set_proposal(decoder, NULL, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_decoder_set_proposal(decoder, NULL, 0, &error)); /* nothing is a proposal, too */
    CHECK_REFUSED(llada_decoder_proposal(decoder, NULL, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_events(decoder, NULL, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static void output_buffer(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, 9);
    int32_t all[10], part[10];
    size_t count = 77;
    CHECK_OK(llada_decoder_output(decoder, NULL, 0, &count, &error)); /* nothing yet */
    CHECK_EQUAL(count, 0);
    size_t length = run_out(decoder, all, 9);
    CHECK(length > 0);
    for (size_t capacity = 0; capacity < length; capacity++) {
        memset(part, 0xA5, sizeof part);
        count = 77;
        CHECK_REFUSED(llada_decoder_output(decoder, capacity ? part : NULL, capacity, &count, &error),
                      LLADA_ERROR_BUFFER_TOO_SMALL);
        CHECK_EQUAL(count, length);
        for (size_t i = 0; i < sizeof part; i++) CHECK(((unsigned char *)part)[i] == 0xA5);
    }
    memset(part, 0xA5, sizeof part);
    CHECK_OK(llada_decoder_output(decoder, part, length, &count, &error));
    CHECK(count == length && !memcmp(all, part, length * sizeof *all) && part[length] == (int32_t)0xA5A5A5A5);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static void active_positions(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_QUALITY_MBE, GEN);
    llada_active active = LLADA_ACTIVE_INIT;
    CHECK_REFUSED(llada_decoder_active(decoder, &active, &error), LLADA_ERROR_STATE);
    CHECK(!active.tokens && !active.confidences && active.count == 0);
    CHECK_REFUSED(llada_decoder_active(NULL, &active, &error), LLADA_ERROR_INVALID_ARGUMENT);
    int windows = 0;
    while (!has_finished(decoder)) {
        CHECK_OK(llada_decoder_forward(decoder, &error));
        CHECK_OK(llada_decoder_lock(decoder, 6, state_of(decoder).forwards % 2 == 0, &error));
        active = active_of(decoder);
        llada_decoder_state state = state_of(decoder);
        const int32_t *canvas = NULL;
        const uint8_t *states = NULL;
        CHECK_OK(llada_decoder_canvas(decoder, &canvas, &states, NULL, &error));
        CHECK(active.first == state.active_first && active.count == state.active_count);
        CHECK(active.block_step == state.block_step && active.editing_blocks == state.editing_blocks);
        for (int32_t i = 0; i < active.count; i++) {
            int32_t at = active.first + i;
            llada_candidate best = {-1, 0, 0};
            size_t count = 0;
            CHECK(active.tokens[i] == canvas[at] && active.states[i] == states[at]);
            CHECK(active.locked[i] == (at == 6 && state.forwards % 2 == 0));
            CHECK_OK(llada_decoder_candidates(decoder, at, &best, 1, &count, &error));
            CHECK_EQUAL(active.predictions[i], best.token);
            CHECK(active.confidences[i] - best.probability < 1e-6f && best.probability - active.confidences[i] < 1e-6f);
        }
        windows += active.editing_blocks && active.count == 2 * BLOCK;
        CHECK_OK(llada_decoder_step(decoder, &error));
    }
    CHECK(windows > 3);

    CHECK_REFUSED(llada_decoder_active(decoder, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_active sized = LLADA_ACTIVE_INIT;
    sized.struct_size = 12; /* of a header that knew no more than first and count */
    sized.block_step = -77;
    CHECK_OK(llada_decoder_active(decoder, &sized, &error));
    CHECK(sized.count > 0 && sized.block_step == -77 && !sized.tokens);
    sized.struct_size = 2;
    CHECK_REFUSED(llada_decoder_active(decoder, &sized, &error), LLADA_ERROR_INVALID_ARGUMENT);
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
            CHECK_OK(llada_model_logits(model, tokens, 2 * BLOCK, 2 * BLOCK, NULL, NULL, whole, 2 * BLOCK * VOCAB,
                                        &count, &error));
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

/* The step map is what the events say. */
typedef struct {
    int32_t written[64];
} map;

static int note(const llada_decoder *decoder, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    map *m = user;
    const llada_event *events = NULL;
    const int32_t *forwards = NULL;
    size_t count = 0, length = 0;
    CHECK_OK(llada_decoder_events(decoder, &events, &count, &error));
    for (size_t i = 0; i < count; i++)
        m->written[events[i].position] = events[i].kind == LLADA_EVENT_REMASK ? 0 : (int32_t)state_of(decoder).forwards;
    CHECK_OK(llada_decoder_step_map(decoder, &forwards, &length, &error));
    CHECK_EQUAL(length, state_of(decoder).canvas_length);
    for (size_t i = 0; i < length; i++) CHECK_EQUAL(forwards[i], m->written[i]);
    return 0;
}

static void step_map(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_QUALITY_MBE, GEN);
    const int32_t *forwards = NULL;
    map m = {{0}};
    note(decoder, &m);
    CHECK_OK(llada_decoder_step(decoder, &error));
    note(decoder, &m);
    CHECK_OK(llada_decoder_set_token(decoder, 30, 5, &error)); /* after the first forward */
    m.written[30] = 1;
    CHECK_OK(llada_decoder_step_map(decoder, &forwards, NULL, &error));
    CHECK_EQUAL(forwards[30], 1);
    CHECK_OK(llada_decoder_mask(decoder, 30, &error));
    CHECK_EQUAL(forwards[30], 0);
    m.written[30] = 0;
    CHECK_OK(llada_decoder_step(decoder, &error));
    m.written[30] = 0;
    const llada_event *events = NULL;
    size_t count = 0;
    CHECK_OK(llada_decoder_events(decoder, &events, &count, &error));
    CHECK(count >= 2); /* the host's two, and the step's */
    note(decoder, &m);
    CHECK_OK(llada_decoder_run(decoder, note, &m, &error));
    CHECK_REFUSED(llada_decoder_step_map(decoder, NULL, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_step_map(NULL, &forwards, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static int compare(const void *one, const void *other) {
    const llada_candidate *a = one, *b = other;
    if (a->logit != b->logit) return a->logit < b->logit ? 1 : -1;
    return a->token < b->token ? -1 : 1;
}

/* The best of a row, by sorting its logits: asked for before the forward, after it, and by a fork. */
static void candidates(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(3);
    for (size_t kept = 0; kept <= 9; kept += 3) {
        llada_decoder *decoder = make_decoder(model, LLADA_PRESET_QUALITY, GEN), *fork = NULL;
        CHECK_OK(llada_decoder_keep_candidates(decoder, kept, &error));
        CHECK_OK(llada_decoder_step(decoder, &error));
        CHECK_OK(llada_decoder_fork(decoder, NULL, &fork, &error));
        NEED(fork);
        CHECK_OK(llada_decoder_forward(decoder, &error));
        CHECK_OK(llada_decoder_step(fork, &error));
        llada_active active = active_of(decoder);
        for (int32_t i = active.count - 1; i >= 0; i--) {
            llada_candidate all[VOCAB], found[VOCAB], again[4];
            const float *logits = NULL;
            size_t count = 0;
            CHECK_OK(llada_decoder_candidates(decoder, active.first + i, again, 4, &count, &error));
            CHECK_EQUAL(count, 4);
            CHECK_OK(llada_decoder_logits(decoder, active.first + i, &logits, &count, &error));
            CHECK_EQUAL(count, VOCAB);
            for (int32_t t = 0; t < VOCAB; t++) all[t] = (llada_candidate){t, logits[t], 0};
            qsort(all, VOCAB, sizeof *all, compare);
            CHECK_OK(llada_decoder_candidates(decoder, active.first + i, found, VOCAB, &count, &error));
            CHECK_EQUAL(count, VOCAB);
            for (int32_t t = 0; t < VOCAB; t++) CHECK(found[t].token == all[t].token && found[t].logit == all[t].logit);
            CHECK(!memcmp(found, again, sizeof again));
            CHECK_OK(llada_decoder_candidates(fork, active.first + i, found, 4, &count, &error));
            CHECK(!memcmp(found, again, sizeof again));
            CHECK(found[0].token == active.predictions[i] && found[0].probability == active.confidences[i]);
            CHECK_OK(llada_decoder_candidates(decoder, active.first + i, NULL, 0, &count, &error));
            CHECK_EQUAL(count, 0);
        }
        llada_decoder_free(fork);
        llada_decoder_free(decoder);
    }
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_QUALITY, GEN);
    CHECK_OK(llada_decoder_keep_candidates(decoder, 1024, &error));
    CHECK_REFUSED(llada_decoder_keep_candidates(decoder, 1025, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_keep_candidates(decoder, SIZE_MAX, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"struct_size of llada_decoder_state", ages_of_decoder_state},
        {"NULL out pointers", null_out_pointers},
        {"the output's buffer", output_buffer},
        {"the active positions", active_positions},
        {"block editing sees its window as one block", block_editing_window},
        {"the step map", step_map},
        {"candidates, asked for before and afterwards", candidates},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
