/* Models saved packed: the same when they come back, whole or not there at all, and refused when tampered with. */
#include "decoders.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void forget(const char *folder) {
    char path[512];
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (unlink(path)) forget(path);
    }
    if (dir) closedir(dir);
    rmdir(folder);
}

static llada_model *open_as(const char *path, llada_dtype dtype, bool map) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    llada_model *model = NULL;
    options.threads = 2;
    options.dtype = dtype;
    options.use_mmap = map;
    CHECK_OK(llada_model_open(path, &options, &model, &error));
    NEED(model);
    return model;
}

static void logits_of(const llada_model *model, float *out) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    CHECK_OK(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, out, PROMPT * VOCAB, &count, &error));
}

static void comes_back(void) {
    llada_error error = LLADA_ERROR_INIT;
    static float expected[PROMPT * VOCAB], logits[PROMPT * VOCAB];
    make_own_folder();
    for (llada_dtype dtype = LLADA_DTYPE_BF16; dtype <= LLADA_DTYPE_INT4; dtype++) {
        char name[2] = {(char)('0' + dtype), 0};
        llada_model *model = open_as(checkpoint(), dtype, true);
        CHECK_OK(llada_model_save(model, inside(name), NULL, NULL, &error));
        logits_of(model, expected);
        llada_model_free(model);
        for (int map = 0; map < 2; map++)
            for (int named = 0; named < 2; named++) {
                model = open_as(inside(name), named ? dtype : LLADA_DTYPE_AUTO, map);
                logits_of(model, logits);
                CHECK(!memcmp(logits, expected, sizeof logits));
                llada_model_free(model);
            }
        for (llada_dtype other = LLADA_DTYPE_F32; other <= LLADA_DTYPE_Q4_0; other++) {
            if (other == dtype) continue;
            llada_model_options options = usual_options();
            options.dtype = other;
            model = NULL;
            CHECK_REFUSED(llada_model_open(inside(name), &options, &model, &error), LLADA_ERROR_INVALID_ARGUMENT);
            CHECK(!model);
        }
    }
    forget(own_folder);
}

/* The folder is gone after every failure, and an empty one that was there is empty again. */
static void expect_nothing(const char *folder, bool was_there) {
    CHECK((access(folder, F_OK) == 0) == was_there);
    CHECK(!was_there || rmdir(folder) == 0);
}

typedef struct {
    int calls, stop_at;
    double last;
} listener;

static int listen(double fraction, void *user) {
    listener *l = user;
    CHECK(fraction > l->last && fraction <= 1);
    l->last = fraction;
    return ++l->calls == l->stop_at;
}

static void stopped(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_as(checkpoint(), LLADA_DTYPE_INT8, true);
    make_own_folder();
    listener all = {0};
    CHECK_OK(llada_model_save(model, inside("whole"), listen, &all, &error));
    CHECK(all.calls > 10 && all.last == 1);
    for (int there = 0; there < 2; there++)
        for (int i = 0; i < 3; i++) {
            listener l = {.stop_at = i == 0 ? 1 : i == 1 ? all.calls / 2 : all.calls};
            if (there) NEED(!mkdir(inside("out"), 0700));
            CHECK_REFUSED(llada_model_save(model, inside("out"), listen, &l, &error), LLADA_ERROR_STOPPED);
            CHECK_EQUAL(l.calls, l.stop_at);
            expect_nothing(inside("out"), there);
        }
    llada_model_free(model);
    forget(own_folder);
}

/* As on a full disk: so many bytes, and no more. */
static void no_room(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_as(checkpoint(), LLADA_DTYPE_INT8, true);
    make_own_folder();
    signal(SIGXFSZ, SIG_IGN);
    static const rlim_t limits[] = {0, 100, 5000, 200000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit limit = {limits[i], RLIM_INFINITY};
        NEED(!setrlimit(RLIMIT_FSIZE, &limit));
        llada_status status = llada_model_save(model, inside("out"), NULL, NULL, &error);
        limit.rlim_cur = RLIM_INFINITY;
        NEED(!setrlimit(RLIMIT_FSIZE, &limit));
        CHECK_EQUAL(status, LLADA_ERROR_IO);
        CHECK(strstr(error.message, "model.safetensors"));
        expect_nothing(inside("out"), false);
    }
    llada_model_free(model);
    forget(own_folder);
}

static void refused(void) {
    llada_error error = LLADA_ERROR_INIT;
    make_own_folder();
    llada_model *model = open_as(checkpoint(), LLADA_DTYPE_AUTO, true);
    CHECK_REFUSED(llada_model_save(model, inside("rows"), NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_model_free(model);
    expect_nothing(inside("rows"), false);

    model = open_as(checkpoint(), LLADA_DTYPE_INT4, true);
    CHECK_REFUSED(llada_model_save(NULL, inside("out"), NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_save(model, NULL, NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_save(model, "", NULL, NULL, &error), LLADA_ERROR_IO);
    CHECK_REFUSED(llada_model_save(model, inside("a/b"), NULL, NULL, &error), LLADA_ERROR_IO);
    CHECK_REFUSED(llada_model_save(model, "/dev/null", NULL, NULL, &error), LLADA_ERROR_IO);
    CHECK_REFUSED(llada_model_save(model, checkpoint(), NULL, NULL, &error), LLADA_ERROR_IO); /* where it came from */
    CHECK_OK(llada_model_save(model, inside("out"), NULL, NULL, &error));
    CHECK_REFUSED(llada_model_save(model, inside("out"), NULL, NULL, &error), LLADA_ERROR_IO);
    llada_model_free(open_as(inside("out"), LLADA_DTYPE_AUTO, true));
    llada_model_free(model);
    forget(own_folder);
}

/* A byte of the header changed at random, many times: refused or opened, never worse. The same bytes every time. */
static void random_bytes(void) {
    llada_error error = LLADA_ERROR_INIT;
    static char good[1 << 20], bytes[1 << 20];
    static float logits[PROMPT * VOCAB];
    make_own_folder();
    llada_model *model = open_as(checkpoint(), LLADA_DTYPE_INT4, true);
    CHECK_OK(llada_model_save(model, inside("out"), NULL, NULL, &error));
    llada_model_free(model);
    FILE *file = fopen(inside("out/model.safetensors"), "rb");
    NEED(file);
    size_t length = fread(good, 1, sizeof good, file), opened = 0;
    NEED(feof(file) && length > 8);
    fclose(file);
    uint64_t header = 0, seed = 7;
    memcpy(&header, good, 8);
    for (int round = 0; round < 400; round++) {
        memcpy(bytes, good, length);
        for (int change = 0; change < 1 + round % 3; change++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bytes[(seed >> 33) % (round % 4 ? header + 8 : 200)] =
                round % 2 ? (char)(seed >> 25) : "0123456789[]{},:\"U-e."[(seed >> 20) % 21];
        }
        file = fopen(inside("out/model.safetensors"), "wb");
        NEED(file && fwrite(bytes, 1, length, file) == length && !fclose(file));
        llada_model_options options = usual_options();
        options.threads = 1;
        options.use_mmap = round % 2;
        llada_status status = llada_model_open(inside("out"), &options, &model, &error);
        if (status == LLADA_OK) {
            opened++;
            logits_of(model, logits);
            llada_model_free(model);
        } else {
            CHECK(*error.message);
        }
    }
    remark("%zu of 400 opened", opened);
    /* And any bytes at all are weights, or no numbers. */
    for (size_t i = 8 + header; i < length; i++) good[i] = (char)((i * 2654435761u) >> 13);
    file = fopen(inside("out/model.safetensors"), "wb");
    NEED(file && fwrite(good, 1, length, file) == length && !fclose(file));
    llada_model_options options = usual_options();
    CHECK_REFUSED(llada_model_open(inside("out"), &options, &model, &error), LLADA_ERROR_NUMERIC);
    forget(own_folder);
}

int main(void) {
    static const test tests[] = {
        {"a saved model comes back, bit for bit", comes_back},
        {"saving is stopped: nothing is left", stopped},
        {"no room: nothing is left", no_room},
        {"what cannot be saved, or not there", refused},
        {"random bytes in a saved model", random_bytes},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
