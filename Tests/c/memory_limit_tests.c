/* memory_limit: opening within it and beyond it, and decoders until it is used up. */
#include "decoders.h"

static uint64_t used(const llada_model *model) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    CHECK_OK(llada_model_get_info(model, &info, &error));
    return info.memory_used;
}

/* The number behind a key of the first row of `memory`. */
static uint64_t told(const char *key) {
    llada_error error = LLADA_ERROR_INIT;
    static char text[1 << 16];
    size_t count = 0;
    CHECK_OK(llada_model_describe(checkpoint(), text, sizeof text - 1, &count, &error));
    text[count] = 0;
    const char *place = strstr(text, "\"memory\"");
    place = place ? strstr(place, key) : NULL;
    CHECK(place != NULL);
    return place ? strtoull(place + strlen(key) + 3, NULL, 10) : 0;
}

static void opening(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    llada_model *model = NULL;
    uint64_t need = told("opening_bytes");
    options.threads = 0; /* as told */
    options.memory_limit = need - 1;
    CHECK_EQUAL(llada_model_open(checkpoint(), &options, &model, &error), LLADA_ERROR_OUT_OF_MEMORY);
    char limit[64];
    snprintf(limit, sizeof limit, "memory_limit is %llu bytes", (unsigned long long)(need - 1));
    CHECK(!model && strstr(error.message, limit) && strstr(error.message, "in use: no room for"));
    error = (llada_error)LLADA_ERROR_INIT;
    options.memory_limit = need;
    CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
    NEED(model);
    CHECK(used(model) > 0 && used(model) <= need);
    CHECK_EQUAL(used(model), told("open_bytes"));
    llada_model_free(model);
    model = NULL;
    options.memory_limit = UINT64_MAX;
    CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
    llada_model_free(model);
}

static void decoders(void) {
    enum { MOST = 4096 };
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    llada_model *model = NULL;
    options.memory_limit = told("opening_bytes") + (2 << 20);
    CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
    NEED(model);
    uint64_t before = used(model);
    static llada_decoder *decoders[MOST];
    llada_decoder_options some;
    CHECK_OK(llada_decoder_options_init(&some, sizeof some, &error));
    some.gen_length = 64;
    size_t count = 0;
    llada_status status = LLADA_OK;
    while (status == LLADA_OK && count < MOST) {
        status = llada_decoder_create(model, prompt, PROMPT, &some, &decoders[count], &error);
        if (status != LLADA_OK) break;
        status = llada_decoder_step(decoders[count++], &error);
    }
    CHECK_EQUAL(status, LLADA_ERROR_OUT_OF_MEMORY);
    CHECK(strstr(error.message, "memory_limit is") != NULL);
    error = (llada_error)LLADA_ERROR_INIT;
    CHECK(count > 1 && used(model) <= options.memory_limit);
    NEED(count > 1);
    /* The last one goes on when another one is gone. */
    llada_decoder_free(decoders[0]);
    if (decoders[count - 1]) CHECK_OK(llada_decoder_step(decoders[count - 1], &error));
    for (size_t i = 1; i < count; i++) llada_decoder_free(decoders[i]);
    CHECK(used(model) < before + (1 << 20)); /* a workspace stays */
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"opening takes what was told, and no more than the limit", opening},
        {"decoders stop at the limit, and go on below it", decoders},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
