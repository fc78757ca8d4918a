/* Checkpoints as Hugging Face lays them out: an input is one of the files; the others are those of Tests/fuzz/base. */
#include "fuzz.h"

/*
 * A safetensors file. Options; bit 6: the rest is the file as it is. Else: the amount of filling in units of 64 bytes,
 * the header's text, a NUL, data.
 */
static void write_weights(span *input, uint8_t bits, bool positive) {
    if (bits & 0x40) {
        write_own("model.safetensors", input, 1);
        return;
    }
    size_t fill = (size_t)take_u16(input) * 64;
    span header = take_text(input);
    write_safetensors("model.safetensors", header, *input, fill, positive);
}

static void remove_saved(void) {
    static const char *const names[] = {"saved/config.json", "saved/model.safetensors", "saved"};
    for (int i = 0; i < 3; i++) remove(own_path(names[i]));
}

static void save_again(const llada_model *model) {
    static float logits[2][1 << 12];
    llada_error error = LLADA_ERROR_INIT;
    int32_t tokens[] = {1, 2, 39, 39};
    size_t count[2] = {0};
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    EXPECT(llada_model_get_info(model, &info, NULL) == LLADA_OK);
    remove_saved();
    llada_status status = llada_model_save(model, own_path("saved"), NULL, NULL, &error);
    if (!check_status(status, &error)) {
        EXPECT(status == LLADA_ERROR_INVALID_ARGUMENT && info.dtype < LLADA_DTYPE_BF16);
        return;
    }
    llada_model *other = open_own("saved", info.kv_dtype == LLADA_DTYPE_BF16 ? 16 : 0);
    EXPECT(other);
    status = llada_model_logits(model, tokens, 4, 2, NULL, NULL, logits[0], 1 << 12, &count[0], &error);
    check_status(status, &error);
    EXPECT(llada_model_logits(other, tokens, 4, 2, NULL, NULL, logits[1], 1 << 12, &count[1], &error) == status);
    check_status(status, &error);
    EXPECT(count[0] == count[1] && (status || !memcmp(logits[0], logits[1], count[0] * sizeof **logits)));
    llada_model_free(other);
    remove_saved();
}

/* Opens a model with the weights that an input says. */
static llada_model *open_weights(span input, uint8_t *bits) {
    static bool ready;
    if (!ready) write_base_file("config.json", "Tests/fuzz/base/config.json");
    ready = true;
    *bits = take_u8(&input);
    write_weights(&input, *bits, false);
    return open_own("", *bits);
}

void fuzz_safetensors(const uint8_t *bytes, size_t count) {
    uint8_t bits;
    llada_model *model = open_weights((span){bytes, count}, &bits);
    if (model) exercise(model);
}

/*
 * The same; the header as of a file that llada_model_save wrote. Bit 5: what has opened is saved again, and must open
 * and say the same.
 */
void fuzz_packed(const uint8_t *bytes, size_t count) {
    uint8_t bits;
    llada_model *model = open_weights((span){bytes, count}, &bits);
    if (!model) return;
    if (bits & 0x20) save_again(model);
    exercise(model);
}

/* Options, the config's text, a NUL; a safetensors file. */
void fuzz_fp8(const uint8_t *bytes, size_t count) {
    span input = {bytes, count};
    uint8_t bits = take_u8(&input);
    span config = take_text(&input);
    write_own("config.json", &config, 1);
    write_weights(&input, bits, !(bits & 0x20));
    llada_model *model = open_own("", bits);
    if (model) exercise(model);
}

/* Options, config.json, a NUL, generation_config.json if there is more. */
void fuzz_config(const uint8_t *bytes, size_t count) {
    static bool ready;
    if (!ready) write_base(false);
    ready = true;
    span input = {bytes, count};
    uint8_t bits = take_u8(&input);
    span config = take_text(&input);
    write_own("config.json", &config, 1);
    if (input.count)
        write_own("generation_config.json", &input, 1);
    else
        remove_own("generation_config.json");
    llada_model *model = open_own("", bits);
    if (model) exercise(model);
}

/* Options, which also say which of the files are there; the index. The tensors are in a.safetensors, b.safetensors. */
void fuzz_shard_index(const uint8_t *bytes, size_t count) {
    static uint8_t there = 0xFF;
    span input = {bytes, count};
    uint8_t bits = take_u8(&input), files = take_u8(&input);
    if (there == 0xFF) write_base_file("config.json", "Tests/fuzz/base/config.json");
    if (files != there) {
        static const char *const names[] = {"a.safetensors", "b.safetensors", "model.safetensors"};
        static const char *const headers[] = {"Tests/fuzz/base/header_a.json", "Tests/fuzz/base/header_b.json",
                                              "Tests/fuzz/base/header.json"};
        for (int i = 0; i < 3; i++)
            if (files >> i & 1)
                remove_own(names[i]);
            else
                write_base_tensors(names[i], headers[i]);
        there = files;
    }
    write_own("model.safetensors.index.json", &input, 1);
    llada_model *model = open_own("", bits);
    if (model) exercise(model);
}

/*
 * Options; the amount of filling in units of 64 bytes; the file. Bit 5: of two files, with the length of the first and
 * the filling of the second before them. Bit 6: the folder is opened.
 */
void fuzz_gguf(const uint8_t *bytes, size_t count) {
    static const char *const names[] = {"model.gguf", "m-00001-of-00002.gguf", "m-00002-of-00002.gguf"};
    span input = {bytes, count};
    uint8_t bits = take_u8(&input);
    size_t fill = (size_t)take_u16(&input) * 64;
    for (int i = 0; i < 3; i++) remove_own(names[i]);
    bool split = bits & 0x20;
    if (split) {
        size_t length = take_u16(&input), other = (size_t)take_u16(&input) * 64;
        span first = take(&input, length);
        write_own(names[1], (span[]){first, filling(fill, false)}, 2);
        write_own(names[2], (span[]){input, filling(other, false)}, 2);
    } else
        write_own(names[0], (span[]){input, filling(fill, false)}, 2);
    llada_model *model = open_own(bits & 0x40 ? "" : split ? names[1] : names[0], bits);
    if (!model) return;
    exercise_text(model, (span){(const uint8_t *)"a b\xC3\xA4<|mask|> 12", 16});
    exercise(model);
}
