/* Text that may still change: what a stream gives of a decoder, of its forks, and of tokens. */
#include "decoders.h"

enum { ROOM = 4096 };

static llada_model *open_words(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = NULL;
    CHECK_OK(llada_model_open(text_model, NULL, &model, &error));
    NEED(model);
    return model;
}

static llada_decoder *ask(const llada_model *model, llada_preset preset) {
    llada_error error = LLADA_ERROR_INIT;
    llada_chat_message message = {"user", "What is 638 plus 4613?"};
    int32_t tokens[256];
    size_t count = 0;
    llada_policy policy;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    CHECK_OK(llada_chat_tokenize(model, &message, 1, NULL, tokens, 256, &count, &error));
    CHECK_OK(llada_policy_init(&policy, sizeof policy, preset, &error));
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    options.gen_length = 96;
    options.policy = &policy;
    CHECK_OK(llada_decoder_create(model, tokens, count, &options, &decoder, &error));
    NEED(decoder);
    return decoder;
}

typedef struct {
    llada_text_stream *stream;
    char text[ROOM];
    size_t length, drafts;
} watcher;

static int watch(const llada_decoder *decoder, void *user) {
    watcher *w = user;
    llada_text text = LLADA_TEXT_INIT;
    if (llada_text_stream_update(w->stream, decoder, &text, NULL) != LLADA_OK) return 1;
    if (w->length + text.settled_count >= ROOM || strlen(text.settled) != text.settled_count ||
        strlen(text.draft) != text.draft_count)
        return 1;
    memcpy(w->text + w->length, text.settled, text.settled_count);
    w->length += text.settled_count;
    w->drafts += text.draft_count > 0;
    return 0;
}

static void all_policies(void) {
    if (!text_model) {
        remark("no model with a tokenizer at hand");
        return;
    }
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_words();
    for (llada_preset preset = LLADA_PRESET_LOW_CONFIDENCE; preset <= LLADA_PRESET_QUALITY_MBE; preset++) {
        for (llada_text_flags flags = 0; flags <= LLADA_TEXT_SKIP_CONTROL; flags += LLADA_TEXT_SKIP_CONTROL) {
            llada_decoder *decoder = ask(model, preset);
            watcher w = {0};
            CHECK_OK(llada_text_stream_create(model, flags, "#", &w.stream, &error));
            NEED(w.stream);
            CHECK_OK(llada_decoder_run(decoder, watch, &w, &error)); /* inside a callback */
            int32_t tokens[256];
            char whole[ROOM];
            size_t count = 0, length = 0;
            CHECK_OK(llada_decoder_output(decoder, tokens, 256, &count, &error));
            CHECK_OK(llada_detokenize(model, tokens, count, flags, whole, ROOM, &length, &error));
            CHECK(length > 20 && length == w.length && !memcmp(whole, w.text, length));
            CHECK(w.drafts > 0);
            llada_text_stream_free(w.stream);
            llada_decoder_free(decoder);
        }
    }
    llada_model_free(model);
}

static void tokens_alone(void) {
    if (!text_model) return;
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_words();
    llada_text_stream *stream = NULL;
    CHECK_OK(llada_text_stream_create(model, 0, NULL, &stream, &error));
    NEED(stream);
    llada_model_free(model); /* the stream keeps it alive */
    model = open_words();
    static const char words[] = "a \xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80 \xEF\xBF\xBD z"; /* the last but one: U+FFFD */
    size_t bytes = sizeof words - 1, count = 0, length = 0;
    int32_t tokens[64];
    CHECK_OK(llada_tokenize(model, words, bytes, 0, tokens, 64, &count, &error));
    char text[256];
    llada_text piece = LLADA_TEXT_INIT;
    for (size_t i = 0; i < count; i++) {
        CHECK_OK(llada_text_stream_push(stream, tokens + i, 1, &piece, &error));
        CHECK(piece.draft_count == 0 && *piece.draft == 0 && piece.settled[piece.settled_count] == 0);
        memcpy(text + length, piece.settled, piece.settled_count);
        length += piece.settled_count;
        CHECK(!memcmp(text, words, length) && (length == bytes || (words[length] & 0xC0) != 0x80));
    }
    CHECK_EQUAL(length, bytes);
    CHECK_OK(llada_text_stream_finish(stream, &piece, &error));
    CHECK_EQUAL(piece.settled_count, 0);

    /* Cut off in the midst of a character: U+FFFD, once. */
    size_t part = 0;
    for (part = count; part > 0; part--) {
        CHECK_OK(llada_text_stream_push(stream, tokens, part, &piece, &error));
        size_t given = piece.settled_count;
        CHECK_OK(llada_text_stream_finish(stream, &piece, &error));
        CHECK_OK(llada_detokenize(model, tokens, part, 0, text, sizeof text, &length, &error));
        CHECK_EQUAL(given + piece.settled_count, length);
        if (piece.settled_count) {
            CHECK(piece.settled_count == 3 && !strcmp(piece.settled, "\xEF\xBF\xBD"));
            break;
        }
    }
    CHECK(part > 0);
    llada_text_stream_free(stream);
    llada_model_free(model);
}

static void what_is_taken_back(void) {
    if (!text_model) return;
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_words();
    llada_decoder *decoder = ask(model, LLADA_PRESET_SPEEDY), *fork = NULL;
    watcher w = {0};
    llada_text text = LLADA_TEXT_INIT;
    CHECK_OK(llada_text_stream_create(model, LLADA_TEXT_SKIP_CONTROL, NULL, &w.stream, &error));
    CHECK_OK(llada_decoder_run_block(decoder, NULL, NULL, &error));
    CHECK_OK(llada_decoder_fork(decoder, NULL, &fork, &error));
    CHECK_EQUAL(watch(decoder, &w), 0);
    CHECK_OK(llada_decoder_run(fork, watch, &w, &error)); /* goes on where its origin was */
    size_t length = w.length;
    CHECK(length > 0);
    CHECK_REFUSED(llada_text_stream_update(w.stream, decoder, &text, &error), LLADA_ERROR_STATE);
    CHECK_OK(llada_text_stream_update(w.stream, fork, &text, &error));
    CHECK(text.settled_count == 0 && text.draft_count == 0);
    CHECK_OK(llada_text_stream_finish(w.stream, &text, &error));
    CHECK_OK(llada_text_stream_update(w.stream, fork, &text, &error));
    CHECK_EQUAL(text.settled_count, length);
    CHECK(!memcmp(text.settled, w.text, length));
    llada_text_stream_free(w.stream);
    llada_decoder_free(fork);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static void refusals(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *dumb = open_model(1);
    llada_text_stream *stream = NULL;
    CHECK_REFUSED(llada_text_stream_create(dumb, 0, NULL, &stream, &error), LLADA_ERROR_TOKENIZER);
    CHECK_REFUSED(llada_text_stream_create(NULL, 0, NULL, &stream, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_text_stream_create(dumb, 0, NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(stream == NULL);
    llada_text_stream_free(NULL);
    llada_model_free(dumb);
    if (!text_model) return;
    llada_model *model = open_words();
    llada_decoder *decoder = ask(model, LLADA_PRESET_SPEEDY);
    CHECK_REFUSED(llada_text_stream_create(model, LLADA_TEXT_CONTROL, NULL, &stream, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_text_stream_create(model, 0, NULL, &stream, &error));
    NEED(stream);
    llada_text text = LLADA_TEXT_INIT, unset = {0};
    int32_t beyond[] = {65, 1 << 30};
    CHECK_REFUSED(llada_text_stream_push(stream, beyond, 2, &text, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_text_stream_push(stream, NULL, 1, &text, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_text_stream_push(stream, beyond, 1, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_text_stream_push(stream, beyond, 1, &unset, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_text_stream_update(stream, NULL, &text, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_text_stream_update(NULL, decoder, &text, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_text_stream_finish(NULL, &text, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_text_stream_finish(stream, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_OK(llada_text_stream_finish(stream, &text, &error));
    CHECK_EQUAL(text.settled_count, 0); /* what was refused was not taken */
    llada_text_stream_free(stream);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"settled text is the output's", all_policies},
        {"tokens without a decoder", tokens_alone},
        {"a stream goes on with a fork, not backwards", what_is_taken_back},
        {"what streams refuse", refusals},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
