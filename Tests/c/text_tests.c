/* Text to tokens and back: buffers, flags, what is refused. */
#include "decoders.h"

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
    CHECK_REFUSED(llada_chat_tokenize(model, &message, 1, NULL, tokens, 8, &count, &error), LLADA_ERROR_TOKENIZER);
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
        CHECK_REFUSED(llada_chat_tokenize(model, messages, 2, NULL, NULL, 0, &need, &error),
                      LLADA_ERROR_BUFFER_TOO_SMALL);
        int32_t *chat = calloc(need, sizeof *chat);
        CHECK_OK(llada_chat_tokenize(model, messages, 2, NULL, chat, need, &count, &error));
        CHECK_EQUAL(count, need);
        CHECK_REFUSED(llada_chat_tokenize(model, messages + 2, 1, NULL, chat, need, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_chat_tokenize(model, messages + 3, 1, NULL, chat, need, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_chat_tokenize(model, messages + 4, 1, NULL, chat, need, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_chat_tokenize(model, NULL, 1, NULL, chat, need, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
        free(chat);
    }
    free(tokens);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"text without a tokenizer", no_tokenizer},
        {"the text functions' buffers", text_buffers},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
