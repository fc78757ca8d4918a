#include "decoders.h"

const int32_t prompt[5] = {1, 17, 42, 99, 64};

const char *checkpoint(void) {
    static _Thread_local char path[4096];
    snprintf(path, sizeof path, "%s/gqa_group", fixtures);
    return path;
}

static const int32_t end_of_sequence = EOS;

llada_model_options usual_options(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options;
    CHECK_OK(llada_model_options_init(&options, sizeof options, &error));
    options.mask_token_id = MASK;
    options.eos_token_ids = &end_of_sequence;
    options.eos_token_id_count = 1;
    return options;
}

llada_model *open_model(int32_t threads) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    options.threads = threads;
    options.eos_token_id_count = 0; /* none: every run is as long as it may be */
    llada_model *model = NULL;
    CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
    NEED(model);
    return model;
}

llada_decoder *make_decoder(const llada_model *model, llada_preset preset, int32_t gen_length) {
    llada_error error = LLADA_ERROR_INIT;
    llada_policy policy;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    CHECK_OK(llada_policy_init(&policy, sizeof policy, preset, &error));
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    options.block_length = BLOCK;
    options.gen_length = gen_length;
    options.eos_early_stop = false;
    options.policy = &policy;
    CHECK_OK(llada_decoder_create(model, prompt, PROMPT, &options, &decoder, &error));
    NEED(decoder);
    return decoder;
}

size_t run_out(llada_decoder *decoder, int32_t *tokens, size_t capacity) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
    CHECK_OK(llada_decoder_output(decoder, tokens, capacity, &count, &error));
    NEED(count <= capacity);
    return count;
}

llada_decoder_state state_of(const llada_decoder *decoder) {
    llada_error error = LLADA_ERROR_INIT;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    CHECK_OK(llada_decoder_get_state(decoder, &state, &error));
    return state;
}

bool has_finished(const llada_decoder *decoder) { return state_of(decoder).phase == LLADA_PHASE_FINISHED; }

llada_active active_of(const llada_decoder *decoder) {
    llada_error error = LLADA_ERROR_INIT;
    llada_active active = LLADA_ACTIVE_INIT;
    CHECK_OK(llada_decoder_active(decoder, &active, &error));
    return active;
}

/* What every detour below must come to. */
size_t straight(const llada_model *model, llada_preset preset, int32_t *tokens) {
    llada_decoder *decoder = make_decoder(model, preset, GEN);
    size_t count = run_out(decoder, tokens, GEN);
    llada_decoder_free(decoder);
    return count;
}

void same_as_straight(llada_decoder *decoder, const llada_model *model, llada_preset preset) {
    llada_error error = LLADA_ERROR_INIT;
    int32_t is[GEN], should[GEN];
    size_t count = 0;
    CHECK_OK(llada_decoder_output(decoder, is, GEN, &count, &error));
    CHECK_EQUAL(count, straight(model, preset, should));
    CHECK(!memcmp(is, should, count * sizeof *is));
}

/* ---- Several ---------------------------------------------------------------------------------------------------- */

llada_prefix_cache_info info_of(const llada_prefix_cache *cache) {
    llada_error error = LLADA_ERROR_INIT;
    llada_prefix_cache_info info = LLADA_PREFIX_CACHE_INFO_INIT;
    CHECK_OK(llada_prefix_cache_get_info(cache, &info, &error));
    return info;
}

llada_prefix_cache *make_cache(const llada_model *model, uint64_t bytes) {
    llada_prefix_cache *cache = NULL;
    CHECK_STATUS(llada_prefix_cache_create(model, bytes, &cache, NULL), LLADA_OK);
    NEED(cache);
    return cache;
}

/* The n-th of several: prompts of one beginning, and of several lengths. */
llada_decoder *make_nth(const llada_model *model, llada_prefix_cache *cache, int n) {
    llada_error error = LLADA_ERROR_INIT;
    int32_t tokens[MANY_PROMPT + MANY];
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    for (int i = 0; i < MANY_PROMPT + n; i++) tokens[i] = i < MANY_PROMPT ? i * 5 % 90 : n + i;
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    options.block_length = BLOCK;
    options.gen_length = MANY_GEN - n;
    options.prefix_cache = cache;
    CHECK_STATUS(llada_decoder_create(model, tokens, (size_t)(MANY_PROMPT + n), &options, &decoder, NULL), LLADA_OK);
    NEED(decoder);
    return decoder;
}

void make_all(const llada_model *model, llada_prefix_cache *cache, llada_decoder **all) {
    for (int n = 0; n < MANY; n++) all[n] = make_nth(model, cache, n);
}

void free_all(llada_decoder **all) {
    for (int n = 0; n < MANY; n++) llada_decoder_free(all[n]);
}

/* Each has ended, as it does alone. */
void check_all(const llada_model *model, llada_decoder **all) {
    for (int n = 0; n < MANY; n++) {
        int32_t tokens[2][MANY_GEN];
        llada_decoder *alone = make_nth(model, NULL, n);
        size_t count = run_out(alone, tokens[0], MANY_GEN), other = 0;
        CHECK(has_finished(all[n]));
        CHECK_STATUS(llada_decoder_output(all[n], tokens[1], MANY_GEN, &other, NULL), LLADA_OK);
        CHECK(count == other && !memcmp(tokens[0], tokens[1], count * sizeof **tokens));
        CHECK_EQUAL(state_of(all[n]).forwards, state_of(alone).forwards);
        llada_decoder_free(alone);
    }
}
