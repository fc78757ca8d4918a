/* What has to hold after any call, and what is done with a model that has opened. */
#include "fuzz.h"

bool is_utf8(const char *text, size_t count) {
    const uint8_t *at = (const uint8_t *)text, *end = at + count;
    while (at < end) {
        int more = *at < 0x80                  ? 0
                   : *at >= 0xC2 && *at < 0xE0 ? 1
                   : (*at & 0xF0) == 0xE0      ? 2
                   : *at >= 0xF0 && *at < 0xF5 ? 3
                                               : -1;
        if (more < 0 || end - at <= more) return false;
        uint32_t scalar = more ? *at & (0x3Fu >> more) : *at;
        for (int i = 1; i <= more; i++) {
            if ((at[i] & 0xC0) != 0x80) return false;
            scalar = scalar << 6 | (at[i] & 0x3F);
        }
        if ((more == 2 && scalar < 0x800) || (more == 3 && (scalar < 0x10000 || scalar > 0x10FFFF)) ||
            (scalar >= 0xD800 && scalar < 0xE000))
            return false;
        at += more + 1;
    }
    return true;
}

bool check_status(llada_status status, llada_error *error) {
    EXPECT(error->status == status);
    if (status == LLADA_OK) return true;
    size_t length = strnlen(error->message, sizeof error->message);
    if (length == 0 || length == sizeof error->message || !is_utf8(error->message, length))
        wrong(__FILE__, __LINE__, "the message of %s: %.*s", llada_status_name(status), (int)length, error->message);
    EXPECT(strcmp(llada_status_name(status), "unknown status"));
    memset(error, 0, sizeof *error);
    error->struct_size = sizeof *error;
    return false;
}

void check_decoder(const llada_model *model, const llada_decoder *decoder) {
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    EXPECT(llada_model_get_info(model, &info, NULL) == LLADA_OK);
    EXPECT(llada_decoder_get_state(decoder, &state, NULL) == LLADA_OK);
    EXPECT(state.phase >= LLADA_PHASE_READY && state.phase <= LLADA_PHASE_FINISHED);
    EXPECT((state.phase == LLADA_PHASE_FINISHED) == (state.finish_reason != LLADA_FINISH_NONE));
    EXPECT(state.block_length > 0 && state.canvas_length >= 0 && state.canvas_length % state.block_length == 0);
    EXPECT(state.canvas_length <= info.max_position_embeddings);
    EXPECT(state.prompt_length >= 0 && state.gen_length >= 0 && state.block_step >= 0);
    EXPECT((int64_t)state.prompt_length + state.gen_length <= state.canvas_length);
    EXPECT(state.settled_length >= 0 && state.settled_length <= state.canvas_length);
    EXPECT(state.active_first >= 0 && state.active_count >= 0);
    EXPECT((int64_t)state.active_first + state.active_count <= state.canvas_length);

    size_t length = (size_t)state.canvas_length, count = 0;
    const int32_t *tokens = NULL, *steps = NULL;
    const llada_position_state *states = NULL;
    const bool *locked = NULL;
    EXPECT(llada_decoder_canvas(decoder, &tokens, &states, &count, NULL) == LLADA_OK && count == length);
    EXPECT(llada_decoder_locked(decoder, &locked, &count, NULL) == LLADA_OK && count == length);
    EXPECT(llada_decoder_step_map(decoder, &steps, &count, NULL) == LLADA_OK && count == length);
    EXPECT((tokens && states && locked && steps) || !length);
    for (size_t i = 0; i < length; i++) {
        EXPECT(tokens[i] >= 0 && tokens[i] < info.vocab_size && states[i] <= LLADA_POSITION_SETTLED && steps[i] >= 0);
        if (states[i] == LLADA_POSITION_MASKED) EXPECT(tokens[i] == info.mask_token_id);
        if ((int64_t)i < state.settled_length && (int64_t)i >= state.prompt_length && !locked[i])
            EXPECT(states[i] != LLADA_POSITION_PROMPT);
    }

    int32_t output[4096];
    llada_status status = llada_decoder_output(decoder, output, 4096, &count, NULL);
    EXPECT(status == LLADA_OK || (status == LLADA_ERROR_BUFFER_TOO_SMALL && count > 4096));
    EXPECT(count <= length);
    if (status == LLADA_OK)
        for (size_t i = 0; i < count; i++) EXPECT(output[i] >= 0 && output[i] < info.vocab_size);

    llada_active active = LLADA_ACTIVE_INIT;
    status = llada_decoder_active(decoder, &active, NULL);
    EXPECT(status == LLADA_OK || status == LLADA_ERROR_STATE);
    if (status == LLADA_OK) {
        EXPECT(active.first >= 0 && active.count >= 0 && (int64_t)active.first + active.count <= state.canvas_length);
        for (int32_t i = 0; i < active.count; i++)
            EXPECT(active.predictions[i] >= 0 && active.predictions[i] < info.vocab_size);
    }
    const llada_edit *edits = NULL;
    status = llada_decoder_proposal(decoder, &edits, &count, NULL);
    EXPECT((status == LLADA_OK) == (state.phase == LLADA_PHASE_PROPOSED));
    if (status == LLADA_OK)
        for (size_t i = 0; i < count; i++) {
            EXPECT(edits[i].position >= state.active_first);
            EXPECT(edits[i].position < state.active_first + state.active_count);
            EXPECT(i == 0 || edits[i].position > edits[i - 1].position);
            EXPECT(edits[i].token >= 0 && edits[i].token < info.vocab_size);
        }
    const llada_event *events = NULL;
    EXPECT(llada_decoder_events(decoder, &events, &count, NULL) == LLADA_OK && (events || !count));
    for (size_t i = 0; i < count; i++) {
        EXPECT(events[i].position >= 0 && events[i].position < state.canvas_length);
        EXPECT(events[i].old_token >= 0 && events[i].old_token < info.vocab_size);
        EXPECT(events[i].new_token >= 0 && events[i].new_token < info.vocab_size);
    }
}

static int count_down(const llada_decoder *decoder, void *steps) {
    (void)decoder;
    return --*(int *)steps <= 0;
}

llada_status run_bounded(llada_decoder *decoder, int steps, llada_error *error) {
    return llada_decoder_run(decoder, count_down, &steps, error);
}

static void decode(const llada_model *model, const llada_model_info *info) {
    llada_error error = LLADA_ERROR_INIT;
    llada_decoder *decoder = NULL;
    llada_decoder_options options;
    EXPECT(llada_decoder_options_init(&options, sizeof options, NULL) == LLADA_OK);
    options.block_length = 4;
    options.gen_length = 6;
    int32_t prompt[] = {1, 0, info->vocab_size > 2 ? 2 : 0};
    llada_status status = llada_decoder_create(model, prompt, 3, &options, &decoder, &error);
    if (status == LLADA_ERROR_INVALID_ARGUMENT) {
        /* Blocks of block routing are longer. */
        check_status(status, &error);
        options.block_length = 32;
        status = llada_decoder_create(model, prompt, 3, &options, &decoder, &error);
    }
    if (!check_status(status, &error)) return;
    status = run_bounded(decoder, 100, &error);
    if (!check_status(status, &error)) EXPECT(status == LLADA_ERROR_NUMERIC);
    check_decoder(model, decoder);
    llada_decoder_free(decoder);
}

void exercise(llada_model *model) {
    static char text[1 << 12];
    static float logits[1 << 14];
    llada_error error = LLADA_ERROR_INIT;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    size_t count = 0;
    EXPECT(check_status(llada_model_get_info(model, &info, &error), &error));
    EXPECT(info.vocab_size > 0 && info.mask_token_id >= -1 && info.mask_token_id < info.vocab_size);
    EXPECT(info.eos_token_id >= -1 && info.eos_token_id < info.vocab_size);
    llada_status status = llada_model_notes(model, text, sizeof text, &count, &error);
    EXPECT(check_status(status, &error) ? is_utf8(text, count) : status == LLADA_ERROR_BUFFER_TOO_SMALL);
    int32_t ids[3] = {0, 1 % info.vocab_size, info.vocab_size - 1};
    status = llada_model_logits(model, ids, 3, 2, NULL, NULL, logits, sizeof logits / sizeof *logits, &count, &error);
    if (status == LLADA_OK)
        EXPECT(count == 3 * (size_t)info.vocab_size);
    else
        check_status(status, &error);
    decode(model, &info);
    llada_model_free(model);
}

void exercise_text(const llada_model *model, span text) {
    static int32_t tokens[1 << 16];
    static char back[1 << 18];
    llada_error error = LLADA_ERROR_INIT;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    EXPECT(llada_model_get_info(model, &info, NULL) == LLADA_OK);
    for (llada_text_flags flags = 0; flags < 2; flags++) {
        size_t count = 0, length = 0;
        llada_status status = llada_tokenize(model, (const char *)text.bytes, text.count, flags, tokens,
                                             sizeof tokens / sizeof *tokens, &count, &error);
        if (!check_status(status, &error)) continue;
        for (size_t i = 0; i < count; i++) EXPECT(tokens[i] >= 0 && tokens[i] < info.vocab_size);
        status =
            llada_detokenize(model, tokens, count, flags * LLADA_TEXT_SKIP_CONTROL, back, sizeof back, &length, &error);
        if (check_status(status, &error)) EXPECT(is_utf8(back, length));
    }
}
