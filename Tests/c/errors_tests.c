/* Errors: their names and sizes, and that every call that can fail fills one and changes nothing. */
#include "decoders.h"

static void status_names(void) {
    static const char *const names[] = {"LLADA_OK",
                                        "LLADA_ERROR_INVALID_ARGUMENT",
                                        "LLADA_ERROR_OUT_OF_MEMORY",
                                        "LLADA_ERROR_IO",
                                        "LLADA_ERROR_JSON",
                                        "LLADA_ERROR_CONFIG",
                                        "LLADA_ERROR_SAFETENSORS",
                                        "LLADA_ERROR_SHARD_INDEX",
                                        "LLADA_ERROR_TENSOR",
                                        "LLADA_ERROR_TOKENIZER",
                                        "LLADA_ERROR_UNSUPPORTED",
                                        "LLADA_ERROR_STATE",
                                        "LLADA_ERROR_BUSY",
                                        "LLADA_ERROR_CANCELLED",
                                        "LLADA_ERROR_STOPPED",
                                        "LLADA_ERROR_BUFFER_TOO_SMALL",
                                        "LLADA_ERROR_SPECIAL_TOKEN",
                                        "LLADA_ERROR_SNAPSHOT",
                                        "LLADA_ERROR_NUMERIC"};
    for (int i = 0; i <= 18; i++) {
        if (strcmp(llada_status_name(-i), names[i])) failed(__FILE__, __LINE__, "%d is %s", -i, llada_status_name(-i));
        CHECK(llada_status_name(-i) == llada_status_name(-i));
    }
    CHECK(!strcmp(llada_status_name(-19), "LLADA_ERROR_GGUF"));
    CHECK(!strcmp(llada_status_name(-20), "LLADA_ERROR_CLUSTER"));
    static const int32_t strange[] = {1, -21, 4711, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
        CHECK(!strcmp(llada_status_name(strange[i]), "unknown status"));
}

/* An error of another size gets what fits, NUL-terminated; one of no size, or no error at all, gets nothing. */
static void ages_of_error(void) {
    struct {
        llada_error e;
        unsigned char tail[64];
    } s;
    llada_model *model = NULL;
    for (uint32_t size = 0; size <= sizeof s; size = size < 32 ? size + 1 : size * 2) {
        memset(&s, 0xA5, sizeof s);
        s.e.struct_size = size;
        if (size > sizeof s.e) memset(s.tail, 0, sizeof s.tail);
        CHECK_STATUS(llada_model_open("no/such/folder", NULL, &model, &s.e), LLADA_ERROR_IO);
        CHECK_EQUAL(s.e.struct_size, size);
        for (size_t i = size < 4 ? 4 : size; i < sizeof s.e; i++) CHECK(((unsigned char *)&s)[i] == 0xA5);
        if (size >= 8) CHECK_EQUAL(s.e.status, LLADA_ERROR_IO);
        if (size >= 9) CHECK(memchr(s.e.message, 0, size - 8 > 1016 ? 1016 : size - 8));
        if (size >= 512) CHECK(strstr(s.e.message, "no/such/folder"));
    }
    CHECK_STATUS(llada_model_open("no/such/folder", NULL, &model, NULL), LLADA_ERROR_IO);
    /* A path longer than the message: cut between characters. */
    char path[4000];
    for (size_t shift = 0; shift < 3; shift++) {
        llada_error error = LLADA_ERROR_INIT;
        memset(path, 'x', shift);
        for (size_t i = shift; i < sizeof path; i++) path[i] = "\xE2\x96\x92"[(i - shift) % 3];
        path[3000 + shift] = 0;
        CHECK_REFUSED(llada_model_open(path, NULL, &model, &error), LLADA_ERROR_IO);
        size_t length = strlen(error.message), lead = length;
        CHECK(length < sizeof error.message);
        while (lead > 0 && ((unsigned char)error.message[lead - 1] & 0xC0) == 0x80) lead--;
        if (lead > 0 && (unsigned char)error.message[lead - 1] == 0xE2) CHECK_EQUAL(length - lead, 2);
    }
    CHECK(!model);
}

/* Given nothing but NULL, every call that can fail says so, with an error and without one. (symbols.sh sees that none
 * is missing here.) */
#define REFUSES(function, ...)                                                      \
    do {                                                                            \
        CHECK_REFUSED(function(__VA_ARGS__, &error), LLADA_ERROR_INVALID_ARGUMENT); \
        CHECK_STATUS(function(__VA_ARGS__, NULL), LLADA_ERROR_INVALID_ARGUMENT);    \
    } while (0)

static void null_everywhere(void) {
    llada_error error = LLADA_ERROR_INIT;
    /* Model, text */
    REFUSES(llada_model_options_init, NULL, sizeof(llada_model_options));
    REFUSES(llada_model_open, NULL, NULL, NULL);
    REFUSES(llada_model_save, NULL, NULL, NULL, NULL);
    REFUSES(llada_model_get_info, NULL, NULL);
    REFUSES(llada_cluster_options_init, NULL, sizeof(llada_cluster_options));
    REFUSES(llada_cluster_create, NULL, NULL);
    REFUSES(llada_cluster_serve, NULL, NULL, NULL);
    REFUSES(llada_cluster_get_info, NULL, NULL);
    REFUSES(llada_model_eos_token_ids, NULL, NULL, 0, NULL);
    REFUSES(llada_model_notes, NULL, NULL, 0, NULL);
    REFUSES(llada_model_describe, NULL, NULL, 0, NULL);
    REFUSES(llada_model_logits, NULL, NULL, 0, 0, NULL, NULL, NULL, 0, NULL);
    REFUSES(llada_tokenize, NULL, NULL, 0, 0, NULL, 0, NULL);
    REFUSES(llada_detokenize, NULL, NULL, 0, 0, NULL, 0, NULL);
    REFUSES(llada_tokenize_parts, NULL, NULL, 0, NULL, 0, NULL);
    REFUSES(llada_chat_tokenize, NULL, NULL, 0, NULL, NULL, 0, NULL);
    REFUSES(llada_chat_tokenize_json, NULL, NULL, 0, NULL, NULL, 0, NULL);
    REFUSES(llada_chat_template, NULL, NULL, NULL, 0, NULL);
    REFUSES(llada_chat_variables, NULL, NULL, 0, NULL);
    /* Decoder, stepping */
    REFUSES(llada_decoder_options_init, NULL, sizeof(llada_decoder_options));
    REFUSES(llada_decoder_create, NULL, NULL, 0, NULL, NULL);
    REFUSES(llada_decoder_forward, NULL);
    REFUSES(llada_decoder_propose, NULL);
    REFUSES(llada_decoder_apply, NULL);
    REFUSES(llada_decoder_step, NULL);
    REFUSES(llada_decoder_run_block, NULL, NULL, NULL);
    REFUSES(llada_decoder_run, NULL, NULL, NULL);
    /* Looking */
    REFUSES(llada_decoder_get_state, NULL, NULL);
    REFUSES(llada_decoder_canvas, NULL, NULL, NULL, NULL);
    REFUSES(llada_decoder_locked, NULL, NULL, NULL);
    REFUSES(llada_decoder_output, NULL, NULL, 0, NULL);
    REFUSES(llada_decoder_active, NULL, NULL);
    REFUSES(llada_decoder_candidates, NULL, 0, NULL, 0, NULL);
    REFUSES(llada_decoder_keep_candidates, NULL, 0);
    REFUSES(llada_decoder_logits, NULL, 0, NULL, NULL);
    REFUSES(llada_decoder_proposal, NULL, NULL, NULL);
    REFUSES(llada_decoder_events, NULL, NULL, NULL);
    REFUSES(llada_decoder_step_map, NULL, NULL, NULL);
    /* Interfering, policy, branching */
    REFUSES(llada_decoder_set_proposal, NULL, NULL, 0);
    REFUSES(llada_decoder_set_token, NULL, 0, 0);
    REFUSES(llada_decoder_mask, NULL, 0);
    REFUSES(llada_decoder_lock, NULL, 0, true);
    REFUSES(llada_decoder_ban, NULL, 0, 0, true);
    REFUSES(llada_decoder_set_logit_bias, NULL, 0, 0, 1.0f);
    REFUSES(llada_decoder_end_block, NULL, LLADA_BLOCK_END_NOW);
    REFUSES(llada_decoder_set_rule, NULL, NULL, NULL);
    REFUSES(llada_decoder_set_progress, NULL, NULL, NULL);
    REFUSES(llada_policy_init, NULL, sizeof(llada_policy), LLADA_PRESET_SPEEDY);
    REFUSES(llada_decoder_get_policy, NULL, NULL);
    REFUSES(llada_decoder_fork, NULL, NULL, NULL);
    REFUSES(llada_decoder_truncate, NULL, 0);
    /* Many decoders, prefix cache */
    REFUSES(llada_decoders_forward, NULL, 1);
    REFUSES(llada_decoders_step, NULL, 1);
    REFUSES(llada_decoders_run, NULL, 1, 0, NULL, NULL);
    REFUSES(llada_prefix_cache_create, NULL, 1, NULL);
    REFUSES(llada_prefix_cache_get_info, NULL, NULL);
    REFUSES(llada_prefix_cache_pin, NULL, NULL, 0, 0, true, NULL);
    REFUSES(llada_prefix_cache_clear, NULL);
    /* Text stream */
    REFUSES(llada_text_stream_create, NULL, 0, NULL, NULL);
    REFUSES(llada_text_stream_update, NULL, NULL, NULL);
    REFUSES(llada_text_stream_push, NULL, NULL, 0, NULL);
    REFUSES(llada_text_stream_finish, NULL, NULL);
    /* Snapshots, inside, scoring */
    REFUSES(llada_decoder_save, NULL, true, NULL, NULL, NULL, 0, NULL);
    REFUSES(llada_decoder_save_file, NULL, true, NULL, NULL, NULL);
    REFUSES(llada_decoder_restore, NULL, NULL, NULL, 0, NULL, NULL, NULL);
    REFUSES(llada_decoder_restore_file, NULL, NULL, NULL, NULL, NULL, NULL);
    REFUSES(llada_prefix_cache_save, NULL, NULL, NULL, NULL);
    REFUSES(llada_prefix_cache_load, NULL, NULL, NULL, NULL, NULL);
    REFUSES(llada_decoder_watch, NULL, 0);
    REFUSES(llada_decoder_routing, NULL, 0, NULL, NULL, 0, NULL);
    REFUSES(llada_decoder_hidden, NULL, 0, NULL, 0, NULL);
    REFUSES(llada_decoder_expert_usage, NULL, NULL, 0, NULL);
    REFUSES(llada_decoder_disable_expert, NULL, 0, 0, true);
    REFUSES(llada_score_options_init, NULL, sizeof(llada_score_options));
    REFUSES(llada_model_score, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, 0, NULL);
    /* These cannot fail. */
    llada_model_free(NULL);
    llada_decoder_free(NULL);
    llada_decoder_cancel(NULL);
    llada_prefix_cache_free(NULL);
    llada_text_stream_free(NULL);
}

/* The handle alone decides, whatever the other arguments. */
static void null_handles(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    llada_active active = LLADA_ACTIVE_INIT;
    llada_policy policy = {sizeof policy};
    const int32_t *tokens = NULL;
    const llada_position_state *states = NULL;
    const bool *locked = NULL;
    const float *floats = NULL;
    const llada_edit *edits = NULL;
    const llada_event *events = NULL;
    float logits[VOCAB];
    int32_t buffer[8];
    char text[8];
    size_t count = 0;
    llada_candidate candidate;
    llada_chat_message message = {"user", "hello"};
    llada_edit edit = {0, 0, 0, 0};
    llada_decoder *decoder = NULL;
    REFUSES(llada_model_get_info, NULL, &info);
    REFUSES(llada_model_eos_token_ids, NULL, buffer, 8, &count);
    REFUSES(llada_model_notes, NULL, text, 8, &count);
    REFUSES(llada_model_logits, NULL, prompt, 1, 4, NULL, NULL, logits, VOCAB, &count);
    REFUSES(llada_tokenize, NULL, "a", 1, 0, buffer, 8, &count);
    REFUSES(llada_detokenize, NULL, prompt, 1, 0, text, 8, &count);
    llada_text_part part = {"hello", 5, true};
    REFUSES(llada_tokenize_parts, NULL, &part, 1, buffer, 8, &count);
    REFUSES(llada_chat_tokenize, NULL, &message, 1, NULL, buffer, 8, &count);
    REFUSES(llada_chat_tokenize_json, NULL, "[]", 2, NULL, buffer, 8, &count);
    REFUSES(llada_decoder_create, NULL, prompt, 1, NULL, &decoder);
    REFUSES(llada_decoder_get_state, NULL, &state);
    REFUSES(llada_decoder_canvas, NULL, &tokens, &states, &count);
    REFUSES(llada_decoder_locked, NULL, &locked, &count);
    REFUSES(llada_decoder_output, NULL, buffer, 4, &count);
    REFUSES(llada_decoder_active, NULL, &active);
    REFUSES(llada_decoder_candidates, NULL, 0, &candidate, 1, &count);
    REFUSES(llada_decoder_keep_candidates, NULL, 3);
    REFUSES(llada_decoder_logits, NULL, 0, &floats, &count);
    REFUSES(llada_decoder_proposal, NULL, &edits, &count);
    REFUSES(llada_decoder_events, NULL, &events, &count);
    REFUSES(llada_decoder_step_map, NULL, &tokens, &count);
    REFUSES(llada_decoder_set_proposal, NULL, &edit, 1);
    REFUSES(llada_decoder_get_policy, NULL, &policy);
    REFUSES(llada_decoder_fork, NULL, NULL, &decoder);
    CHECK(!decoder && !tokens && !states && !locked && !floats && !edits && !events && count == 0);
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
        {"status names", status_names},
        {"struct_size of llada_error", ages_of_error},
        {"NULL everywhere", null_everywhere},
        {"NULL handles", null_handles},
        {"out pointers untouched on failure", out_untouched},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
