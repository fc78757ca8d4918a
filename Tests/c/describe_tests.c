/* What a checkpoint is, without loading it. */
#include "decoders.h"

static bool has(const char *text, const char *part) { return strstr(text, part) != NULL; }

static void a_good_one(void) {
    llada_error error = LLADA_ERROR_INIT;
    size_t need = 0, count = 0;
    char guard[4] = "xyz";
    CHECK_REFUSED(llada_model_describe(checkpoint(), NULL, 0, &need, &error), LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK_REFUSED(llada_model_describe(checkpoint(), guard, 3, &count, &error), LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK(count == need && need > 100 && !strcmp(guard, "xyz"));
    char *text = calloc(need + 1, 1);
    CHECK_OK(llada_model_describe(checkpoint(), text, need, &count, &error));
    CHECK(count == need && text[0] == '{' && text[need - 1] == '}');
    CHECK(has(text, "\"loads\": true") && has(text, "\"container\": \"safetensors\""));
    CHECK(has(text, "\"problems\": []") && has(text, "\"vocab_size\": 128"));

    /* The memory is that of a model that is opened so. */
    static const struct {
        llada_dtype dtype;
        const char *name;
    } formats[] = {{LLADA_DTYPE_AUTO, "auto"}, {LLADA_DTYPE_INT8, "int8"}, {LLADA_DTYPE_INT4, "int4"}};
    for (size_t i = 0; i < 3; i++) {
        llada_model_options options = usual_options();
        llada_model_info info = LLADA_MODEL_INFO_INIT;
        llada_model *model = NULL;
        options.dtype = formats[i].dtype;
        CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
        CHECK_OK(llada_model_get_info(model, &info, &error));
        char line[128];
        snprintf(line, sizeof line, "{\"dtype\": \"%s\", \"weight_bytes\": %llu,", formats[i].name,
                 (unsigned long long)info.weight_bytes);
        CHECK(has(text, line));
        llada_model_free(model);
    }
    free(text);
}

static void a_bad_one(void) {
    llada_error error = LLADA_ERROR_INIT;
    char text[4096] = {0};
    size_t count = 0;
    CHECK_OK(llada_model_describe("/no\"where\n", text, sizeof text - 1, &count, &error));
    CHECK(has(text, "\"path\": \"/no\\\"where\\u000a\"") || has(text, "\"path\": \"/no\\\"where\\n\""));
    CHECK(has(text, "\"loads\": false") && has(text, "\"status\": -3"));
    CHECK_REFUSED(llada_model_describe(NULL, text, sizeof text, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_describe("x", text, sizeof text, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_describe("x", NULL, 8, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
}

int main(void) {
    static const test tests[] = {
        {"a checkpoint is described as it opens", a_good_one},
        {"one that is none is described too", a_bad_one},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
