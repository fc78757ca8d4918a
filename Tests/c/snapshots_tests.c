/* Snapshots: the same way on from bytes and from files, and the interface's manners. */
#include "decoders.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { GENERATED = 12, MOST = 1 << 20 };
static unsigned char bytes[MOST];

static int entries(void) {
    int count = 0;
    DIR *dir = opendir(own_folder);
    while (dir && readdir(dir)) count++;
    if (dir) closedir(dir);
    return count - 2;
}

static void forget(void) {
    DIR *dir = opendir(own_folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] != '.') unlink(inside(entry->d_name));
    if (dir) closedir(dir);
    CHECK(!rmdir(own_folder));
}

static llada_decoder *begun(const llada_model *model) {
    llada_error error = LLADA_ERROR_INIT;
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GENERATED);
    CHECK_OK(llada_decoder_step(decoder, &error));
    CHECK_OK(llada_decoder_lock(decoder, 9, true, &error));
    CHECK_OK(llada_decoder_forward(decoder, &error));
    return decoder;
}

static void expect_same_way(llada_decoder *decoder, llada_decoder *restored) {
    int32_t tokens[2][64];
    size_t count = run_out(decoder, tokens[0], 64);
    CHECK_EQUAL(run_out(restored, tokens[1], 64), count);
    CHECK(!memcmp(tokens[0], tokens[1], count * sizeof **tokens));
}

static void comes_back(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1), *other = open_model(2);
    make_own_folder();
    for (int pages = 0; pages < 2; pages++)
        for (int file = 0; file < 2; file++) {
            llada_decoder *decoder = begun(model), *restored = NULL;
            size_t size = 0;
            if (file) {
                CHECK_OK(llada_decoder_save_file(decoder, pages, inside("\xff one"), NULL, NULL, &error));
                CHECK_OK(llada_decoder_restore_file(other, NULL, inside("\xff one"), NULL, NULL, &restored, &error));
                CHECK_EQUAL(entries(), 1);
            } else {
                CHECK_OK(llada_decoder_save(decoder, pages, NULL, NULL, bytes, MOST, &size, &error));
                CHECK_OK(llada_decoder_restore(other, NULL, bytes, size, NULL, NULL, &restored, &error));
                memset(bytes, 0, size);
            }
            NEED(restored);
            const bool *locked;
            size_t count;
            CHECK_OK(llada_decoder_locked(restored, &locked, &count, &error));
            CHECK_EQUAL(count, 20);
            for (size_t i = 0; i < count; i++) CHECK_EQUAL(locked[i], i == 9);
            llada_policy policy, expected;
            CHECK_OK(llada_policy_init(&policy, sizeof policy, LLADA_PRESET_LOW_CONFIDENCE, &error));
            CHECK_OK(llada_policy_init(&expected, sizeof expected, LLADA_PRESET_SPEEDY, &error));
            CHECK_OK(llada_decoder_get_policy(restored, &policy, &error));
            CHECK_EQUAL(policy.kind, expected.kind);
            CHECK(policy.threshold == expected.threshold && policy.editing_threshold == expected.editing_threshold);
            expect_same_way(decoder, restored);
            llada_decoder_free(decoder);
            llada_decoder_free(restored);
        }
    llada_model_free(model);
    llada_model_free(other);
    forget();
}

static void buffers(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = begun(model);
    size_t size = 0, again = 0;
    CHECK_REFUSED(llada_decoder_save(decoder, false, NULL, NULL, NULL, 0, &size, &error), LLADA_ERROR_BUFFER_TOO_SMALL);
    NEED(size > 100 && size < MOST);
    bytes[0] = 1;
    CHECK_REFUSED(llada_decoder_save(decoder, false, NULL, NULL, bytes, size - 1, &again, &error),
                  LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK(again == size && bytes[0] == 1);
    bytes[size] = 77;
    CHECK_OK(llada_decoder_save(decoder, false, NULL, NULL, bytes, size, &again, &error));
    CHECK(again == size && bytes[size] == 77);
    CHECK_OK(llada_decoder_save(decoder, false, NULL, NULL, bytes, SIZE_MAX, &again, &error));
    CHECK_REFUSED(llada_decoder_save(decoder, true, NULL, NULL, NULL, 0, &again, &error), LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK(again > size);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static void nulls(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = begun(model), *restored = NULL;
    llada_prefix_cache *cache = NULL;
    size_t size = 0;
    const bool *locked;
    llada_policy policy = {sizeof policy};
    NEED(llada_prefix_cache_create(model, 1 << 20, &cache, &error) == LLADA_OK);
    const llada_status bad = LLADA_ERROR_INVALID_ARGUMENT;
    CHECK_REFUSED(llada_decoder_save(NULL, false, NULL, NULL, bytes, MOST, &size, &error), bad);
    CHECK_REFUSED(llada_decoder_save(decoder, false, NULL, NULL, NULL, 1, &size, &error), bad);
    CHECK_REFUSED(llada_decoder_save(decoder, false, NULL, NULL, bytes, MOST, NULL, &error), bad);
    CHECK_REFUSED(llada_decoder_save_file(NULL, false, "x", NULL, NULL, &error), bad);
    CHECK_REFUSED(llada_decoder_save_file(decoder, false, NULL, NULL, NULL, &error), bad);
    CHECK_REFUSED(llada_decoder_save_file(decoder, false, "", NULL, NULL, &error), LLADA_ERROR_IO);
    CHECK_OK(llada_decoder_save(decoder, false, NULL, NULL, bytes, MOST, &size, &error));
    CHECK_REFUSED(llada_decoder_restore(NULL, NULL, bytes, size, NULL, NULL, &restored, &error), bad);
    CHECK_REFUSED(llada_decoder_restore(model, NULL, NULL, size, NULL, NULL, &restored, &error), bad);
    CHECK_REFUSED(llada_decoder_restore(model, NULL, bytes, SIZE_MAX, NULL, NULL, &restored, &error), bad);
    CHECK_REFUSED(llada_decoder_restore(model, NULL, bytes, size, NULL, NULL, NULL, &error), bad);
    CHECK_REFUSED(llada_decoder_restore(model, NULL, NULL, 0, NULL, NULL, &restored, &error), LLADA_ERROR_SNAPSHOT);
    CHECK_REFUSED(llada_decoder_restore_file(NULL, NULL, "x", NULL, NULL, &restored, &error), bad);
    CHECK_REFUSED(llada_decoder_restore_file(model, NULL, NULL, NULL, NULL, &restored, &error), bad);
    CHECK_REFUSED(llada_decoder_restore_file(model, NULL, "x", NULL, NULL, NULL, &error), bad);
    CHECK_REFUSED(llada_decoder_restore_file(model, NULL, "/dev/null", NULL, NULL, &restored, &error), LLADA_ERROR_IO);
    CHECK_REFUSED(llada_decoder_restore_file(model, NULL, "/tmp", NULL, NULL, &restored, &error), LLADA_ERROR_IO);
    CHECK_REFUSED(llada_prefix_cache_save(NULL, "x", NULL, NULL, &error), bad);
    CHECK_REFUSED(llada_prefix_cache_save(cache, NULL, NULL, NULL, &error), bad);
    CHECK_REFUSED(llada_prefix_cache_load(NULL, "x", NULL, NULL, NULL, &error), bad);
    CHECK_REFUSED(llada_prefix_cache_load(cache, NULL, NULL, NULL, NULL, &error), bad);
    CHECK_REFUSED(llada_decoder_locked(NULL, &locked, &size, &error), bad);
    CHECK_REFUSED(llada_decoder_locked(decoder, NULL, &size, &error), bad);
    CHECK_REFUSED(llada_decoder_locked(decoder, &locked, NULL, &error), bad);
    CHECK_REFUSED(llada_decoder_get_policy(NULL, &policy, &error), bad);
    CHECK_REFUSED(llada_decoder_get_policy(decoder, NULL, &error), bad);
    CHECK(!restored);
    llada_prefix_cache_free(cache);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static void damaged(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = begun(model), *restored = NULL;
    size_t size = 0;
    CHECK_OK(llada_decoder_save(decoder, false, NULL, NULL, bytes, MOST, &size, &error));
    for (size_t i = 0; i < size; i += i < 1500 ? 1 : 37) {
        bytes[i] ^= 0x10;
        CHECK_REFUSED(llada_decoder_restore(model, NULL, bytes, size, NULL, NULL, &restored, &error),
                      LLADA_ERROR_SNAPSHOT);
        bytes[i] ^= 0x10;
        CHECK_REFUSED(llada_decoder_restore(model, NULL, bytes, i, NULL, NULL, &restored, &error),
                      LLADA_ERROR_SNAPSHOT);
    }
    /* Of another model: the same one, held otherwise. */
    llada_model_options options = usual_options();
    options.dtype = LLADA_DTYPE_INT8;
    llada_model *other = NULL;
    NEED(llada_model_open(checkpoint(), &options, &other, &error) == LLADA_OK);
    CHECK_REFUSED(llada_decoder_restore(other, NULL, bytes, size, NULL, NULL, &restored, &error), LLADA_ERROR_SNAPSHOT);
    CHECK(!restored);
    CHECK_OK(llada_decoder_restore(model, NULL, bytes, size, NULL, NULL, &restored, &error));
    llada_decoder_free(restored);
    llada_decoder_free(decoder);
    llada_model_free(other);
    llada_model_free(model);
}

/* As on a full disk: so many bytes, and no more. What was there stays. */
static void no_room(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = begun(model), *restored = NULL;
    make_own_folder();
    signal(SIGXFSZ, SIG_IGN);
    CHECK_OK(llada_decoder_save_file(decoder, false, inside("one"), NULL, NULL, &error));
    static const rlim_t limits[] = {0, 10, 500, 2000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit limit = {limits[i], RLIM_INFINITY};
        NEED(!setrlimit(RLIMIT_FSIZE, &limit));
        llada_status status = llada_decoder_save_file(decoder, true, inside("one"), NULL, NULL, &error);
        limit.rlim_cur = RLIM_INFINITY;
        NEED(!setrlimit(RLIMIT_FSIZE, &limit));
        CHECK_EQUAL(status, LLADA_ERROR_IO);
        CHECK(strstr(error.message, "one"));
        CHECK_EQUAL(entries(), 1);
    }
    CHECK_STATUS(llada_decoder_restore_file(model, NULL, inside("one"), NULL, NULL, &restored, NULL), LLADA_OK);
    expect_same_way(decoder, restored);
    llada_decoder_free(restored);
    llada_decoder_free(decoder);
    llada_model_free(model);
    forget();
}

static void caches(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_prefix_cache *cache = NULL, *loaded = NULL;
    NEED(llada_prefix_cache_create(model, 1 << 22, &cache, &error) == LLADA_OK);
    NEED(llada_prefix_cache_create(model, 1 << 22, &loaded, &error) == LLADA_OK);
    make_own_folder();
    llada_decoder_options options;
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    options.block_length = BLOCK;
    options.gen_length = GENERATED;
    options.prefix_cache = cache;
    llada_decoder *decoder = NULL;
    CHECK_OK(llada_decoder_create(model, prompt, PROMPT, &options, &decoder, &error));
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
    CHECK_OK(llada_prefix_cache_save(cache, inside("cache"), NULL, NULL, &error));
    uint64_t tokens = 0;
    llada_prefix_cache_info before = LLADA_PREFIX_CACHE_INFO_INIT, after = LLADA_PREFIX_CACHE_INFO_INIT;
    CHECK_OK(llada_prefix_cache_load(loaded, inside("cache"), NULL, NULL, &tokens, &error));
    CHECK_OK(llada_prefix_cache_get_info(cache, &before, &error));
    CHECK_OK(llada_prefix_cache_get_info(loaded, &after, &error));
    CHECK(before.blocks > 0 && after.blocks == before.blocks);
    CHECK_EQUAL(tokens, before.blocks * BLOCK);
    CHECK_OK(llada_prefix_cache_load(loaded, inside("cache"), NULL, NULL, NULL, &error));
    CHECK_REFUSED(llada_prefix_cache_load(loaded, inside("none"), NULL, NULL, &tokens, &error), LLADA_ERROR_IO);

    /* A decoder's is none of a cache, and the other way round. */
    llada_decoder *restored = NULL;
    CHECK_REFUSED(llada_decoder_restore_file(model, loaded, inside("cache"), NULL, NULL, &restored, &error),
                  LLADA_ERROR_SNAPSHOT);
    CHECK_OK(llada_decoder_save_file(decoder, true, inside("decoder"), NULL, NULL, &error));
    CHECK_REFUSED(llada_prefix_cache_load(loaded, inside("decoder"), NULL, NULL, &tokens, &error),
                  LLADA_ERROR_SNAPSHOT);
    CHECK_OK(llada_decoder_restore_file(model, loaded, inside("decoder"), NULL, NULL, &restored, &error));
    llada_model *other = open_model(1);
    llada_decoder *none = NULL;
    CHECK_REFUSED(llada_decoder_restore_file(other, loaded, inside("decoder"), NULL, NULL, &none, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!none);
    llada_decoder_free(restored);
    llada_decoder_free(decoder);
    llada_prefix_cache_free(cache);
    llada_prefix_cache_free(loaded);
    llada_model_free(other);
    llada_model_free(model);
    forget();
}

/* Saving is looking: a callback may do it. */
static int save_in_callback(const llada_decoder *decoder, void *user) {
    size_t *size = user;
    CHECK_STATUS(llada_decoder_save(decoder, true, NULL, NULL, bytes, MOST, size, NULL), LLADA_OK);
    return 1;
}

static void callbacks(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = begun(model), *restored = NULL;
    size_t size = 0;
    CHECK_REFUSED(llada_decoder_run(decoder, save_in_callback, &size, &error), LLADA_ERROR_STOPPED);
    CHECK_OK(llada_decoder_restore(model, NULL, bytes, size, NULL, NULL, &restored, &error));
    expect_same_way(decoder, restored);
    llada_decoder_free(restored);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"a decoder comes back, from bytes and files", comes_back, NULL},
        {"buffers too small", buffers, NULL},
        {"NULLs and nonsense", nulls, NULL},
        {"every damaged byte and length is refused", damaged, NULL},
        {"a full disk leaves what was there", no_room, NULL},
        {"prefix caches in files", caches, NULL},
        {"saving in a callback", callbacks, NULL},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
