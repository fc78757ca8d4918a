/*
 * Files that change while they are read, or while the model is open: cut, overwritten, replaced, removed. Opening says
 * so, and never dies of it. Where weights are held depends on the file system, which this program pretends to be
 * another.
 */
#include "decoders.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <unistd.h>

static long file_system; /* 0: as it is */

/* Stands before that of the C library. */
int fstatfs(int file, struct statfs *system) {
    struct statfs real;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (statfs(path, &real)) return -1;
    if (file_system) real.f_type = (__typeof__(real.f_type))file_system;
    *system = real;
    return 0;
}

static void copy_file(const char *from, const char *to) {
    char bytes[1 << 16];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    NEED(in && out);
    for (size_t count; (count = fread(bytes, 1, sizeof bytes, in));) NEED(fwrite(bytes, 1, count, out) == count);
    fclose(in);
    NEED(!fclose(out));
    /* Long ago: whatever is written to it now is later. */
    struct timeval then[2] = {{1000000000, 0}, {1000000000, 0}};
    NEED(!utimes(to, then));
}

/* A copy of the checkpoint; returns the path of its weights. */
static const char *copy_checkpoint(void) {
    static char weights[256], from[4200];
    static const char *const names[] = {"config.json", "model.safetensors"};
    if (!*own_folder) make_own_folder();
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof from, "%s/%s", checkpoint(), names[i]);
        copy_file(from, inside(names[i]));
    }
    snprintf(weights, sizeof weights, "%s", inside("model.safetensors"));
    return weights;
}

static off_t size_of(const char *path) {
    struct stat status;
    NEED(!stat(path, &status));
    return status.st_size;
}

typedef enum { CUT, EMPTIED, WRITTEN, REPLACED, REMOVED, CHANGES } change;

static void apply(change what, const char *path) {
    const off_t size = size_of(path);
    char byte;
    int file = -1;
    switch (what) {
    case CUT: NEED(!truncate(path, size / 2)); break;
    case EMPTIED: NEED(!truncate(path, 0)); break;
    case WRITTEN:
        file = open(path, O_RDWR);
        NEED(file >= 0 && pread(file, &byte, 1, size - 1) == 1 && pwrite(file, &byte, 1, size - 1) == 1);
        close(file);
        break;
    case REPLACED:
        file = open(inside("other"), O_CREAT | O_WRONLY, 0600);
        NEED(file >= 0 && write(file, "nothing", 7) == 7);
        close(file);
        NEED(!rename(inside("other"), path));
        break;
    case REMOVED: NEED(!unlink(path)); break;
    case CHANGES: break;
    }
}

typedef struct {
    int calls, at;
    change what;
    const char *path;
} stage;

static int at_a_stage(double fraction, void *user) {
    (void)fraction;
    stage *s = user;
    if (s->calls++ == s->at) apply(s->what, s->path);
    return 0;
}

static void logits_of(const llada_model *model, float *logits) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    CHECK_OK(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, logits, PROMPT * VOCAB, &count, &error));
}

static llada_model *open_it(llada_dtype dtype, llada_mmap mmap) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    llada_model *model = NULL;
    options.threads = 2;
    options.dtype = dtype;
    options.use_mmap = mmap;
    CHECK_OK(llada_model_open(own_folder, &options, &model, &error));
    NEED(model);
    return model;
}

/* At each call of the progress callback, one change: an error that names the file, or all that was to be read has been
 * read. Another file in its place is another file. */
static void changed_while_opening(void) {
    const llada_dtype dtypes[] = {LLADA_DTYPE_AUTO, LLADA_DTYPE_BF16, LLADA_DTYPE_INT8, LLADA_DTYPE_INT4};
    static float expected[PROMPT * VOCAB], logits[PROMPT * VOCAB];
    int stages = 0, refused = 0;
    for (int d = 0; d < 4; d++) {
        copy_checkpoint();
        llada_model *whole = open_it(dtypes[d], LLADA_MMAP_OFF);
        logits_of(whole, expected);
        llada_model_free(whole);
        for (change what = CUT; what < CHANGES; what++)
            for (int at = 0;; at += 1 + at / 8) {
                llada_error error = LLADA_ERROR_INIT;
                llada_model_options options = usual_options();
                llada_model *model = NULL;
                stage s = {0, at, what, copy_checkpoint()};
                options.threads = 2;
                options.dtype = dtypes[d];
                options.use_mmap = LLADA_MMAP_OFF;
                options.progress = at_a_stage;
                options.progress_user = &s;
                llada_status status = llada_model_open(own_folder, &options, &model, &error);
                if (s.calls <= at) { /* it was open before */
                    llada_model_free(model);
                    break;
                }
                stages++;
                if (status == LLADA_OK) {
                    logits_of(model, logits);
                    CHECK(!memcmp(logits, expected, sizeof logits));
                } else {
                    refused++;
                    CHECK_EQUAL(status, LLADA_ERROR_IO);
                    CHECK(strstr(error.message, "model.safetensors"));
                    CHECK(what == CUT || what == EMPTIED || what == WRITTEN);
                }
                llada_model_free(model);
            }
    }
    CHECK(refused > 20);
    remark("%d stages, %d refused", stages, refused);
}

/* The files of a model that was read may become anything. */
static void changed_while_open(void) {
    static float expected[PROMPT * VOCAB], logits[PROMPT * VOCAB];
    for (llada_dtype dtype = LLADA_DTYPE_AUTO; dtype <= LLADA_DTYPE_INT4; dtype++)
        for (change what = CUT; what < CHANGES; what++) {
            const char *path = copy_checkpoint();
            llada_model *model = open_it(dtype, LLADA_MMAP_OFF);
            logits_of(model, expected);
            apply(what, path);
            logits_of(model, logits);
            CHECK(!memcmp(logits, expected, sizeof logits));
            llada_model_free(model);
        }
}

/* A mapped file may lose its name, and another may take it. */
static void replaced_while_mapped(void) {
    static float expected[PROMPT * VOCAB], logits[PROMPT * VOCAB];
    for (change what = REPLACED; what <= REMOVED; what++) {
        const char *path = copy_checkpoint();
        llada_model *model = open_it(LLADA_DTYPE_AUTO, LLADA_MMAP_ON);
        apply(what, path);
        logits_of(model, logits);
        llada_model_free(model);
        copy_checkpoint();
        model = open_it(LLADA_DTYPE_AUTO, LLADA_MMAP_OFF);
        logits_of(model, expected);
        CHECK(!memcmp(logits, expected, sizeof logits));
        llada_model_free(model);
    }
}

/* Cut while it is mapped, between two calls: the next one says so. Grown, or of its old size again: it goes on. */
static void cut_while_mapped(void) {
    static float expected[PROMPT * VOCAB], logits[PROMPT * VOCAB];
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    const char *path = copy_checkpoint();
    const off_t size = size_of(path);
    llada_model *model = open_it(LLADA_DTYPE_AUTO, LLADA_MMAP_ON);
    logits_of(model, expected);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    CHECK_OK(llada_decoder_step(decoder, &error));
    NEED(!truncate(path, size / 2));
    CHECK_REFUSED(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, logits, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_IO);
    CHECK_STATUS(llada_decoder_step(decoder, &error), LLADA_ERROR_IO);
    CHECK(strstr(error.message, path) && strstr(error.message, "was cut while it is mapped"));
    error = (llada_error)LLADA_ERROR_INIT;
    NEED(!truncate(path, size + 100));
    copy_checkpoint();
    logits_of(model, logits);
    CHECK(!memcmp(logits, expected, sizeof logits));
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static bool is_mapped(const char *path) {
    char line[1024], real[4096];
    bool found = false;
    NEED(realpath(path, real));
    FILE *maps = fopen("/proc/self/maps", "r");
    NEED(maps);
    while (fgets(line, sizeof line, maps)) found |= strstr(line, real) != NULL;
    fclose(maps);
    return found;
}

/* Files of network file systems and of FUSE are read. */
static void where_weights_lie(void) {
    static const struct {
        long system;
        llada_mmap mmap;
        bool mapped;
    } cases[] = {
        {0, LLADA_MMAP_AUTO, true},           {0, LLADA_MMAP_ON, true},        {0, LLADA_MMAP_OFF, false},
        {0x6969, LLADA_MMAP_AUTO, false},     {0x6969, LLADA_MMAP_ON, true},   {0xFE534D42, LLADA_MMAP_AUTO, false},
        {0x65735546, LLADA_MMAP_AUTO, false}, {0xEF53, LLADA_MMAP_AUTO, true}, {0x01021994, LLADA_MMAP_AUTO, true},
    };
    const char *path = copy_checkpoint();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        file_system = cases[i].system;
        llada_model *model = open_it(LLADA_DTYPE_AUTO, cases[i].mmap);
        CHECK_EQUAL(is_mapped(path), cases[i].mapped);
        llada_model_free(model);
        CHECK(!is_mapped(path));
    }
}

int main(void) {
    static const test tests[] = {
        {"changed at every stage of opening", changed_while_opening},
        {"changed while open, not mapped", changed_while_open},
        {"replaced or removed while mapped", replaced_while_mapped},
        {"cut while mapped", cut_while_mapped},
        {"mapped where the files are this machine's", where_weights_lie},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
