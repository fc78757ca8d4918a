/*
 * Small stacks, as servers and coroutines give their threads: every function of the interface is called on a stack of
 * 64 KB. The stack is painted before, so that it shows afterwards how deep each went.
 */
#include "decoders.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

/* What the header promises: for all but documents that are nested as deep as may be, which are read by recursion. */
enum { STACK = 64 << 10, NESTED_STACK = 256 << 10, PAINT = 0xA5 };

typedef struct {
    void (*run)(void);
    size_t stack;
} group;

static llada_model *model, *text;
static llada_prefix_cache *cache;

/* ---- The functions, in groups ----------------------------------------------------------------------------------- */

static void opening(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    llada_model *own = NULL;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    static char json[1 << 16];
    int32_t ids[8];
    size_t count = 0;
    for (llada_dtype dtype = LLADA_DTYPE_AUTO; dtype <= LLADA_DTYPE_INT4; dtype++) {
        options.dtype = dtype;
        options.threads = 1 + dtype % 3;
        options.use_mmap = dtype % 3;
        CHECK_OK(llada_model_open(checkpoint(), &options, &own, &error));
        CHECK_OK(llada_model_get_info(own, &info, &error));
        CHECK_OK(llada_model_notes(own, json, sizeof json, &count, &error));
        CHECK_OK(llada_model_eos_token_ids(own, ids, 8, &count, &error));
        if (dtype > LLADA_DTYPE_F32) {
            char name[32];
            static int number;
            snprintf(name, sizeof name, "packed%d", number++);
            CHECK_OK(llada_model_save(own, inside(name), NULL, NULL, &error));
            llada_model_free(own);
            CHECK_OK(llada_model_open(inside(name), NULL, &own, &error));
        }
        llada_model_free(own);
    }
}

static void opening_with_text(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *own = NULL;
    CHECK_OK(llada_model_open(text_model, NULL, &own, &error));
    llada_model_free(own);
}

static void describing(void) {
    llada_error error = LLADA_ERROR_INIT;
    static char json[1 << 16];
    size_t count = 0;
    CHECK_OK(llada_model_describe(text_model, json, sizeof json, &count, &error));
}

static void refusing(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *own = NULL;
    static char path[PATH_MAX], json[1 << 16];
    size_t count = 0;
    memset(path, 'x', sizeof path - 1);
    CHECK_REFUSED(llada_model_open(path, NULL, &own, &error), LLADA_ERROR_IO);
    /* Files as deep as may be. */
    static char nested[1 << 12];
    for (int kind = 0; kind < 4; kind++) {
        const char *name = kind % 2 ? "tokenizer.json" : "config.json";
        const size_t levels = 126;
        char *end = nested;
        end += sprintf(end, "{\"a\":");
        for (size_t i = 0; i < levels; i++) end += sprintf(end, kind < 2 ? "[" : "{\"b\":");
        end += sprintf(end, "1");
        for (size_t i = 0; i < levels; i++) end += sprintf(end, kind < 2 ? "]" : "}");
        sprintf(end, "}");
        snprintf(path, sizeof path, "cp -r %s %s/deep%d", text_model, own_folder, kind);
        if (!system(path)) {
            FILE *file = fopen((snprintf(path, sizeof path, "%s/deep%d/%s", own_folder, kind, name), path), "wb");
            NEED(file);
            fputs(nested, file);
            fclose(file);
        }
        snprintf(path, sizeof path, "%s/deep%d", own_folder, kind);
        CHECK(llada_model_open(path, NULL, &own, &error) != LLADA_OK);
        error = (llada_error)LLADA_ERROR_INIT;
        CHECK_OK(llada_model_describe(path, json, sizeof json, &count, &error));
    }
}

static void reading_text(void) {
    llada_error error = LLADA_ERROR_INIT;
    static char words[1 << 14];
    static int32_t tokens[1 << 14];
    size_t count = 0, length = 0;
    for (size_t i = 0; i < sizeof words; i++) words[i] = "The quick 12345 \xC3\xA4\xE4\xBD\xA0 's\n"[i % 27];
    CHECK_OK(llada_tokenize(text, words, sizeof words, LLADA_TEXT_CONTROL, tokens, 1 << 14, &count, &error));
    CHECK_OK(llada_detokenize(text, tokens, count, 0, words, sizeof words, &length, &error));
    const llada_text_part parts[] = {{words, 100, true}, {words, 1000, false}};
    CHECK_OK(llada_tokenize_parts(text, parts, 2, tokens, 1 << 14, &count, &error));
}

static void chatting(void) {
    llada_error error = LLADA_ERROR_INIT;
    static int32_t tokens[1 << 14];
    static char json[1 << 14], variables[1 << 14];
    size_t count = 0;
    const llada_chat_message messages[] = {{"system", "Be kind."}, {"user", "What is 2 plus 2?"}};
    llada_chat_options options = LLADA_CHAT_OPTIONS_INIT;
    options.layout = LLADA_CHAT_LAYOUT_LLADA2;
    CHECK_OK(llada_chat_tokenize(text, messages, 2, &options, tokens, 1 << 14, &count, &error));
    char *end = json + sprintf(json, "[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"\","
                                     "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":");
    for (int i = 0; i < 110; i++) end += sprintf(end, "{\"a\":[");
    end += sprintf(end, "1");
    for (int i = 0; i < 110; i++) end += sprintf(end, "]}");
    sprintf(end, "}}]}]");
    /* Nested too deep, or not: the stack is enough to find out. */
    CHECK(llada_chat_tokenize_json(text, json, strlen(json), &options, tokens, 1 << 14, &count, &error) != LLADA_OK);
    error = (llada_error)LLADA_ERROR_INIT;
    end = json + sprintf(json, "[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"\","
                               "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":");
    for (int i = 0; i < 58; i++) end += sprintf(end, "{\"a\":[");
    end += sprintf(end, "1");
    for (int i = 0; i < 58; i++) end += sprintf(end, "]}");
    sprintf(end, "}}]}]");
    CHECK_OK(llada_chat_tokenize_json(text, json, strlen(json), &options, tokens, 1 << 14, &count, &error));
    options.tools = "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"a\":[1,2,{\"b\":null}]}}}]";
    CHECK_OK(llada_chat_tokenize(text, messages, 2, &options, tokens, 1 << 14, &count, &error));
    llada_chat_template(text, NULL, variables, sizeof variables, &count, NULL);
    CHECK_OK(llada_chat_variables(text, variables, sizeof variables, &count, &error));
}

static int rule(llada_decoder *decoder, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    const llada_edit *edits = NULL;
    const float *logits = NULL;
    llada_candidate candidates[8];
    size_t count = 0;
    (void)user;
    llada_active active = active_of(decoder);
    CHECK_OK(llada_decoder_proposal(decoder, &edits, &count, &error));
    CHECK_OK(llada_decoder_set_proposal(decoder, edits, count, &error));
    CHECK_OK(llada_decoder_candidates(decoder, active.first, candidates, 8, &count, &error));
    CHECK_OK(llada_decoder_logits(decoder, active.first, &logits, &count, &error));
    return 0;
}

static int look(const llada_decoder *decoder, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    const int32_t *numbers = NULL;
    const llada_position_state *states = NULL;
    const bool *locked = NULL;
    const llada_event *events = NULL;
    static float hidden[1 << 16];
    static uint64_t counts[1 << 12];
    static int32_t experts[1 << 12];
    static float weights[1 << 12];
    size_t count = 0;
    (void)user;
    state_of(decoder);
    CHECK_OK(llada_decoder_canvas(decoder, &numbers, &states, &count, &error));
    CHECK_OK(llada_decoder_locked(decoder, &locked, &count, &error));
    CHECK_OK(llada_decoder_events(decoder, &events, &count, &error));
    CHECK_OK(llada_decoder_step_map(decoder, &numbers, &count, &error));
    CHECK_OK(llada_decoder_routing(decoder, 1, experts, weights, 1 << 12, &count, &error));
    CHECK_OK(llada_decoder_hidden(decoder, 1, hidden, 1 << 16, &count, &error));
    CHECK_OK(llada_decoder_expert_usage(decoder, counts, 1 << 12, &count, &error));
    return 0;
}

static void decoding(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_policy policy;
    int32_t tokens[GEN];
    for (llada_preset preset = LLADA_PRESET_LOW_CONFIDENCE; preset <= LLADA_PRESET_QUALITY_MBE; preset++) {
        llada_decoder *decoder = make_decoder(model, preset, GEN), *fork = NULL;
        CHECK_OK(llada_decoder_watch(decoder, LLADA_WATCH_ROUTING | LLADA_WATCH_HIDDEN, &error));
        CHECK_OK(llada_decoder_set_rule(decoder, rule, NULL, &error));
        CHECK_OK(llada_decoder_step(decoder, &error));
        CHECK_OK(llada_decoder_set_rule(decoder, NULL, NULL, &error));
        CHECK_OK(llada_decoder_forward(decoder, &error));
        CHECK_OK(llada_decoder_propose(decoder, &error));
        CHECK_OK(llada_decoder_apply(decoder, &error));
        CHECK_OK(llada_decoder_run_block(decoder, look, NULL, &error));
        CHECK_OK(llada_decoder_fork(decoder, NULL, &fork, &error));
        CHECK_OK(llada_decoder_truncate(fork, 8, &error));
        CHECK_OK(llada_decoder_disable_expert(fork, 1, 1, true, &error));
        CHECK_OK(llada_decoder_lock(fork, 9, true, &error));
        CHECK_OK(llada_decoder_ban(fork, 3, 9, true, &error));
        CHECK_OK(llada_decoder_set_token(fork, 10, 5, &error));
        CHECK_OK(llada_decoder_mask(fork, 10, &error));
        llada_decoder_get_policy(fork, &policy, NULL);
        llada_decoder_run(fork, NULL, NULL, NULL);
        llada_decoder_cancel(fork);
        llada_decoder_free(fork);
        run_out(decoder, tokens, GEN);
        llada_decoder_free(decoder);
    }
}

static void many(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_decoder *all[MANY], *list[300];
    make_all(model, cache, all);
    CHECK_OK(llada_decoders_forward(all, MANY, &error));
    CHECK_OK(llada_decoders_step(all, MANY, &error));
    CHECK_OK(llada_decoders_run(all, MANY, 2, NULL, NULL, &error));
    free_all(all);
    for (int i = 0; i < 300; i++) list[i] = make_nth(model, NULL, i % MANY);
    CHECK_OK(llada_decoders_step(list, 300, &error));
    for (int i = 0; i < 300; i++) llada_decoder_free(list[i]);
}

static void keeping(void) {
    llada_error error = LLADA_ERROR_INIT;
    static char snapshot[1 << 20];
    size_t count = 0;
    llada_decoder *decoder = make_nth(model, cache, 1), *again = NULL;
    CHECK_OK(llada_decoder_run_block(decoder, NULL, NULL, &error));
    CHECK_OK(llada_decoder_save(decoder, true, NULL, NULL, snapshot, sizeof snapshot, &count, &error));
    CHECK_OK(llada_decoder_restore(model, cache, snapshot, count, NULL, NULL, &again, &error));
    llada_decoder_free(again);
    CHECK_OK(llada_decoder_save_file(decoder, true, inside("snapshot"), NULL, NULL, &error));
    CHECK_OK(llada_decoder_restore_file(model, NULL, inside("snapshot"), NULL, NULL, &again, &error));
    llada_decoder_free(again);
    CHECK_OK(llada_decoder_run(decoder, NULL, NULL, &error));
    llada_decoder_free(decoder);
    CHECK_OK(llada_prefix_cache_save(cache, inside("cache"), NULL, NULL, &error));
    info_of(cache);
    CHECK_OK(llada_prefix_cache_pin(cache, prompt, PROMPT, BLOCK, true, &count, &error));
    CHECK_OK(llada_prefix_cache_clear(cache, &error));
    CHECK_OK(llada_prefix_cache_load(cache, inside("cache"), NULL, NULL, &count, &error));
    llada_prefix_cache *other = make_cache(model, 1 << 16);
    llada_prefix_cache_free(other);
}

static void judging(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_score_options options;
    static float logits[PROMPT * VOCAB];
    float scores[4][2 * PROMPT];
    int32_t noisy[2 * PROMPT], predictions[2 * PROMPT];
    size_t count = 0;
    for (int i = 0; i < 2 * PROMPT; i++) noisy[i] = i % PROMPT < 2 ? prompt[i % PROMPT] : MASK;
    const llada_noised_sequence sequence = {prompt, PROMPT, noisy, 2, 2};
    CHECK_OK(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, logits, PROMPT * VOCAB, &count, &error));
    CHECK_OK(llada_score_options_init(&options, sizeof options, &error));
    options.block_length = BLOCK;
    CHECK_OK(llada_model_score(model, &sequence, 1, &options, scores[0], predictions, scores[1], scores[2], 2 * PROMPT,
                               &count, &error));
}

static void streaming(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_text_stream *stream = NULL;
    llada_text out = LLADA_TEXT_INIT;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    int32_t tokens[] = {10, 11, 12, 13};
    CHECK_OK(llada_text_stream_create(text, 0, "_", &stream, &error));
    CHECK_OK(llada_text_stream_push(stream, tokens, 4, &out, &error));
    CHECK_OK(llada_text_stream_finish(stream, &out, &error));
    llada_text_stream_free(stream);
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    CHECK_OK(llada_decoder_create(text, tokens, 4, &options, &decoder, &error));
    CHECK_OK(llada_decoder_step(decoder, &error));
    CHECK_OK(llada_text_stream_create(text, 0, "_", &stream, &error));
    CHECK_OK(llada_text_stream_update(stream, decoder, &out, &error));
    llada_text_stream_free(stream);
    llada_decoder_free(decoder);
}

/* ---- The stack -------------------------------------------------------------------------------------------------- */

static void *run(void *g) {
    ((const group *)g)->run();
    return NULL;
}

/* Returns how many bytes of its stack the group used. */
static size_t depth_of(group g) {
    const size_t size = g.stack, page = (size_t)sysconf(_SC_PAGESIZE);
    pthread_attr_t attributes;
    pthread_t thread;
    unsigned char *base = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(base != MAP_FAILED && !mprotect(base, page, PROT_NONE)); /* whoever goes deeper dies here */
    unsigned char *stack = base + page;
    memset(stack, PAINT, size);
    pthread_attr_init(&attributes);
    NEED(!pthread_attr_setstack(&attributes, stack, size));
    NEED(!pthread_create(&thread, &attributes, run, &g));
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    size_t clean = 0;
    while (clean < size && stack[clean] == PAINT) clean++;
    munmap(base, size + page);
    return size - clean;
}

static void a_group(void) {
    llada_error error = LLADA_ERROR_INIT;
    make_own_folder();
    model = open_model(2);
    cache = make_cache(model, 1 << 20);
    CHECK_OK(llada_model_open(text_model, NULL, &text, &error));
    remark("%zu KB", (depth_of(*(const group *)test_argument) + 1023) >> 10);
}

int main(void) {
    static const group groups[] = {
        {opening, STACK},      {opening_with_text, STACK}, {describing, STACK}, {refusing, NESTED_STACK},
        {reading_text, STACK}, {chatting, NESTED_STACK},   {decoding, STACK},   {many, STACK},
        {keeping, STACK},      {judging, STACK},           {streaming, STACK}};
    static const test tests[] = {
        {"a stack of 64 KB: opening, packing, saving", a_group, &groups[0]},
        {"a stack of 64 KB: opening with a tokenizer", a_group, &groups[1]},
        {"a stack of 64 KB: describing", a_group, &groups[2]},
        {"a stack of 256 KB: files nested deep", a_group, &groups[3]},
        {"a stack of 64 KB: text", a_group, &groups[4]},
        {"a stack of 256 KB: chat nested deep", a_group, &groups[5]},
        {"a stack of 64 KB: decoding and interfering", a_group, &groups[6]},
        {"a stack of 64 KB: many decoders", a_group, &groups[7]},
        {"a stack of 64 KB: snapshots and caches", a_group, &groups[8]},
        {"a stack of 64 KB: logits and scores", a_group, &groups[9]},
        {"a stack of 64 KB: text streams", a_group, &groups[10]},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
