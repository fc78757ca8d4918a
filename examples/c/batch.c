/*
 * batch.c - several questions at a time: one forward serves them all, and what their prompts have in common is read
 * once.
 *
 *     batch [-m model] [-n in-flight] ["question" ...]
 */
#include <llada.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef EXAMPLE_MODEL
#define EXAMPLE_MODEL "."
#endif

enum { MOST = 64, TOKENS = 1024 };

static llada_error error = LLADA_ERROR_INIT;

static void must(llada_status status, const char *what) {
    if (status == LLADA_OK) return;
    fprintf(stderr, "batch: %s: %s: %s\n", what, llada_status_name(status), error.message);
    exit(1);
}

typedef struct {
    const llada_model *model;
    const char *questions[MOST];
    llada_decoder *decoders[MOST];
    size_t count;
    long long tokens, forwards;
} batch;

/* Called for each decoder after each of its steps: here those that have ended are of interest. */
static int after_step(const llada_decoder *decoder, void *user) {
    batch *b = user;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    int32_t tokens[TOKENS];
    char text[8 * TOKENS];
    size_t count = 0, length = 0, n = 0;
    must(llada_decoder_get_state(decoder, &state, &error), "get_state");
    if (state.phase != LLADA_PHASE_FINISHED) return 0;
    while (b->decoders[n] != decoder) n++;
    must(llada_decoder_output(decoder, tokens, TOKENS, &count, &error), "output");
    must(llada_detokenize(b->model, tokens, count, LLADA_TEXT_SKIP_CONTROL, text, sizeof text, &length, &error),
         "detokenize");
    printf("%s\n    %.*s\n    %zu tokens in %lld forwards; %lld positions computed, %lld reused\n", b->questions[n],
           (int)length, text, count, (long long)state.forwards, (long long)state.computed_positions,
           (long long)state.reused_positions);
    b->tokens += (long long)count;
    b->forwards += (long long)state.forwards;
    return 0;
}

int main(int argc, char **argv) {
    static const char *const some[] = {
        "Olga starts with 11 coins. She gets 5 bags of 5 coins. Olga gives away 5. How many coins are there now?",
        "What is 17 plus 25?",
        "What is 638 plus 4613?",
        "Olga starts with 11 coins. She gets 5 bags of 5 coins. Olga gives away 7. How many coins are there now?",
        "Give JSON with keys name, age and pet. Ann is 31 years old and has a cat.",
    };
    const char *path = getenv("LLADA_MODEL") ? getenv("LLADA_MODEL") : EXAMPLE_MODEL;
    size_t in_flight = 2;
    static batch b;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-m") && i + 1 < argc)
            path = argv[++i];
        else if (!strcmp(argv[i], "-n") && i + 1 < argc)
            in_flight = (size_t)strtoul(argv[++i], NULL, 10);
        else if (*argv[i] != '-' && b.count < MOST)
            b.questions[b.count++] = argv[i];
        else
            return fprintf(stderr, "usage: batch [-m model] [-n in-flight] [\"question\" ...]   (at most %d)\n", MOST),
                   2;
    }
    if (b.count == 0)
        while (b.count < sizeof some / sizeof *some) b.questions[b.count] = some[b.count], b.count++;

    llada_model *model = NULL;
    llada_prefix_cache *cache = NULL;
    must(llada_model_open(path, NULL, &model, &error), path);
    must(llada_prefix_cache_create(model, (uint64_t)1 << 30, &cache, &error), "prefix_cache_create");
    b.model = model;

    llada_policy policy;
    llada_decoder_options options;
    must(llada_policy_init(&policy, sizeof policy, LLADA_PRESET_SPEEDY, &error), "policy_init");
    must(llada_decoder_options_init(&options, sizeof options, &error), "decoder_options_init");
    options.policy = &policy;
    options.prefix_cache = cache;
    for (size_t n = 0; n < b.count; n++) {
        llada_chat_message message = {"user", b.questions[n]};
        int32_t prompt[TOKENS];
        size_t count = 0;
        must(llada_chat_tokenize(model, &message, 1, NULL, prompt, TOKENS, &count, &error), "chat_tokenize");
        must(llada_decoder_create(model, prompt, count, &options, &b.decoders[n], &error), "decoder_create");
    }

    must(llada_decoders_run(b.decoders, b.count, in_flight, after_step, &b, &error), "decoders_run");
    printf("\n%zu answers, %.2f tokens per forward\n", b.count, (double)b.tokens / (double)b.forwards);
    for (size_t n = 0; n < b.count; n++) llada_decoder_free(b.decoders[n]);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
    return fflush(stdout) != 0;
}
