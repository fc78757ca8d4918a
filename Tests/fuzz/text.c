/* Tokenizers, chat templates and conversations, text streams. */
#include "fuzz.h"

/* Options; the length of a text, the text; tokenizer.json. */
void fuzz_tokenizer(const uint8_t *bytes, size_t count) {
    static bool ready;
    if (!ready) write_base(true);
    ready = true;
    span input = {bytes, count};
    take_u8(&input);
    span text = take(&input, take_u16(&input));
    write_own("tokenizer.json", &input, 1);
    llada_model *model = open_own("", 0);
    if (!model) return;
    exercise_text(model, text);
    llada_model_free(model);
}

/* Text that the library takes with a NUL behind it. */
static char *terminated(span text) {
    char *copy = malloc(text.count + 1);
    EXPECT(copy);
    memcpy(copy, text.bytes, text.count);
    copy[text.count] = 0;
    return copy;
}

static void tokenize_chat(const llada_model *model, uint8_t bits, span tools, span messages) {
    static int32_t tokens[1 << 16];
    llada_error error = LLADA_ERROR_INIT;
    llada_chat_options options = LLADA_CHAT_OPTIONS_INIT;
    size_t count = 0;
    char *text = terminated(tools), *content = terminated(messages);
    options.add_generation_prompt = !(bits & 1);
    options.thinking = bits & 2;
    options.layout = bits & 4 ? LLADA_CHAT_LAYOUT_KNOWN : LLADA_CHAT_LAYOUT_LLADA2;
    options.tools = tools.count ? text : NULL;
    llada_status status = llada_chat_tokenize_json(model, (const char *)messages.bytes, messages.count, &options,
                                                   tokens, sizeof tokens / sizeof *tokens, &count, &error);
    if (check_status(status, &error))
        for (size_t i = 0; i < count; i++) EXPECT(tokens[i] >= 0);
    llada_chat_message plain[] = {{"system", content}, {"user", text}, {content, text}, {"tool", content}};
    status =
        llada_chat_tokenize(model, plain, bits >> 6, &options, tokens, sizeof tokens / sizeof *tokens, &count, &error);
    check_status(status, &error);
    llada_text_part parts[] = {{content, messages.count, bits & 8}, {text, tools.count, bits & 16}};
    status = llada_tokenize_parts(model, parts, 2, tokens, sizeof tokens / sizeof *tokens, &count, &error);
    if (check_status(status, &error)) {
        static char back[1 << 18];
        size_t length = 0;
        if (check_status(llada_detokenize(model, tokens, count, 0, back, sizeof back, &length, &error), &error))
            EXPECT(is_utf8(back, length));
    }
    free(text);
    free(content);
}

static void check_templates(const llada_model *model) {
    static char text[1 << 16];
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    static const char *const names[] = {NULL, "tool_use", "default"};
    for (int i = 0; i < 3; i++)
        if (check_status(llada_chat_template(model, names[i], text, sizeof text, &count, &error), &error))
            EXPECT(is_utf8(text, count));
    if (check_status(llada_chat_variables(model, text, sizeof text, &count, &error), &error))
        EXPECT(is_utf8(text, count) && text[0] == '{');
}

/* Options; the tools, a NUL; the messages. */
void fuzz_chat(const uint8_t *bytes, size_t count) {
    span input = {bytes, count};
    uint8_t bits = take_u8(&input);
    span tools = take_text(&input), messages = take_text(&input);
    tokenize_chat(base_model(true), bits, tools, messages);
}

/* Options; chat_template.jinja or (bit 5) tokenizer_config.json of a model. */
void fuzz_chat_template(const uint8_t *bytes, size_t count) {
    static const char *const names[] = {"chat_template.jinja", "tokenizer_config.json"};
    static const char tools[] = "[{\"name\": \"f\"}]", messages[] = "[{\"role\": \"user\", \"content\": \"a b\"}]";
    static bool ready;
    if (!ready) write_base(true);
    ready = true;
    span input = {bytes, count};
    uint8_t bits = take_u8(&input);
    int which = bits >> 5 & 1;
    remove_own(names[!which]);
    write_own(names[which], &input, 1);
    llada_model *model = open_own("", 0);
    if (!model) return;
    check_templates(model);
    tokenize_chat(model, bits, (span){(const uint8_t *)tools, bits & 8 ? sizeof tools - 1 : 0},
                  (span){(const uint8_t *)messages, sizeof messages - 1});
    llada_model_free(model);
}

/* ---- Text streams ----------------------------------------------------------------------------------------------- */

/* What a stream has said: all that is settled. */
typedef struct {
    char text[1 << 16];
    size_t count;
} transcript;

static void note(transcript *said, const llada_text *text) {
    EXPECT(is_utf8(text->settled, text->settled_count) && text->settled[text->settled_count] == 0);
    EXPECT(is_utf8(text->draft, text->draft_count) && text->draft[text->draft_count] == 0);
    size_t count = text->settled_count < sizeof said->text - said->count ? text->settled_count : 0;
    memcpy(said->text + said->count, text->settled, count);
    said->count += count;
}

/* Whether all that was settled is what the tokens are at once. */
static void compare(const llada_model *model, const transcript *said, const int32_t *tokens, size_t count,
                    llada_text_flags flags) {
    static char text[1 << 16];
    size_t length = 0;
    EXPECT(llada_detokenize(model, tokens, count, flags, text, sizeof text, &length, NULL) == LLADA_OK);
    EXPECT(length == said->count && !memcmp(text, said->text, length));
}

static void push(const llada_model *model, llada_text_stream *stream, llada_text_flags flags, span *input) {
    static transcript said;
    int32_t tokens[512];
    size_t done = 0;
    llada_error error = LLADA_ERROR_INIT;
    llada_text text = LLADA_TEXT_INIT;
    said.count = 0;
    while (input->count && done < 480) {
        uint8_t size = take_u8(input);
        size_t before = done, count = size & 15;
        for (size_t i = 0; i < count; i++) tokens[done++] = (int32_t)take_u16(input) % 300;
        bool valid = check_status(llada_text_stream_push(stream, tokens + before, count, &text, &error), &error);
        if (valid)
            note(&said, &text);
        else
            done = before;
        if (size & 0x80) break;
    }
    EXPECT(check_status(llada_text_stream_finish(stream, &text, &error), &error));
    note(&said, &text);
    compare(model, &said, tokens, done, flags);
}

static void follow(const llada_model *model, llada_text_stream *stream, llada_text_flags flags, span *input) {
    static transcript said;
    llada_error error = LLADA_ERROR_INIT;
    llada_text text = LLADA_TEXT_INIT;
    llada_decoder *decoder = NULL;
    llada_decoder_options options;
    llada_policy policy;
    EXPECT(llada_decoder_options_init(&options, sizeof options, NULL) == LLADA_OK);
    EXPECT(llada_policy_init(&policy, sizeof policy, (int32_t)take_below(input, 4), NULL) == LLADA_OK);
    policy.temperature = (float)take_below(input, 3) * 0.75f;
    policy.seed = take_u8(input);
    options.block_length = 1 << take_below(input, 4);
    options.gen_length = 1 + (int32_t)take_below(input, 24);
    options.policy = &policy;
    int32_t prompt[] = {65, (int32_t)take_u8(input)};
    if (!check_status(llada_decoder_create(model, prompt, 2, &options, &decoder, &error), &error)) return;
    bool interfered = false, finished = false;
    said.count = 0;
    for (int steps = 0; steps < 100; steps++) {
        llada_decoder_state state = LLADA_DECODER_STATE_INIT;
        EXPECT(llada_decoder_get_state(decoder, &state, NULL) == LLADA_OK);
        uint8_t what = take_u8(input);
        if (what & 0x80) {
            int32_t position = (int32_t)take_below(input, 64), token = (int32_t)take_u16(input) % 300;
            check_status(llada_decoder_set_token(decoder, position, token, &error), &error);
            interfered = true;
        } else if (what == 0x7F) {
            check_status(llada_decoder_truncate(decoder, (int32_t)take_below(input, 64), &error), &error);
            interfered = true;
        } else if (state.phase == LLADA_PHASE_FINISHED) {
            finished = true;
            break;
        } else
            EXPECT(check_status(llada_decoder_step(decoder, &error), &error));
        llada_status status = llada_text_stream_update(stream, decoder, &text, &error);
        if (check_status(status, &error))
            note(&said, &text);
        else
            EXPECT(status == LLADA_ERROR_STATE && interfered);
    }
    /* Before the end, the first bytes of a character may be held back. */
    if (finished && !interfered) {
        int32_t output[256];
        size_t count = 0;
        EXPECT(llada_decoder_output(decoder, output, 256, &count, NULL) == LLADA_OK);
        compare(model, &said, output, count, flags);
    }
    llada_decoder_free(decoder);
}

/* Bit 0: control tokens are left out; bit 1: a mask is shown; bit 2: a decoder is followed, else tokens are pushed. */
void fuzz_text_stream(const uint8_t *bytes, size_t count) {
    span input = {bytes, count};
    llada_model *model = base_model(true);
    llada_error error = LLADA_ERROR_INIT;
    llada_text_stream *stream = NULL;
    uint8_t bits = take_u8(&input);
    llada_text_flags flags = bits & 1 ? LLADA_TEXT_SKIP_CONTROL : 0;
    const char *mask = bits & 2 ? bits & 8 ? "\xE2\x96\x91" : "\xFF" : NULL;
    if (!check_status(llada_text_stream_create(model, flags, mask, &stream, &error), &error)) return;
    (bits & 4 ? follow : push)(model, stream, flags, &input);
    llada_text_stream_free(stream);
}
