/* Prefix caches: arguments, what they say of themselves, who keeps them alive. */
#include "decoders.h"

static void arguments_of_caches(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1), *other_model = open_model(1);
    llada_prefix_cache *cache = NULL;
    llada_prefix_cache_info info = LLADA_PREFIX_CACHE_INFO_INIT;
    size_t found = 7;
    CHECK_REFUSED(llada_prefix_cache_create(NULL, 1 << 20, &cache, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_create(model, 1 << 20, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_create(model, 0, &cache, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!cache);
    CHECK_OK(llada_prefix_cache_create(model, UINT64_MAX, &cache, &error));
    CHECK_EQUAL(info_of(cache).max_bytes, INT64_MAX);
    llada_prefix_cache_free(cache);
    llada_prefix_cache_free(NULL);
    cache = make_cache(model, 1 << 20);

    CHECK_REFUSED(llada_prefix_cache_get_info(NULL, &info, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_get_info(cache, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_clear(NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_pin(NULL, prompt, PROMPT, BLOCK, true, &found, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_prefix_cache_pin(cache, NULL, 1, BLOCK, true, &found, &error), LLADA_ERROR_INVALID_ARGUMENT);
    for (int32_t block = -1; block <= 0; block++)
        CHECK_REFUSED(llada_prefix_cache_pin(cache, prompt, PROMPT, block, true, &found, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_EQUAL(found, 7);
    CHECK_OK(llada_prefix_cache_pin(cache, prompt, PROMPT, BLOCK, true, NULL, &error));
    CHECK_OK(llada_prefix_cache_pin(cache, NULL, 0, BLOCK, true, &found, &error));
    CHECK_EQUAL(found, 0);

    /* A decoder of another model, or one that recomputes everything, has no use for it. */
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    CHECK(options.prefix_cache == NULL);
    options.prefix_cache = cache;
    CHECK_REFUSED(llada_decoder_create(other_model, prompt, PROMPT, &options, &decoder, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    options.use_cache = false;
    CHECK_REFUSED(llada_decoder_create(model, prompt, PROMPT, &options, &decoder, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!decoder);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
    llada_model_free(other_model);
}

/* It fills as much as there is, never more. */
static void ages_of_cache_info(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_prefix_cache *cache = make_cache(model, 1 << 20);
    struct {
        llada_prefix_cache_info i;
        unsigned char tail[16];
    } s;
    memset(&s, 0, sizeof s);
    s.i.struct_size = sizeof s;
    CHECK_OK(llada_prefix_cache_get_info(cache, &s.i, &error));
    CHECK(s.i.struct_size == sizeof s && s.i.max_bytes == 1 << 20);
    s.tail[7] = 1;
    CHECK_REFUSED(llada_prefix_cache_get_info(cache, &s.i, &error), LLADA_ERROR_INVALID_ARGUMENT);
    memset(&s, 0xA5, sizeof s);
    s.i.struct_size = offsetof(llada_prefix_cache_info, blocks);
    CHECK_OK(llada_prefix_cache_get_info(cache, &s.i, &error));
    CHECK(s.i.max_bytes == 1 << 20 && s.i.bytes == 0);
    for (size_t i = s.i.struct_size; i < sizeof s; i++) CHECK(((unsigned char *)&s)[i] == 0xA5);
    s.i.struct_size = 0;
    CHECK_REFUSED(llada_prefix_cache_get_info(cache, &s.i, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
}

/* The cache and the model live as long as a decoder that uses them. */
static void decoders_keep_their_cache(void) {
    llada_model *model = open_model(1);
    llada_prefix_cache *cache = make_cache(model, 1 << 24);
    llada_decoder *all[MANY];
    make_all(model, cache, all);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
    CHECK_STATUS(llada_decoders_run(all, MANY, 2, NULL, NULL, NULL), LLADA_OK);
    model = open_model(1);
    check_all(model, all);
    free_all(all);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"arguments of prefix caches", arguments_of_caches},
        {"struct_size of llada_prefix_cache_info", ages_of_cache_info},
        {"decoders keep their cache and model", decoders_keep_their_cache},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
