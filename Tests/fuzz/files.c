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

void fuzz_safetensors(const uint8_t *bytes, size_t count) {
    static bool ready;
    if (!ready) write_base_file("config.json", "Tests/fuzz/base/config.json");
    ready = true;
    span input = {bytes, count};
    uint8_t bits = take_u8(&input);
    write_weights(&input, bits, false);
    llada_model *model = open_own("", bits);
    if (model) exercise(model);
}

/* Options; filling and header as of a file that llada_model_save wrote. */
void fuzz_packed(const uint8_t *bytes, size_t count) { fuzz_safetensors(bytes, count); }

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

/* Options; the amount of filling in units of 64 bytes; the file. */
void fuzz_gguf(const uint8_t *bytes, size_t count) {
    span input = {bytes, count};
    uint8_t bits = take_u8(&input);
    size_t fill = (size_t)take_u16(&input) * 64;
    write_own("model.gguf", (span[]){input, filling(fill, false)}, 2);
    llada_model *model = open_own(bits & 0x40 ? "" : "model.gguf", bits);
    if (!model) return;
    exercise_text(model, (span){(const uint8_t *)"a b\xC3\xA4<|mask|> 12", 16});
    exercise(model);
}
