/* Conversations to tokens: the options, messages in JSON, text in parts, and what is refused. */
#include "decoders.h"

static const char question[] = "[{\"role\": \"user\", \"content\": \"What is 17 plus 25?\"}]";

static llada_model *open_text_model(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = NULL;
    if (!text_model)
        remark("no model with a tokenizer at hand");
    else
        CHECK_OK(llada_model_open(text_model, NULL, &model, &error));
    return model;
}

/* The text of a conversation in JSON; empty if it is refused. */
static const char *laid_out(const llada_model *model, const char *messages, const llada_chat_options *options) {
    static char text[8192];
    static int32_t tokens[8192];
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0, length = 0;
    CHECK_OK(llada_chat_tokenize_json(model, messages, strlen(messages), options, tokens, 8192, &count, &error));
    CHECK_OK(llada_detokenize(model, tokens, count, 0, text, sizeof text - 1, &length, &error));
    text[length] = 0;
    return text;
}

static void options_and_defaults(void) {
    llada_model *model = open_text_model();
    if (!model) return;
    llada_error error = LLADA_ERROR_INIT;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    CHECK_OK(llada_model_get_info(model, &info, &error));
    CHECK(info.has_chat_template && info.knows_chat_layout);
    llada_chat_message message = {"user", "What is 17 plus 25?"};
    int32_t simple[256], json[256];
    size_t count = 0, same = 0;
    CHECK_OK(llada_chat_tokenize(model, &message, 1, NULL, simple, 256, &count, &error));
    CHECK_OK(llada_chat_tokenize_json(model, question, sizeof question - 1, NULL, json, 256, &same, &error));
    CHECK(count == same && !memcmp(simple, json, count * sizeof *simple));
    CHECK(
        !strcmp(laid_out(model, question, NULL),
                "<role>SYSTEM</role>detailed thinking off<|role_end|><role>HUMAN</role>What is 17 plus 25?<|role_end|>"
                "<role>ASSISTANT</role>"));

    llada_chat_options options = LLADA_CHAT_OPTIONS_INIT;
    CHECK(options.add_generation_prompt && !options.thinking && options.layout == LLADA_CHAT_LAYOUT_KNOWN);
    options.add_generation_prompt = false;
    options.thinking = true;
    options.layout = LLADA_CHAT_LAYOUT_LLADA2;
    options.tools = "[{\"n\" : 1.50,\"n\":\"\\u00e9\"}]";
    const char *text = laid_out(model, question, &options);
    CHECK(strstr(text, "<tools>\n{\"n\": \"\xC3\xA9\"}\n</tools>") &&
          strstr(text, "</tool_call>\ndetailed thinking on<"));
    CHECK(!strcmp(text + strlen(text) - 12, "<|role_end|>"));

    /* An older, shorter struct has the defaults of what it lacks. */
    options.struct_size = 6;
    CHECK(!strstr(laid_out(model, question, &options), "<tools>"));
    options.struct_size = sizeof options;
    options.layout = 7;
    CHECK_REFUSED(llada_chat_tokenize(model, &message, 1, &options, simple, 256, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    options.layout = LLADA_CHAT_LAYOUT_KNOWN;
    options.tools = "[1,]";
    llada_status status = llada_chat_tokenize(model, &message, 1, &options, simple, 256, &count, &error);
    CHECK(status == LLADA_ERROR_JSON && strstr(error.message, "tools: line 1, column 4"));
    options.tools = "{}";
    CHECK_REFUSED(llada_chat_tokenize(model, &message, 1, &options, simple, 256, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    llada_model_free(model);
}

static void messages_in_json(void) {
    llada_model *model = open_text_model();
    if (!model) return;
    llada_error error = LLADA_ERROR_INIT;
    const char *text =
        laid_out(model,
                 "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"ab\"}]},"
                 " {\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"function\": {\"name\": \"f\", "
                 "\"arguments\": {\"x\": 1e16}}}, {\"name\": \"g\", \"arguments\": \"{}\"}]},"
                 " {\"role\": \"tool\", \"content\": \"1\"}, {\"role\": \"tool\", \"content\": \"2\"},"
                 " {\"role\": \"assistant\", \"content\": \"<think>hm</think>so\"}]",
                 NULL);
    CHECK(strstr(text,
                 "<role>ASSISTANT</role><tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1e+16}}\n</tool_call>\n"
                 "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call><|role_end|>"));
    CHECK(strstr(text, "<role>OBSERVATION</role>\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n"
                       "</tool_response><|role_end|><role>ASSISTANT</role>\n<think>\nhm\n</think>\n\nso<|role_end|>"));
    static const char *const bad[] = {
        "", "[", "{}", "[1]", "[{}]", "[{\"role\": \"king\", \"content\": \"\"}]", "[{\"role\": \"user\"}]", "\xFF"};
    int32_t tokens[64];
    size_t count = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        llada_status status = llada_chat_tokenize_json(model, bad[i], strlen(bad[i]), NULL, tokens, 64, &count, &error);
        CHECK(status == LLADA_ERROR_JSON || status == LLADA_ERROR_INVALID_ARGUMENT);
        CHECK(strstr(error.message, "messages"));
    }
    llada_model_free(model);
}

/* Control tokens are meant in markup, and are characters in content. */
static void text_in_parts(void) {
    llada_model *model = open_text_model();
    if (!model) return;
    llada_error error = LLADA_ERROR_INIT;
    llada_text_part parts[] = {
        {"<role>HUMAN</role>", 18, true}, {"<|role_end|>x", 13, false}, {"<|role_end|>", 12, true}};
    int32_t together[128], whole[128];
    size_t count = 0, length = 0, ends = 0;
    char text[128];
    CHECK_OK(llada_tokenize_parts(model, parts, 3, together, 128, &count, &error));
    int32_t end = together[count - 1];
    for (size_t i = 0; i < count; i++) ends += together[i] == end;
    CHECK_EQUAL(ends, 1);
    CHECK_OK(llada_detokenize(model, together, count, 0, text, sizeof text, &length, &error));
    CHECK(length == 43 && !memcmp(text, "<role>HUMAN</role><|role_end|>x<|role_end|>", 43));
    parts[1].text = "two words";
    parts[1].byte_count = 9;
    CHECK_OK(llada_tokenize_parts(model, parts, 3, together, 128, &count, &error));
    CHECK_OK(llada_tokenize(model, "<role>HUMAN</role>two words<|role_end|>", 39, LLADA_TEXT_CONTROL, whole, 128,
                            &length, &error));
    CHECK(count == length && !memcmp(together, whole, count * sizeof *whole));
    CHECK_OK(llada_tokenize_parts(model, NULL, 0, NULL, 0, &count, &error));
    CHECK_EQUAL(count, 0);
    parts[1].text = NULL;
    CHECK_REFUSED(llada_tokenize_parts(model, parts, 3, together, 128, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_tokenize_parts(model, NULL, 1, together, 128, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_model_free(model);
}

static void the_template(void) {
    llada_model *model = open_text_model();
    if (!model) return;
    llada_error error = LLADA_ERROR_INIT;
    size_t need = 0, count = 0;
    CHECK_REFUSED(llada_chat_template(model, NULL, NULL, 0, &need, &error), LLADA_ERROR_BUFFER_TOO_SMALL);
    char *text = calloc(need + 1, 1);
    CHECK_OK(llada_chat_template(model, "default", text, need, &count, &error));
    CHECK(count == need && strstr(text, "<role>ASSISTANT</role>"));
    CHECK_OK(llada_chat_template(model, "tool_use", text, need, &count, &error));
    CHECK_EQUAL(count, 0);
    CHECK_OK(llada_chat_variables(model, text, need, &count, &error));
    text[count] = 0;
    CHECK(!strcmp(
        text, "{\"eos_token\": \"<|endoftext|>\", \"pad_token\": \"<|endoftext|>\", \"mask_token\": \"<|mask|>\"}"));
    free(text);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"the options of a conversation", options_and_defaults},
        {"messages in JSON", messages_in_json},
        {"text in parts", text_in_parts},
        {"the checkpoint's template", the_template},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
