/*
 * What the targets share. A target is a function of bytes: it makes of them what stands at one of the library's doors,
 * calls the library, and aborts if that did anything but what the header promises. Coverage-guided fuzzing calls it
 * with bytes of its own (libfuzzer.c), the tests with those of the corpus (replay.c).
 */
#ifndef FUZZ_H
#define FUZZ_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define LLADA_EXPERIMENTAL
#include <llada.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void target(const uint8_t *bytes, size_t count);

target fuzz_calls, fuzz_chat, fuzz_chat_template, fuzz_config, fuzz_fp8, fuzz_gguf, fuzz_packed, fuzz_prefix_cache,
    fuzz_safetensors, fuzz_shard_index, fuzz_snapshot, fuzz_text_stream, fuzz_tokenizer;

/* The target of a name; NULL if there is none. */
target *target_named(const char *name);

/* Ends the process with a line of what is wrong: a finding. */
_Noreturn void wrong(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define EXPECT(condition)                                              \
    do {                                                               \
        if (!(condition)) wrong(__FILE__, __LINE__, "%s", #condition); \
    } while (0)

/* ---- Bytes of an input, from the front -------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *bytes;
    size_t count;
} span;

/* Numbers are little-endian; behind the end, all are 0. */
uint8_t take_u8(span *input);
uint16_t take_u16(span *input);
uint32_t take_u32(span *input);
/* One of 0 ... below - 1. */
uint32_t take_below(span *input, uint32_t below);
/* The next `count` bytes, or as many as there are. */
span take(span *input, size_t count);
/* What stands before the next NUL, which is passed over; or the rest. */
span take_text(span *input);

/* ---- Files ------------------------------------------------------------------------------------------------------ */

/* A folder of this process in memory, made at the first call and taken away at exit. */
const char *own_folder(void);
/* The path of a name in it; the last eight that were asked for stay. */
const char *own_path(const char *name);
/* Writes a file into it: the parts, one after another. A file that has the same bytes already is not written. */
void write_own(const char *name, const span *parts, size_t count);
/* Forgets a file. */
void remove_own(const char *name);
/* A file of the repository, read once and kept. */
span read_base(const char *path);

/* Numbers for tensors that an input does not hold: finite whatever type they are taken for (F32, F16, BF16, F8_E4M3,
 * blocks of GGUF), and positive if asked for. Lives until the next call. */
span filling(size_t count, bool positive);

/* A safetensors file: the header's length, the header, data, and filling. */
void write_safetensors(const char *name, span header, span data, size_t fill, bool positive);

/* ---- Models ----------------------------------------------------------------------------------------------------- */

/* A file of Tests/fuzz/base, under a name in the folder; tensors of which it has a header. */
void write_base_file(const char *name, const char *path);
void write_base_tensors(const char *name, const char *header_path);
/* The config of Tests/fuzz/base and a model of a few kilobytes; `with_text`: and a tokenizer. */
void write_base(bool with_text);
/* The same, opened once and kept. */
llada_model *base_model(bool with_text);

/* Opening options of one byte: bits 0 to 2 are a dtype (7: AUTO, and it is stopped on the way), 3 is not to map, 4 is
 * keys and values in BF16. Bit 7: the checkpoint is described first. Targets have uses of their own for the others. */
llada_model_options options_of(uint8_t bits);

/* Describes and opens what stands in the folder, or in the file of it; NULL if it is refused. */
llada_model *open_own(const char *name, uint8_t bits);
/* Looks at a model from all sides, lets it decode, and frees it. */
void exercise(llada_model *model);
void exercise_text(const llada_model *model, span text);

/* ---- What has to hold ------------------------------------------------------------------------------------------- */

/* A refusal has the status that it returned and a message in UTF-8. Returns whether the call succeeded. */
bool check_status(llada_status status, llada_error *error);
bool is_utf8(const char *text, size_t count);
/* What the header says of a decoder's state, canvas and views. */
void check_decoder(const llada_model *model, const llada_decoder *decoder);
/* At most so many steps; returns the status of the run. */
llada_status run_bounded(llada_decoder *decoder, int steps, llada_error *error);

#endif
