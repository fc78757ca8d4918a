/* NULL, out of range, too small: every function answers with a code and words, and changes nothing. */
#include "harness.h"

#include <math.h>

static void null_version_and_init(void) {
    llada_error error = LLADA_ERROR_INIT;
    CHECK_REFUSED(llada_model_options_init(NULL, sizeof(llada_model_options), &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_options_init(NULL, sizeof(llada_decoder_options), &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_policy_init(NULL, sizeof(llada_policy), LLADA_PRESET_SPEEDY, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    llada_model_free(NULL);
    llada_decoder_free(NULL);
    llada_decoder_cancel(NULL);
}

static void null_model(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = NULL;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    float logits[VOCAB];
    int32_t tokens[8];
    char text[8];
    size_t count = 0;
    llada_chat_message message = {"user", "hello"};
    llada_decoder *decoder = NULL;
    CHECK_REFUSED(llada_model_open(NULL, NULL, &model, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_open(checkpoint(), NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_open("", NULL, &model, &error), LLADA_ERROR_IO);
    CHECK_REFUSED(llada_model_get_info(NULL, &info, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(NULL, prompt, 1, 4, logits, VOCAB, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_tokenize(NULL, "a", 1, 0, tokens, 8, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_detokenize(NULL, prompt, 1, 0, text, 8, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_chat_tokenize(NULL, &message, 1, true, tokens, 8, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_create(NULL, prompt, 1, NULL, &decoder, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!model && !decoder);

    model = open_model(1);
    CHECK_REFUSED(llada_model_get_info(model, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, NULL, 1, 4, logits, VOCAB, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, prompt, 1, 4, NULL, VOCAB, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_create(model, NULL, 1, NULL, &decoder, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_create(model, prompt, PROMPT, NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!decoder);
    llada_model_free(model);
}

/* With every combination of the other arguments: the handle alone decides. */
static void null_decoder(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    const int32_t *tokens = NULL;
    const uint8_t *states = NULL;
    const float *floats = NULL;
    const llada_edit *edits = NULL;
    const llada_event *events = NULL;
    int32_t buffer[4];
    size_t count = 0;
    llada_candidate candidate;
    llada_edit edit = {0, 0, 0, 0};
    CHECK_REFUSED(llada_decoder_forward(NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_propose(NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_apply(NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_step(NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_run_block(NULL, NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_run(NULL, NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_get_state(NULL, &state, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_get_state(NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_canvas(NULL, &tokens, &states, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_output(NULL, buffer, 4, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_candidates(NULL, 0, &candidate, 1, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_logits(NULL, 0, &floats, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_proposal(NULL, &edits, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_events(NULL, &events, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_set_proposal(NULL, &edit, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_set_token(NULL, 0, 0, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_mask(NULL, 0, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_lock(NULL, 0, true, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_ban(NULL, 0, 0, true, &error), LLADA_ERROR_INVALID_ARGUMENT);
    /* And without an error to fill. */
    CHECK_STATUS(llada_decoder_forward(NULL, NULL), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(llada_decoder_ban(NULL, 0, 0, true, NULL), LLADA_ERROR_INVALID_ARGUMENT);
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

static void model_options_out_of_range(void) {
    llada_error error = LLADA_ERROR_INIT;
    static const struct {
        size_t field;
        int32_t value;
        llada_status status;
    } bad[] = {
        {offsetof(llada_model_options, dtype), 5, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, dtype), -1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, threads), -1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, threads), INT32_MAX, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, threads), INT32_MIN, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, expert_capacity), -1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, expert_capacity), 1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, expert_capacity), INT32_MAX, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, kv_dtype), LLADA_DTYPE_INT8, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, kv_dtype), LLADA_DTYPE_INT4, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, kv_dtype), 5, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, kv_dtype), -1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, blas), 3, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, blas), -1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, mask_token_id), VOCAB, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, mask_token_id), -2, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, mask_token_id), INT32_MIN, LLADA_ERROR_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        llada_model_options options = usual_options();
        memcpy((char *)&options + bad[i].field, &bad[i].value, 4);
        llada_model *model = NULL;
        llada_status status = llada_model_open(checkpoint(), &options, &model, &error);
        /* An id outside the vocabulary may as well be called what it is. */
        bool special =
            bad[i].field == offsetof(llada_model_options, mask_token_id) && status == LLADA_ERROR_SPECIAL_TOKEN;
        if (status != bad[i].status && !special)
            failed(__FILE__, __LINE__, "bytes %zu = %d: %s, not %s", bad[i].field, bad[i].value,
                   llada_status_name(status), llada_status_name(bad[i].status));
        CHECK(!model);
        llada_model_free(model);
    }
}

static void policy_out_of_range(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_policy p;
    static const llada_preset presets[] = {-1, 4, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++)
        CHECK_REFUSED(llada_policy_init(&p, sizeof p, presets[i], &error), LLADA_ERROR_INVALID_ARGUMENT);

    static const struct {
        size_t field;
        int32_t value;
    } whole[] = {
        {offsetof(llada_policy, kind), 2},
        {offsetof(llada_policy, kind), -1},
        {offsetof(llada_policy, steps), 0},
        {offsetof(llada_policy, steps), -1},
        {offsetof(llada_policy, minimal_topk), 0},
        {offsetof(llada_policy, minimal_topk), INT32_MIN},
        {offsetof(llada_policy, max_post_steps), -1},
        {offsetof(llada_policy, num_to_transfer), -1},
        {offsetof(llada_policy, mbe_window), 0},
        {offsetof(llada_policy, mbe_window), -5},
        {offsetof(llada_policy, mbe_rounds), -1},
        {offsetof(llada_policy, top_k), -1},
    };
    static const struct {
        size_t field;
        float value;
    } real[] = {
        {offsetof(llada_policy, threshold), NAN},        {offsetof(llada_policy, editing_threshold), NAN},
        {offsetof(llada_policy, penalty_lambda), NAN},   {offsetof(llada_policy, penalty_lambda), INFINITY},
        {offsetof(llada_policy, temperature), NAN},      {offsetof(llada_policy, temperature), -1},
        {offsetof(llada_policy, temperature), INFINITY}, {offsetof(llada_policy, top_p), NAN},
        {offsetof(llada_policy, top_p), -0.5f},
    };
    for (int kind = 0; kind < 2; kind++) {
        for (size_t i = 0; i < sizeof whole / sizeof *whole + sizeof real / sizeof *real; i++) {
            CHECK_OK(llada_policy_init(&p, sizeof p, kind ? LLADA_PRESET_SPEEDY : LLADA_PRESET_LOW_CONFIDENCE, &error));
            size_t r = i - sizeof whole / sizeof *whole;
            size_t field = i < sizeof whole / sizeof *whole ? whole[i].field : real[r].field;
            memcpy((char *)&p + field,
                   i < sizeof whole / sizeof *whole ? (const void *)&whole[i].value : &real[r].value, 4);
            llada_decoder_options options;
            CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
            options.policy = &p;
            llada_decoder *decoder = NULL;
            llada_status status = llada_decoder_create(model, prompt, PROMPT, &options, &decoder, &error);
            /* What the other kind of policy alone reads may be passed over. */
            bool idle = kind ? field == offsetof(llada_policy, steps) || field == offsetof(llada_policy, minimal_topk)
                             : field != offsetof(llada_policy, kind) && field != offsetof(llada_policy, threshold) &&
                                   field != offsetof(llada_policy, steps) &&
                                   field < offsetof(llada_policy, temperature) &&
                                   field != offsetof(llada_policy, minimal_topk);
            if (status != LLADA_ERROR_INVALID_ARGUMENT && !(idle && status == LLADA_OK))
                failed(__FILE__, __LINE__, "policy kind %d, field at %zu, case %zu: %s", kind, field, i,
                       llada_status_name(status));
            llada_decoder_free(decoder);
        }
    }
    llada_model_free(model);
}

static void decoder_options_out_of_range(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    static const struct {
        int32_t block_length, gen_length;
    } bad[] = {
        {0, 8},
        {-1, 8},
        {INT32_MIN, 8},
        {INT32_MAX, 8},
        {4, 0},
        {4, -1},
        {4, INT32_MIN},
        {4, INT32_MAX},
        {INT32_MAX, INT32_MAX},
        {4, 4096},
        {1 << 30, 1 << 30},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        llada_decoder_options options;
        CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
        options.block_length = bad[i].block_length;
        options.gen_length = bad[i].gen_length;
        llada_decoder *decoder = NULL;
        llada_status status = llada_decoder_create(model, prompt, PROMPT, &options, &decoder, &error);
        /* More than the model has positions may be allowed or not; nothing else may. */
        bool sane = bad[i].block_length == 4 && bad[i].gen_length == 4096;
        if (status != LLADA_ERROR_INVALID_ARGUMENT && !(sane && status == LLADA_OK))
            failed(__FILE__, __LINE__, "block_length %d, gen_length %d: %s", bad[i].block_length, bad[i].gen_length,
                   llada_status_name(status));
        if (sane) remark("a canvas longer than max_position_embeddings: %s", llada_status_name(status));
        llada_decoder_free(decoder);
    }
    llada_model_free(model);
}

static void prompts(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = NULL;
    static const int32_t bad[] = {-1, VOCAB, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        int32_t tokens[3] = {1, bad[i], 2};
        CHECK_REFUSED(llada_decoder_create(model, tokens, 3, NULL, &decoder, &error), LLADA_ERROR_INVALID_ARGUMENT);
    }
    int32_t masked[3] = {1, MASK, 2};
    CHECK_REFUSED(llada_decoder_create(model, masked, 3, NULL, &decoder, &error), LLADA_ERROR_SPECIAL_TOKEN);
    /* Lengths that no buffer has: refused before anything is read. */
    CHECK_REFUSED(llada_decoder_create(model, prompt, SIZE_MAX, NULL, &decoder, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_create(model, prompt, SIZE_MAX / 4, NULL, &decoder, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_create(model, prompt, (size_t)1 << 32, NULL, &decoder, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!decoder);

    /* An empty prompt: either answer is good, half of one is not. */
    llada_decoder_options options;
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    options.gen_length = 8;
    llada_status status = llada_decoder_create(model, NULL, 0, &options, &decoder, &error);
    CHECK((status == LLADA_OK) == (decoder != NULL));
    CHECK(status == LLADA_OK || status == LLADA_ERROR_INVALID_ARGUMENT);
    if (decoder) {
        int32_t tokens[8];
        CHECK(run_out(decoder, tokens, 8) > 0);
    }
    remark("an empty prompt: %s", llada_status_name(status));
    llada_decoder_free(decoder);

    /* Infilling: the hole is filled and the rest of the prompt stays. */
    decoder = NULL;
    error = (llada_error)LLADA_ERROR_INIT;
    options.infill = true;
    options.block_length = BLOCK;
    CHECK_OK(llada_decoder_create(model, masked, 3, &options, &decoder, &error));
    NEED(decoder);
    const int32_t *tokens = NULL;
    const uint8_t *states = NULL;
    size_t count = 0;
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, &states, &count, &error));
    CHECK_EQUAL(count, 12);
    CHECK(states[0] == LLADA_POSITION_PROMPT && states[1] == LLADA_POSITION_MASKED &&
          states[2] == LLADA_POSITION_PROMPT);
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
    CHECK_OK(llada_decoder_canvas(decoder, &tokens, &states, &count, &error));
    CHECK(tokens[0] == 1 && tokens[1] != MASK && tokens[2] == 2);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static void full_logits(void) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    llada_model *model = open_model(1);
    static float out[PROMPT * VOCAB + 1], whole[PROMPT * VOCAB];
    CHECK_OK(llada_model_logits(model, prompt, PROMPT, BLOCK, whole, PROMPT * VOCAB, &count, &error));
    for (size_t i = 0; i < PROMPT * VOCAB; i++) CHECK(isfinite(whole[i]));
    out[PROMPT * VOCAB] = 42;
    for (size_t short_of = 1; short_of < 3; short_of++) {
        out[0] = 42;
        CHECK_REFUSED(llada_model_logits(model, prompt, PROMPT, BLOCK, out, PROMPT * VOCAB - short_of, &count, &error),
                      LLADA_ERROR_BUFFER_TOO_SMALL);
        CHECK(out[0] == 42);
    }
    CHECK_REFUSED(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, 0, &count, &error),
                  LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK_OK(llada_model_logits(model, prompt, PROMPT, BLOCK, out, PROMPT * VOCAB + 1, &count, &error));
    CHECK(out[PROMPT * VOCAB] == 42 && !memcmp(out, whole, sizeof whole));

    CHECK_REFUSED(llada_model_logits(model, prompt, PROMPT, 0, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, prompt, PROMPT, -4, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, prompt, PROMPT, INT32_MIN, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    /* A block longer than the sequence is the whole of it. */
    CHECK_EITHER(llada_model_logits(model, prompt, PROMPT, INT32_MAX, out, PROMPT * VOCAB, &count, NULL), LLADA_OK,
                 LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, prompt, SIZE_MAX, BLOCK, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, prompt, SIZE_MAX / VOCAB + 2, BLOCK, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_EITHER(llada_model_logits(model, NULL, 0, BLOCK, NULL, 0, &count, NULL), LLADA_OK,
                 LLADA_ERROR_INVALID_ARGUMENT);
    int32_t strange[] = {1, VOCAB};
    CHECK_REFUSED(llada_model_logits(model, strange, 2, BLOCK, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    strange[1] = -1;
    CHECK_REFUSED(llada_model_logits(model, strange, 2, BLOCK, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    strange[1] = MASK; /* of all places a mask is at home here */
    CHECK_OK(llada_model_logits(model, strange, 2, BLOCK, out, PROMPT * VOCAB, &count, &error));
    llada_model_free(model);
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

/* Without a tokenizer every text function says so; its arguments are looked at first. */
static void no_tokenizer(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    int32_t tokens[8];
    char text[8];
    size_t count = 0;
    llada_chat_message message = {"user", "hello"};
    CHECK_REFUSED(llada_tokenize(model, "a", 1, 0, tokens, 8, &count, &error), LLADA_ERROR_TOKENIZER);
    CHECK_REFUSED(llada_detokenize(model, prompt, 1, 0, text, 8, &count, &error), LLADA_ERROR_TOKENIZER);
    CHECK_REFUSED(llada_chat_tokenize(model, &message, 1, true, tokens, 8, &count, &error), LLADA_ERROR_TOKENIZER);
    llada_model_free(model);
}

/* The protocol of all three, on a model with a tokenizer. */
static void text_buffers(void) {
    if (!text_model) {
        remark("no model with a tokenizer at hand");
        return;
    }
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = NULL;
    CHECK_OK(llada_model_open(text_model, NULL, &model, &error));
    NEED(model);
    static const char words[] = "What is 17 plus 25? \xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80";
    size_t bytes = sizeof words - 1, need = 0, count = 0, length = 0;
    int32_t *tokens = calloc(bytes * 4, sizeof *tokens), guard[4] = {7, 7, 7, 7};
    CHECK_REFUSED(llada_tokenize(model, words, bytes, 0, NULL, 0, &need, &error), LLADA_ERROR_BUFFER_TOO_SMALL);
    NEED(need > 4 && need <= bytes * 4);
    CHECK_REFUSED(llada_tokenize(model, words, bytes, 0, guard, 4, &count, &error), LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK(count == need && guard[0] == 7 && guard[3] == 7);
    CHECK_OK(llada_tokenize(model, words, bytes, 0, tokens, need, &count, &error));
    CHECK_EQUAL(count, need);
    char text[256];
    memset(text, 'x', sizeof text);
    CHECK_REFUSED(llada_detokenize(model, tokens, count, 0, NULL, 0, &length, &error), LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK_EQUAL(length, bytes);
    CHECK_REFUSED(llada_detokenize(model, tokens, count, 0, text, bytes - 1, &length, &error),
                  LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK(text[0] == 'x');
    CHECK_OK(llada_detokenize(model, tokens, count, 0, text, bytes, &length, &error));
    CHECK(length == bytes && !memcmp(text, words, bytes) && text[bytes] == 'x');

    /* Streaming: whatever is held back, what came out before only grows, and never holds half a character. */
    size_t before = 0;
    for (size_t n = 0; n <= count; n++) {
        char now[256];
        CHECK_OK(llada_detokenize(model, tokens, n, LLADA_TEXT_HOLD_BACK, now, sizeof now, &length, &error));
        CHECK(length >= before && !memcmp(now, words, length));
        CHECK(length == bytes || ((unsigned char)words[length] & 0xC0) != 0x80);
        before = length;
    }

    CHECK_REFUSED(llada_tokenize(model, NULL, 1, 0, tokens, 8, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_tokenize(model, NULL, 0, 0, NULL, 0, &count, &error));
    CHECK_EQUAL(count, 0);
    CHECK_REFUSED(llada_tokenize(model, words, bytes, 0, NULL, 8, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_tokenize(model, words, bytes, 1u << 31, tokens, need, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_detokenize(model, tokens, need, 1u << 31, text, sizeof text, &length, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_detokenize(model, NULL, 1, 0, text, sizeof text, &length, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_detokenize(model, NULL, 0, 0, NULL, 0, &length, &error));
    CHECK_REFUSED(llada_tokenize(model, words, SIZE_MAX, 0, tokens, need, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_detokenize(model, tokens, SIZE_MAX, 0, text, sizeof text, &length, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    CHECK_OK(llada_model_get_info(model, &info, &error));
    int32_t strange[] = {-1, info.vocab_size, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++)
        CHECK_REFUSED(llada_detokenize(model, &strange[i], 1, 0, text, sizeof text, &length, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);

    /* Broken UTF-8 is not refused, and NUL is a character. */
    static const char broken[] = "a\xFF\x00\xE4\xBD"
                                 "b";
    CHECK_OK(llada_tokenize(model, broken, sizeof broken - 1, 0, tokens, bytes * 4, &count, &error));

    if (info.has_chat_template) {
        llada_chat_message messages[] = {
            {"system", "Be brief."}, {"user", "hello <|endoftext|>"}, {NULL, "x"}, {"user", NULL}, {"king", "x"}};
        CHECK_REFUSED(llada_chat_tokenize(model, messages, 2, true, NULL, 0, &need, &error),
                      LLADA_ERROR_BUFFER_TOO_SMALL);
        int32_t *chat = calloc(need, sizeof *chat);
        CHECK_OK(llada_chat_tokenize(model, messages, 2, true, chat, need, &count, &error));
        CHECK_EQUAL(count, need);
        CHECK_REFUSED(llada_chat_tokenize(model, messages + 2, 1, true, chat, need, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_chat_tokenize(model, messages + 3, 1, true, chat, need, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_chat_tokenize(model, messages + 4, 1, true, chat, need, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_chat_tokenize(model, NULL, 1, true, chat, need, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
        free(chat);
    }
    free(tokens);
    llada_model_free(model);
}

/* The out pointer of a call that failed is not touched. */
static void out_untouched(void) {
    llada_error error = LLADA_ERROR_INIT;
    int nothing;
    llada_model *model = (llada_model *)(void *)&nothing;
    CHECK_REFUSED(llada_model_open("no/such/folder", NULL, &model, &error), LLADA_ERROR_IO);
    CHECK((void *)model == (void *)&nothing);
    model = open_model(1);
    llada_decoder *decoder = (llada_decoder *)(void *)&nothing;
    int32_t bad = -1;
    CHECK_REFUSED(llada_decoder_create(model, &bad, 1, NULL, &decoder, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK((void *)decoder == (void *)&nothing);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"NULL to init and free", null_version_and_init},
        {"NULL model", null_model},
        {"NULL decoder", null_decoder},
        {"NULL out pointers", null_out_pointers},
        {"out pointers untouched on failure", out_untouched},
        {"model options out of range", model_options_out_of_range},
        {"policies out of range", policy_out_of_range},
        {"decoder options out of range", decoder_options_out_of_range},
        {"prompts", prompts},
        {"full-sequence logits", full_logits},
        {"positions and tokens out of range", positions_and_tokens},
        {"the output's buffer", output_buffer},
        {"text without a tokenizer", no_tokenizer},
        {"the text functions' buffers", text_buffers},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
