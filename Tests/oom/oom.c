/*
 * oom.c - the library while allocations fail.
 *
 * A scenario is a sequence of calls. It runs once without failures, to learn how many allocations there are and what
 * the results are; then again for the first allocation, the second, and so on: that one fails, or that one and all
 * after it. Each call must succeed or be refused for want of memory; a call that was refused is made again with memory,
 * and must succeed then. In the end the results are the same, and everything is freed.
 *
 * oom [short | name...]: `short` takes a few n of some scenarios; a name, those that begin so. OOM_GGUF is a GGUF file,
 * OOM_WIDE a folder with a vocabulary of real size; without them their scenarios are left out.
 */
#include "allocations.h"
#include "harness.h"
#include "reserve_in_use.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- What a series is about ------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    void (*prepare)(void);
    void (*run)(void);
    bool starts_cold; /* also in processes in which the library has not done anything yet */
    bool is_quick;    /* also in `short` */
} scenario;

/* What the processes of a series tell the program. */
static struct tally {
    long allocations; /* of a run without failures */
    long injected, n;
    char last_call[64];
    int failures;
    unsigned long long digest;
} *tally;

static bool is_short;             /* a few n of the quick scenarios */
static unsigned long long digest; /* of the results of the run at work */
static llada_error error;

static void note(const void *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) digest = (digest ^ ((const unsigned char *)bytes)[i]) * 0x100000001B3;
}

#define FAILED(...) (failed(__FILE__, __LINE__, __VA_ARGS__), tally->failures++)

/* Whether the call has succeeded. */
static bool judge(llada_status status, const char *call) {
    if (status == LLADA_OK) {
        if (error.status != LLADA_OK) FAILED("n = %ld, %s: succeeds, but fills the error", tally->n, call);
        return true;
    }
    if (status != LLADA_ERROR_OUT_OF_MEMORY || !allocations_failed())
        FAILED("n = %ld, %s: %s: %s", tally->n, call, llada_status_name(status), error.message);
    if (error.status != status || !*error.message) FAILED("n = %ld, %s: the error is not filled", tally->n, call);
    error = (llada_error)LLADA_ERROR_INIT;
    return false;
}

static bool tried(llada_status status, const char *call) {
    allocations_disarm();
    return judge(status, call);
}

static void begin_call(const char *call) {
    snprintf(tally->last_call, sizeof tally->last_call, "%s", call);
    allocations_arm();
}

/* Makes a call while allocations fail; if it is refused, makes it again with memory. */
#define CALL(call)                                                                                     \
    do {                                                                                               \
        begin_call(#call);                                                                             \
        if (!tried((call), #call)) {                                                                   \
            allocations_plan(FAIL_NONE, 0);                                                            \
            if (!tried((call), #call " again")) FAILED("n = %ld, %s: refused again", tally->n, #call); \
        }                                                                                              \
    } while (0)

/* Frees while allocations fail. */
#define FREE(call)            \
    do {                      \
        begin_call(#call);    \
        call;                 \
        allocations_disarm(); \
    } while (0)

/* ---- Scenarios -------------------------------------------------------------------------------------------------- */

enum { ROOM = 1 << 20, LONG = 1 << 17 };

static llada_model *model;
static llada_prefix_cache *cache;
static char *text;       /* [ROOM] */
static int32_t *tokens;  /* [ROOM] */
static char *long_text;  /* [LONG] */
static const char *path; /* of the model that `model_at` opens */
static int32_t threads = 1;

static llada_model_options options_of(llada_dtype dtype) {
    llada_model_options options;
    llada_model_options_init(&options, sizeof options, NULL);
    options.threads = threads;
    options.dtype = dtype;
    options.blas = LLADA_BLAS_OFF;
    return options;
}

static void prepare_room(void) {
    if (text) return;
    text = malloc(ROOM);
    tokens = malloc(ROOM * sizeof *tokens);
    long_text = malloc(LONG);
    static const char words[] = "It was 17 plus 25, na\xC3\xAFve e\xCC\x81t\xC3\xA9 \xE4\xBD\xA0\xE5\xA5\xBD  ok?\n";
    for (size_t i = 0; i < LONG; i++) long_text[i] = words[i % (sizeof words - 1)];
    make_own_folder();
}

static void prepare_model(void) {
    prepare_room();
    llada_model_options options = options_of(LLADA_DTYPE_AUTO);
    if (llada_model_open(text_model, &options, &model, &error)) FAILED("%s: %s", text_model, error.message);
}

static void prepare_cache(void) {
    prepare_model();
    llada_prefix_cache_create(model, 1 << 26, &cache, NULL);
}

static void open_and_free(llada_dtype dtype) {
    llada_model *opened = NULL;
    llada_model_options options = options_of(dtype);
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    CALL(llada_model_open(path, &options, &opened, &error));
    CALL(llada_model_get_info(opened, &info, &error));
    note(&info, sizeof info);
    FREE(llada_model_free(opened));
}

static void prepare_folder(void) {
    prepare_room();
    path = text_model;
}

static void prepare_packed(void) {
    static char folder[300];
    llada_model *unpacked = NULL;
    llada_model_options options = options_of(LLADA_DTYPE_INT8);
    prepare_room();
    snprintf(folder, sizeof folder, "%s", inside("packed"));
    if (llada_model_open(text_model, &options, &unpacked, &error) ||
        llada_model_save(unpacked, folder, NULL, NULL, &error))
        FAILED("%s: %s", folder, error.message);
    llada_model_free(unpacked);
    path = folder;
}

static void prepare_gguf(void) {
    prepare_room();
    path = getenv("OOM_GGUF");
}

static void prepare_wide(void) {
    prepare_room();
    path = getenv("OOM_WIDE");
}

static void opening(void) { open_and_free(LLADA_DTYPE_AUTO); }
static void opening_to_pack(void) { open_and_free(LLADA_DTYPE_INT8); }

static void opening_with_threads(void) {
    threads = 2;
    open_and_free(LLADA_DTYPE_INT8);
    threads = 1;
}

static void opening_unmapped(void) {
    llada_model *opened = NULL;
    llada_model_options options = options_of(LLADA_DTYPE_AUTO);
    options.use_mmap = false;
    CALL(llada_model_open(path, &options, &opened, &error));
    FREE(llada_model_free(opened));
}

static void describing(void) {
    size_t count = 0;
    CALL(llada_model_describe(path, text, ROOM, &count, &error));
    note(text, count);
}

static void prepare_to_save(void) {
    prepare_model();
    llada_model_free(model);
    llada_model_options options = options_of(LLADA_DTYPE_INT8);
    llada_model_open(text_model, &options, &model, NULL);
}

static void saving_a_model(void) {
    char command[400];
    const char *folder = inside("saved");
    CALL(llada_model_save(model, folder, NULL, NULL, &error));
    snprintf(command, sizeof command, "%s/model.safetensors", folder);
    struct stat status;
    if (stat(command, &status)) FAILED("n = %ld: nothing was saved", tally->n);
    note(&status.st_size, sizeof status.st_size);
    static const char *const names[] = {"model.safetensors", "config.json",           "generation_config.json",
                                        "tokenizer.json",    "tokenizer_config.json", "chat_template.jinja"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(command, sizeof command, "%s/%s", folder, names[i]);
        unlink(command);
    }
    if (rmdir(folder)) FAILED("n = %ld: something is left in the folder", tally->n);
}

static void tokenize(const char *words, size_t length) {
    size_t count = 0;
    CALL(llada_tokenize(model, words, length, LLADA_TEXT_CONTROL, tokens, ROOM, &count, &error));
    note(tokens, count * sizeof *tokens);
    size_t bytes = 0;
    CALL(llada_detokenize(model, tokens, count, 0, text, ROOM, &bytes, &error));
    note(text, bytes);
}

static void short_text(void) { tokenize(long_text, 100); }
static void much_text(void) { tokenize(long_text, LONG); }

static void text_in_parts(void) {
    const llada_text_part parts[] = {{"<|startoftext|>", 15, true}, {long_text, 2000, false}, {"<|mask|>", 8, false}};
    size_t count = 0;
    CALL(llada_tokenize_parts(model, parts, 3, tokens, ROOM, &count, &error));
    note(tokens, count * sizeof *tokens);
}

static void chat(size_t length) {
    char end = long_text[length];
    long_text[length] = 0;
    const llada_chat_message messages[] = {
        {"system", "Be brief."}, {"user", long_text}, {"assistant", "42"}, {"user", "Why?"}};
    size_t count = 0;
    CALL(llada_chat_tokenize(model, messages, 4, NULL, tokens, ROOM, &count, &error));
    note(tokens, count * sizeof *tokens);
    long_text[length] = end;
    CALL(llada_chat_template(model, NULL, text, ROOM, &count, &error));
    note(text, count);
    CALL(llada_chat_variables(model, text, ROOM, &count, &error));
    note(text, count);
}

static void short_chat(void) { chat(50); }
static void long_chat(void) { chat(LONG - 1); }

static void chat_in_json(void) {
    static const char start[] = "[{\"role\": \"user\", \"content\": \"", end[] = "\"}]";
    size_t length = sizeof start - 1, count = 0;
    memcpy(text, start, length);
    for (size_t i = 0; i < 100000; i++) text[length++] = long_text[i] == '\n' ? ' ' : long_text[i];
    memcpy(text + length, end, sizeof end - 1);
    CALL(llada_chat_tokenize_json(model, text, length + sizeof end - 1, NULL, tokens, ROOM, &count, &error));
    note(tokens, count * sizeof *tokens);
}

/* ---- Decoders */

enum { PROMPT = 21, GEN = 64, BLOCK = 16 };

static llada_decoder *create(llada_preset preset, llada_prefix_cache *shared, int variant) {
    int32_t prompt[PROMPT];
    llada_policy policy;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    for (int i = 0; i < PROMPT; i++) prompt[i] = (i < 16 ? i * 7 : i * 7 + variant) % 900 + 5;
    llada_policy_init(&policy, sizeof policy, preset, NULL);
    llada_decoder_options_init(&options, sizeof options, NULL);
    options.block_length = BLOCK;
    options.gen_length = GEN;
    options.eos_early_stop = false;
    options.policy = &policy;
    options.prefix_cache = shared;
    CALL(llada_decoder_create(model, prompt, PROMPT, &options, &decoder, &error));
    NEED(decoder);
    return decoder;
}

static void note_output(llada_decoder *decoder) {
    size_t count = 0;
    CALL(llada_decoder_output(decoder, tokens, ROOM, &count, &error));
    note(tokens, count * sizeof *tokens);
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    CALL(llada_decoder_get_state(decoder, &state, &error));
    note(&state.forwards, sizeof state.forwards);
}

static bool is_finished(const llada_decoder *decoder) {
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    llada_decoder_get_state(decoder, &state, NULL);
    return state.phase == LLADA_PHASE_FINISHED;
}

static void look(llada_decoder *decoder) {
    const int32_t *canvas;
    const llada_position_state *states;
    const llada_event *events;
    llada_active active = LLADA_ACTIVE_INIT;
    llada_candidate candidates[8];
    size_t count = 0;
    CALL(llada_decoder_canvas(decoder, &canvas, &states, &count, &error));
    note(canvas, count * sizeof *canvas);
    CALL(llada_decoder_events(decoder, &events, &count, &error));
    CALL(llada_decoder_active(decoder, &active, &error));
    const float *logits;
    if (active.count == 0) return;
    CALL(llada_decoder_candidates(decoder, active.first, candidates, 8, &count, &error));
    note(candidates, count * sizeof *candidates);
    CALL(llada_decoder_logits(decoder, active.first, &logits, &count, &error));
    note(logits, count * sizeof *logits);
}

static void stepping(void) {
    llada_decoder *decoder = create(LLADA_PRESET_QUALITY_MBE, NULL, 0);
    for (int steps = 0; !is_finished(decoder) && steps < 1000; steps++) {
        const llada_edit *edits;
        size_t count = 0;
        CALL(llada_decoder_forward(decoder, &error));
        if (steps == 1) look(decoder);
        if (steps == 2) CALL(llada_decoder_ban(decoder, 77, -1, true, &error));
        if (steps == 3) CALL(llada_decoder_ban(decoder, 78, PROMPT + 3, true, &error));
        CALL(llada_decoder_propose(decoder, &error));
        CALL(llada_decoder_proposal(decoder, &edits, &count, &error));
        if (steps == 2) CALL(llada_decoder_set_proposal(decoder, edits, count, &error));
        CALL(llada_decoder_apply(decoder, &error));
        if (steps == 3) {
            CALL(llada_decoder_set_token(decoder, PROMPT + 1, 55, &error));
            CALL(llada_decoder_lock(decoder, PROMPT + 1, true, &error));
        }
    }
    note_output(decoder);
    FREE(llada_decoder_free(decoder));
}

static int drop_last(llada_decoder *decoder, void *user) {
    const llada_edit *edits = NULL;
    size_t count = 0;
    llada_error inner = LLADA_ERROR_INIT;
    (void)user;
    /* A rule that is refused stops the step, which the program then takes again. */
    if (llada_decoder_proposal(decoder, &edits, &count, &inner)) return 1;
    return llada_decoder_set_proposal(decoder, edits, count > 1 ? count - 1 : count, &inner) != LLADA_OK;
}

static void running(void) {
    llada_decoder *decoder = create(LLADA_PRESET_QUALITY, NULL, 0);
    CALL(llada_decoder_set_rule(decoder, drop_last, NULL, &error));
    begin_call("llada_decoder_run");
    llada_status status = llada_decoder_run(decoder, NULL, NULL, &error);
    allocations_disarm();
    if (status == LLADA_ERROR_STOPPED && allocations_failed()) {
        error = (llada_error)LLADA_ERROR_INIT;
    } else {
        judge(status, "llada_decoder_run");
    }
    if (status) {
        allocations_plan(FAIL_NONE, 0);
        CALL(llada_decoder_run(decoder, NULL, NULL, &error));
    }
    note_output(decoder);
    FREE(llada_decoder_free(decoder));
}

static void running_with_threads(void) {
    llada_decoder *decoder = create(LLADA_PRESET_SPEEDY, NULL, 0);
    CALL(llada_decoder_run(decoder, NULL, NULL, &error));
    note_output(decoder);
    FREE(llada_decoder_free(decoder));
}

static void prepare_threads(void) {
    prepare_room();
    llada_model_options options = options_of(LLADA_DTYPE_AUTO);
    options.threads = 3;
    if (llada_model_open(text_model, &options, &model, &error)) FAILED("%s: %s", text_model, error.message);
}

static void batch(void) {
    enum { MANY = 4 };
    llada_decoder *all[MANY], *working[MANY];
    for (int i = 0; i < MANY; i++) all[i] = create((llada_preset)i, NULL, i);
    for (int steps = 0; steps < 3; steps++) CALL(llada_decoders_step(all, MANY, &error));
    for (;;) {
        size_t count = 0;
        for (int i = 0; i < MANY; i++)
            if (!is_finished(all[i])) working[count++] = all[i];
        if (count == 0) break;
        CALL(llada_decoders_run(working, count, 3, NULL, NULL, &error));
    }
    for (int i = 0; i < MANY; i++) {
        note_output(all[i]);
        FREE(llada_decoder_free(all[i]));
    }
}

static void forking(void) {
    llada_decoder *decoder = create(LLADA_PRESET_QUALITY, NULL, 0), *fork = NULL;
    CALL(llada_decoder_run_block(decoder, NULL, NULL, &error));
    CALL(llada_decoder_step(decoder, &error));
    CALL(llada_decoder_fork(decoder, NULL, &fork, &error));
    CALL(llada_decoder_run(fork, NULL, NULL, &error));
    CALL(llada_decoder_step(decoder, &error));
    CALL(llada_decoder_truncate(decoder, BLOCK, &error));
    CALL(llada_decoder_run(decoder, NULL, NULL, &error));
    note_output(decoder);
    note_output(fork);
    FREE(llada_decoder_free(decoder));
    FREE(llada_decoder_free(fork));
}

static void snapshots(void) {
    llada_decoder *decoder = create(LLADA_PRESET_QUALITY, NULL, 0), *restored = NULL;
    size_t count = 0;
    CALL(llada_decoder_run_block(decoder, NULL, NULL, &error));
    CALL(llada_decoder_step(decoder, &error));
    for (int pages = 0; pages < 2; pages++) {
        CALL(llada_decoder_save(decoder, pages, NULL, NULL, text, ROOM, &count, &error));
        CALL(llada_decoder_restore(model, NULL, text, count, NULL, NULL, &restored, &error));
        CALL(llada_decoder_run(restored, NULL, NULL, &error));
        note_output(restored);
        FREE(llada_decoder_free(restored));
        const char *file = inside("decoder.snapshot");
        CALL(llada_decoder_save_file(decoder, pages, file, NULL, NULL, &error));
        CALL(llada_decoder_restore_file(model, NULL, file, NULL, NULL, &restored, &error));
        note_output(restored);
        FREE(llada_decoder_free(restored));
        unlink(file);
    }
    FREE(llada_decoder_free(decoder));
}

static void prefix_caches(void) {
    llada_prefix_cache *shared = NULL, *loaded = NULL;
    size_t added = 0;
    CALL(llada_prefix_cache_create(model, 1 << 22, &shared, &error));
    for (int i = 0; i < 3; i++) {
        llada_decoder *decoder = create(LLADA_PRESET_QUALITY, shared, i);
        CALL(llada_decoder_run(decoder, NULL, NULL, &error));
        note_output(decoder);
        FREE(llada_decoder_free(decoder));
    }
    CALL(llada_prefix_cache_pin(shared, tokens, BLOCK, BLOCK, true, NULL, &error));
    const char *file = inside("prefixes");
    CALL(llada_prefix_cache_save(shared, file, NULL, NULL, &error));
    CALL(llada_prefix_cache_create(model, 1 << 22, &loaded, &error));
    CALL(llada_prefix_cache_load(loaded, file, NULL, NULL, &added, &error));
    unlink(file);
    FREE(llada_prefix_cache_free(shared));
    FREE(llada_prefix_cache_free(loaded));
}

static void watching(void) {
    llada_decoder *decoder = create(LLADA_PRESET_QUALITY, NULL, 0);
    size_t count = 0;
    static float weights[1 << 16];
    CALL(llada_decoder_watch(decoder, LLADA_WATCH_ROUTING | LLADA_WATCH_HIDDEN, &error));
    CALL(llada_decoder_disable_expert(decoder, 3, 1, true, &error));
    CALL(llada_decoder_step(decoder, &error));
    CALL(llada_decoder_forward(decoder, &error));
    CALL(llada_decoder_routing(decoder, 1, tokens, weights, 1 << 16, &count, &error));
    note(tokens, count * sizeof *tokens);
    CALL(llada_decoder_hidden(decoder, 2, weights, 1 << 16, &count, &error));
    note(weights, count * sizeof *weights);
    CALL(llada_decoder_expert_usage(decoder, (uint64_t *)(void *)text, ROOM / 8, &count, &error));
    FREE(llada_decoder_free(decoder));
}

static void scoring(void) {
    enum { LENGTH = 50, VERSIONS = 3 };
    static float log_probs[LENGTH * VERSIONS], confidences[LENGTH * VERSIONS], entropies[LENGTH * VERSIONS];
    static int32_t clean[LENGTH], noisy[LENGTH * VERSIONS], predictions[LENGTH * VERSIONS];
    for (int i = 0; i < LENGTH; i++) clean[i] = i * 11 % 900 + 5;
    for (int i = 0; i < LENGTH * VERSIONS; i++) noisy[i] = i % LENGTH > 9 && i % 3 == 0 ? 984 : clean[i % LENGTH];
    const llada_noised_sequence sequences[2] = {{clean, LENGTH, noisy, VERSIONS - 1, 10},
                                                {clean, LENGTH, noisy, 1, 10}};
    size_t count = 0;
    CALL(llada_model_score(model, sequences, 2, NULL, log_probs, predictions, confidences, entropies, LENGTH * VERSIONS,
                           &count, &error));
    note(log_probs, sizeof log_probs);
    note(predictions, sizeof predictions);
    CALL(llada_model_logits(model, clean, LENGTH, 16, NULL, NULL, (float *)(void *)text, ROOM / 4, &count, &error));
    note(text, count * sizeof(float));
}

static void text_streams(void) {
    llada_decoder *decoder = create(LLADA_PRESET_QUALITY, NULL, 0);
    llada_text_stream *stream = NULL;
    llada_text words = LLADA_TEXT_INIT;
    CALL(llada_text_stream_create(model, 0, "_", &stream, &error));
    while (!is_finished(decoder)) {
        CALL(llada_decoder_step(decoder, &error));
        CALL(llada_text_stream_update(stream, decoder, &words, &error));
        note(words.settled, words.settled_count);
        note(words.draft, words.draft_count);
    }
    FREE(llada_text_stream_free(stream));
    CALL(llada_text_stream_create(model, 0, "_", &stream, &error));
    for (int i = 0; i < 20000; i++) tokens[i] = i % 900;
    CALL(llada_text_stream_push(stream, tokens, 20000, &words, &error));
    note(words.settled, words.settled_count);
    CALL(llada_text_stream_finish(stream, &words, &error));
    note(words.settled, words.settled_count);
    FREE(llada_text_stream_free(stream));
    FREE(llada_decoder_free(decoder));
}

/* Opens the text model as one with a canvas of a million positions. */
static void prepare_long(void) {
    static char folder[300];
    char from[1024], to[1024], config[8192];
    static const char *const files[] = {"model.safetensors", "tokenizer.json", "tokenizer_config.json"};
    prepare_room();
    snprintf(folder, sizeof folder, "%s", inside("long"));
    mkdir(folder, 0700);
    char here[512];
    if (!getcwd(here, sizeof here)) return;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(from, sizeof from, "%s/%s/%s", here, text_model, files[i]);
        snprintf(to, sizeof to, "%s/%s", folder, files[i]);
        if (symlink(from, to)) FAILED("%s cannot be linked", from);
    }
    snprintf(from, sizeof from, "%s/config.json", text_model);
    snprintf(to, sizeof to, "%s/config.json", folder);
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    NEED(in && out);
    size_t length = fread(config, 1, sizeof config - 1, in);
    config[length] = 0;
    char *number = strstr(config, "\"max_position_embeddings\": 4096");
    NEED(number);
    fwrite(config, 1, (size_t)(number - config), out);
    fputs("\"max_position_embeddings\": 1048576", out);
    fputs(number + strlen("\"max_position_embeddings\": 4096"), out);
    fclose(in);
    fclose(out);
    llada_model_options options = options_of(LLADA_DTYPE_AUTO);
    if (llada_model_open(folder, &options, &model, &error)) FAILED("%s: %s", folder, error.message);
}

static void long_canvas(void) {
    enum { MANY = 200000 };
    llada_decoder_options options;
    llada_decoder *decoder = NULL, *fork = NULL, *restored = NULL;
    size_t count = 0;
    int32_t *prompt = tokens + ROOM / 2;
    for (int i = 0; i < MANY; i++) prompt[i] = i % 900;
    llada_decoder_options_init(&options, sizeof options, NULL);
    options.gen_length = 100000;
    CALL(llada_decoder_create(model, prompt, MANY, &options, &decoder, &error));
    CALL(llada_decoder_set_token(decoder, MANY + 1, 7, &error));
    CALL(llada_decoder_fork(decoder, NULL, &fork, &error));
    CALL(llada_decoder_set_token(fork, MANY + 2, 7, &error));
    const char *file = inside("long.snapshot");
    CALL(llada_decoder_save_file(fork, true, file, NULL, NULL, &error));
    CALL(llada_decoder_restore_file(model, NULL, file, NULL, NULL, &restored, &error));
    unlink(file);
    CALL(llada_decoder_output(restored, tokens, ROOM / 2, &count, &error));
    note(tokens, count * sizeof *tokens);
    FREE(llada_decoder_free(fork));
    FREE(llada_decoder_free(restored));
    FREE(llada_decoder_free(decoder));
}

static const scenario scenarios[] = {
    {"open a folder", prepare_folder, opening, true, true},
    {"open and pack", prepare_folder, opening_to_pack, false, false},
    {"open with two threads", prepare_folder, opening_with_threads, false, false},
    {"open without mapping", prepare_folder, opening_unmapped, false, false},
    {"open a packed model", prepare_packed, opening, false, false},
    {"open GGUF", prepare_gguf, opening, true, false},
    {"open a wide vocabulary", prepare_wide, opening, false, false},
    {"describe a folder", prepare_folder, describing, true, false},
    {"describe GGUF", prepare_gguf, describing, true, false},
    {"save a model", prepare_to_save, saving_a_model, false, true},
    {"tokenize and back", prepare_model, short_text, true, true},
    {"tokenize and back, much", prepare_model, much_text, false, false},
    {"text in parts", prepare_model, text_in_parts, false, false},
    {"chat", prepare_model, short_chat, true, true},
    {"chat, long", prepare_model, long_chat, false, false},
    {"chat in JSON", prepare_model, chat_in_json, false, false},
    {"create, step, look, interfere", prepare_model, stepping, true, true},
    {"run with a rule", prepare_model, running, true, true},
    {"run with three threads", prepare_threads, running_with_threads, true, false},
    {"batch", prepare_model, batch, false, true},
    {"fork, truncate", prepare_model, forking, false, true},
    {"save, restore", prepare_model, snapshots, false, true},
    {"prefix cache", prepare_cache, prefix_caches, false, true},
    {"inside the model", prepare_model, watching, false, false},
    {"score, logits", prepare_model, scoring, true, true},
    {"text stream", prepare_model, text_streams, false, true},
    {"a canvas of 300,000", prepare_long, long_canvas, false, true},
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

/* ---- Series ----------------------------------------------------------------------------------------------------- */

static const scenario *at_work;

static void run_once(failure kind, long n) {
    tally->n = n;
    digest = 0xCBF29CE484222325;
    allocations_plan(kind, n);
    at_work->run();
    if (kind != FAIL_NONE && n <= tally->allocations) tally->injected++;
    if (kind == FAIL_NONE) {
        tally->allocations = allocations_counted();
        tally->digest = digest;
    } else if (digest != tally->digest) {
        FAILED("n = %ld: other results than without the failure", n);
    }
}

/* The n that are tried: all up to 100, then with growing gaps, about 45 for each doubling; `short`: 3 of them. */
static long next(long n) {
    const long gap = is_short ? n / 4 : n / 64;
    return n + (gap > 1 ? gap : 1);
}

typedef struct {
    long live, mapped;
    size_t reserve;
} held;

static held held_now(void) { return (held){allocations_live(), allocations_mapped(), reserve_in_use()}; }

static bool is_more(held now, held before) {
    return now.live > before.live || now.mapped > before.mapped || now.reserve > before.reserve;
}

/* All n in this process, from `first` on. */
static void warm(failure kind, long first) {
    at_work->prepare();
    error = (llada_error)LLADA_ERROR_INIT;
    run_once(FAIL_NONE, 0);
    run_once(FAIL_NONE, 0);
    run_once(FAIL_FROM_THEN_ON, 1 << 30);
    held before = held_now();
    for (long n = first; n <= tally->allocations; n = next(n)) {
        run_once(kind, n);
        held after = held_now();
        if (!is_more(after, before)) continue;
        /* What is made once and kept is no leak: it does not come again. */
        run_once(kind, n);
        held again = held_now();
        if (is_more(again, after))
            FAILED("n = %ld: leaks %ld blocks, %ld mapped bytes, %ld bytes of the reserve", n, again.live - after.live,
                   again.mapped - after.mapped, (long)again.reserve - (long)after.reserve);
        before = again;
    }
}

/* One n, the first thing that this process does with the library, but for `prepare`. */
static void cold(failure kind, long n) {
    at_work->prepare();
    error = (llada_error)LLADA_ERROR_INIT;
    run_once(kind, n);
    run_once(FAIL_FROM_THEN_ON, 1 << 30);
}

static void warm_one(failure kind, long n) {
    at_work->prepare();
    error = (llada_error)LLADA_ERROR_INIT;
    run_once(FAIL_NONE, 0);
    run_once(FAIL_NONE, 0);
    run_once(FAIL_FROM_THEN_ON, 1 << 30);
    run_once(kind, n);
}

/* Runs in a process of its own; false, with a line of why, if it died. */
static bool in_a_child(void (*run)(failure, long), failure kind, long n, const char *how) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* when the time of the test is over */
        run(kind, n);
        char command[300];
        snprintf(command, sizeof command, "rm -rf '%s'", own_folder);
        if (own_folder[0] && system(command)) tally->failures++;
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    failed(__FILE__, __LINE__, "%s, n = %ld of %ld: %s in %s", how, tally->n, tally->allocations,
           WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit", tally->last_call);
    tally->failures++;
    return false;
}

static void measure(failure kind, long n) {
    (void)kind, (void)n;
    at_work->prepare();
    error = (llada_error)LLADA_ERROR_INIT;
    run_once(FAIL_NONE, 0);
}

static void series(void) {
    at_work = test_argument;
    if (!is_short) alarm(3600);
    static const char *const names[] = {"", "one fails", "all fail from there"};
    int deaths = 0;
    const int most = getenv("OOM_DEATHS") ? atoi(getenv("OOM_DEATHS")) : 3;
    tally->injected = tally->failures = 0;
    for (failure kind = FAIL_ONCE; kind <= FAIL_FROM_THEN_ON; kind++) {
        long first = 1;
        while (!in_a_child(warm, kind, first, names[kind]) && ++deaths < most) first = tally->n + 1;
    }
    long allocations = tally->allocations, at_first = 0;
    if (at_work->starts_cold && !is_short && in_a_child(measure, FAIL_NONE, 0, "cold")) {
        at_first = tally->allocations;
        for (failure kind = FAIL_ONCE; kind <= FAIL_FROM_THEN_ON; kind++)
            for (long n = 1; n <= at_first; n += n / 12 + 1)
                if (!in_a_child(cold, kind, n, kind == FAIL_ONCE ? "cold, one fails" : "cold, all fail from there") &&
                    ++deaths >= most)
                    break;
    }
    remark("%ld allocations, %ld cold; %ld failures", allocations, at_first, tally->injected);
    if (tally->failures) failed(__FILE__, __LINE__, "%d failures", tally->failures);
}

/* Whether the caller asked for the scenario: for all, or by the beginning of its name. */
static bool is_asked_for(const scenario *s, int count, char **arguments) {
    if (is_short) return s->is_quick;
    for (int i = 1; i < count; i++)
        if (!strncmp(s->name, arguments[i], strlen(arguments[i]))) return true;
    return count <= 1;
}

int main(int count, char **arguments) {
    is_short = count > 1 && !strcmp(arguments[1], "short");
    setenv("TEXT_MODEL", "examples/models/tiny-2.1", 0);
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED) return 2;
    /* For a debugger: one n of the scenario that ONLY names, in this process. OOM_N=-7: all fail from the 7th on;
     * OOM_COLD: at once. */
    if (getenv("OOM_N")) {
        const long n = atol(getenv("OOM_N"));
        for (size_t i = 0; i < SCENARIOS && !at_work; i++)
            if (strstr(scenarios[i].name, getenv("ONLY"))) at_work = &scenarios[i];
        text_model = getenv("TEXT_MODEL");
        (getenv("OOM_COLD") ? cold : warm_one)(n < 0 ? FAIL_FROM_THEN_ON : FAIL_ONCE, n < 0 ? -n : n);
        return 0;
    }
    test tests[SCENARIOS];
    size_t chosen = 0;
    for (size_t i = 0; i < SCENARIOS; i++) {
        if (!is_asked_for(&scenarios[i], count, arguments)) continue;
        if (scenarios[i].prepare == prepare_gguf && !getenv("OOM_GGUF")) continue;
        if (scenarios[i].prepare == prepare_wide && !getenv("OOM_WIDE")) continue;
        tests[chosen++] = (test){scenarios[i].name, series, &scenarios[i]};
    }
    return run_tests(tests, chosen);
}
