/* Making a decoder: options, prompts, what is copied and what is kept alive; and one answer known by heart. */
#include "decoders.h"

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
        llada_status status = llada_decoder_create(model, prompt, PROMPT, &options, &decoder, NULL);
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

static void ages_of_decoder_options(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    static const age ages[AGE_COUNT] = AGES(llada_decoder_options, block_length);
    for (size_t i = 0; i < AGE_COUNT; i++) {
        struct {
            llada_decoder_options o;
            unsigned char tail[16];
        } s;
        memset(&s, ages[i].tail, sizeof s);
        CHECK_OK(llada_decoder_options_init(&s.o, sizeof s.o, &error));
        if (ages[i].size) s.o.struct_size = ages[i].size;
        llada_decoder *decoder = NULL;
        CHECK_REFUSED(llada_decoder_create(model, prompt, PROMPT, &s.o, &decoder, &error),
                      ages[i].welcome ? LLADA_OK : LLADA_ERROR_INVALID_ARGUMENT);
        CHECK((decoder != NULL) == ages[i].welcome);
        llada_decoder_free(decoder);
    }
    llada_decoder_options o;
    memset(&o, 0x5A, sizeof o); /* the policy pointer is garbage, and must not be followed */
    o.struct_size = offsetof(llada_decoder_options, gen_length);
    o.block_length = 8;
    llada_decoder *decoder = NULL;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    CHECK_OK(llada_decoder_create(model, prompt, PROMPT, &o, &decoder, &error));
    NEED(decoder);
    CHECK_OK(llada_decoder_get_state(decoder, &state, &error));
    CHECK_EQUAL(state.block_length, 8);
    CHECK_EQUAL(state.canvas_length, (PROMPT + 256 + 7) / 8 * 8);
    llada_decoder_free(decoder);
    llada_model_free(model);
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

int main(void) {
    static const test tests[] = {
        {"decoder options out of range", decoder_options_out_of_range},
        {"prompts", prompts},
        {"struct_size of llada_decoder_options", ages_of_decoder_options},
        {"arguments are copied", policy_is_copied},
        {"a decoder outlives its model", outlives_the_model},
        {"a known answer", known_answer},
        {"packed formats", packed_formats},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
