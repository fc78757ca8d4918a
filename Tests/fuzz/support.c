#include "fuzz.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

target *target_named(const char *name) {
    static const struct {
        const char *name;
        target *run;
    } targets[] = {
        {"calls", fuzz_calls},
        {"chat", fuzz_chat},
        {"chat_template", fuzz_chat_template},
        {"config", fuzz_config},
        {"fp8", fuzz_fp8},
        {"gguf", fuzz_gguf},
        {"packed", fuzz_packed},
        {"prefix_cache", fuzz_prefix_cache},
        {"safetensors", fuzz_safetensors},
        {"shard_index", fuzz_shard_index},
        {"snapshot", fuzz_snapshot},
        {"text_stream", fuzz_text_stream},
        {"tokenizer", fuzz_tokenizer},
    };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        if (!strcmp(targets[i].name, name)) return targets[i].run;
    return NULL;
}

void wrong(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: not as promised: ", file, line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

/* ---- Bytes of an input ------------------------------------------------------------------------------------------ */

span take(span *input, size_t count) {
    span taken = {input->bytes, count < input->count ? count : input->count};
    input->bytes += taken.count;
    input->count -= taken.count;
    return taken;
}

span take_text(span *input) {
    const uint8_t *end = input->count ? memchr(input->bytes, 0, input->count) : NULL;
    if (!end) return take(input, input->count);
    span taken = take(input, (size_t)(end - input->bytes));
    take(input, 1);
    return taken;
}

uint32_t take_u32(span *input) {
    uint32_t value = 0;
    span bytes = take(input, 4);
    for (size_t i = 0; i < bytes.count; i++) value |= (uint32_t)bytes.bytes[i] << 8 * i;
    return value;
}

uint16_t take_u16(span *input) {
    uint32_t low = take_u8(input);
    return (uint16_t)(low | (uint32_t)take_u8(input) << 8);
}

uint8_t take_u8(span *input) {
    span byte = take(input, 1);
    return byte.count ? *byte.bytes : 0;
}

uint32_t take_below(span *input, uint32_t below) { return (below <= 256 ? take_u8(input) : take_u16(input)) % below; }

/* ---- Files ------------------------------------------------------------------------------------------------------ */

static char folder[64];

static void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command)) return;
}

const char *own_folder(void) {
    if (!*folder) {
        const char *memory = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
        snprintf(folder, sizeof folder, "%s/llada-fuzz-XXXXXX", memory);
        if (!mkdtemp(folder)) wrong(__FILE__, __LINE__, "no folder %s", folder);
        atexit(remove_folder);
    }
    return folder;
}

const char *own_path(const char *name) {
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof *paths, "%s/%s", own_folder(), name);
    return path;
}

void remove_own(const char *name) { unlink(own_path(name)); }

void write_own(const char *name, const span *parts, size_t count) {
    /* Truncating in place would change what a model has mapped: that is not what a target is about. */
    remove_own(name);
    int file = open(own_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) wrong(__FILE__, __LINE__, "cannot write %s", own_path(name));
    for (size_t i = 0; i < count; i++)
        if (write(file, parts[i].bytes, parts[i].count) != (ssize_t)parts[i].count)
            wrong(__FILE__, __LINE__, "cannot write %s", own_path(name));
    close(file);
}

span read_base(const char *path) {
    static struct {
        char path[128];
        span content;
    } kept[16];
    size_t place = 0;
    for (; place < 16 && kept[place].content.bytes; place++)
        if (!strcmp(kept[place].path, path)) return kept[place].content;
    if (place == 16) wrong(__FILE__, __LINE__, "too many files to keep");
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status)) wrong(__FILE__, __LINE__, "no file %s: run in the repository's root", path);
    uint8_t *bytes = malloc((size_t)status.st_size + 1);
    if (!bytes || read(file, bytes, (size_t)status.st_size) != status.st_size)
        wrong(__FILE__, __LINE__, "cannot read %s", path);
    close(file);
    bytes[status.st_size] = 0;
    snprintf(kept[place].path, sizeof kept[place].path, "%s", path);
    return kept[place].content = (span){bytes, (size_t)status.st_size};
}

span filling(size_t count, bool positive) {
    enum { MOST = 4 << 20 };
    static uint8_t *fillings[2];
    if (!fillings[positive]) {
        uint32_t random = 1;
        uint8_t *bytes = fillings[positive] = malloc(MOST);
        if (!bytes) wrong(__FILE__, __LINE__, "out of memory");
        for (size_t i = 0; i < MOST; i += 2) {
            random = random * 1664525 + 1013904223;
            /* As BF16, 0.008 to 0.12 and as much below zero; as F16, 1 to 1.4; never NaN as F8_E4M3. */
            bytes[i] = random >> 8 & 0x3F;
            bytes[i + 1] = (uint8_t)(0x3C | (random >> 16 & 1) | (positive ? 0 : random >> 24 & 0x80));
        }
    }
    return (span){fillings[positive], count < MOST ? count : MOST};
}

void write_safetensors(const char *name, span header, span data, size_t fill, bool positive) {
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)header.count >> 8 * i);
    write_own(name, (span[]){{length, 8}, header, data, filling(fill, positive)}, 4);
}

/* ---- Models ----------------------------------------------------------------------------------------------------- */

void write_base_tensors(const char *name, const char *header_path) {
    span header = read_base(header_path);
    /* The last number of the header is the last tensor's end. */
    const char *comma = memrchr(header.bytes, ',', header.count);
    write_safetensors(name, header, (span){0}, comma ? strtoul(comma + 1, NULL, 10) : 0, false);
}

void write_base_file(const char *name, const char *path) {
    span content = read_base(path);
    write_own(name, &content, 1);
}

void write_base(bool with_text) {
    if (with_text) {
        write_base_file("config.json", "Tests/fuzz/base/text_config.json");
        write_base_tensors("model.safetensors", "Tests/fuzz/base/text_header.json");
        write_base_file("tokenizer.json", "Tests/fuzz/base/tokenizer.json");
    } else {
        write_base_file("config.json", "Tests/fuzz/base/config.json");
        write_base_tensors("model.safetensors", "Tests/fuzz/base/header.json");
    }
}

/* A detector of leaks takes what Swift has references to, with bits of an enum in them, for lost. */
__attribute__((weak)) void __lsan_disable(void);
__attribute__((weak)) void __lsan_enable(void);

llada_model *base_model(bool with_text) {
    static llada_model *models[2];
    if (!models[with_text]) {
        if (__lsan_disable) __lsan_disable();
        write_base(with_text);
        models[with_text] = open_own("", 0);
        if (!models[with_text]) wrong(__FILE__, __LINE__, "the base model does not open");
        remove_own("config.json"), remove_own("model.safetensors"), remove_own("tokenizer.json");
        if (__lsan_enable) __lsan_enable();
    }
    return models[with_text];
}

llada_model_options options_of(uint8_t bits) {
    llada_model_options options;
    EXPECT(llada_model_options_init(&options, sizeof options, NULL) == LLADA_OK);
    options.dtype = (bits & 7) % 7;
    options.use_mmap = bits & 8 ? LLADA_MMAP_OFF : LLADA_MMAP_AUTO;
    options.kv_dtype = bits & 16 ? LLADA_DTYPE_BF16 : LLADA_DTYPE_AUTO;
    options.threads = 1;
    return options;
}

/* Returns whether the description says that the checkpoint would open. */
static bool describe(const char *path) {
    static char text[1 << 16];
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    llada_status status = llada_model_describe(path, text, sizeof text, &count, &error);
    if (status == LLADA_ERROR_BUFFER_TOO_SMALL) {
        EXPECT(count > sizeof text);
        return true;
    }
    if (!check_status(status, &error)) return false;
    EXPECT(count <= sizeof text && is_utf8(text, count) && count > 2 && text[0] == '{');
    static const char yes[] = "\"loads\": true", no[] = "\"loads\": false";
    bool loads = memmem(text, count, yes, sizeof yes - 1);
    EXPECT(loads || memmem(text, count, no, sizeof no - 1));
    return loads;
}

static int stop_in_time(double fraction, void *times) {
    EXPECT(fraction >= 0 && fraction <= 1);
    return --*(int *)times <= 0;
}

llada_model *open_own(const char *name, uint8_t bits) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = options_of(bits);
    int times = bits & 0x20 ? 9 : 2;
    if ((bits & 7) == 7) options.progress = stop_in_time, options.progress_user = &times;
    llada_model *model = NULL;
    const char *path = *name ? own_path(name) : own_folder();
    bool loads = !(bits & 0x80) || describe(path);
    llada_status status = llada_model_open(path, &options, &model, &error);
    if (!check_status(status, &error)) {
        EXPECT(!model);
        /* With the default options, only numbers can be wrong, which a description does not read. */
        EXPECT(!(bits & 0x80) || bits & 0x17 || !loads || status == LLADA_ERROR_NUMERIC);
        return NULL;
    }
    EXPECT(model && loads);
    return model;
}
