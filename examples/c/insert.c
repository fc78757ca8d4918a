/*
 * insert.c - a rule that opens a text by one place, and what moves then.
 *
 *     insert [-m model] ["question"]
 *
 * Once eight tokens are written, the rule puts a mask in before the last one of them. The text behind it moves back,
 * and the model decides what the place is for. After each step the block is printed if anything was put in or taken
 * out, by the rule or, with LLaDA2.2, by the model itself; at the end, the answer.
 */
#include <llada.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef EXAMPLE_MODEL
#define EXAMPLE_MODEL "."
#endif

enum { MOST = 1024, WRITTEN = 8 };

static llada_error error = LLADA_ERROR_INIT;

static void must(llada_status status, const char *what) {
    if (status == LLADA_OK) return;
    fprintf(stderr, "insert: %s: %s: %s\n", what, llada_status_name(status), error.message);
    exit(1);
}

typedef struct own {
    const llada_model *model;
    int32_t mask;
    bool is_open; /* the rule has done what it is for */
} own;

static void print(const own *mine, const int32_t *tokens, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char text[256];
        size_t length = 0;
        if (tokens[i] == mine->mask)
            fputs("▒", stdout);
        else if (llada_detokenize(mine->model, tokens + i, 1, LLADA_TEXT_SKIP_CONTROL, text, sizeof text, &length,
                                  NULL) == LLADA_OK)
            fwrite(text, 1, length, stdout);
    }
    putchar('\n');
}

/* Called at every step, when the policy has made its proposal; what is set here takes its place. */
static int open_once(llada_decoder *decoder, void *user) {
    own *mine = user;
    llada_active active = LLADA_ACTIVE_INIT;
    if (llada_decoder_active(decoder, &active, NULL) != LLADA_OK) return 1;
    int32_t written = 0, last = -1;
    for (int32_t i = 0; i < active.count; i++)
        if (active.states[i] == LLADA_POSITION_DRAFT && !active.locked[i]) {
            written++;
            last = active.first + i;
        }
    if (mine->is_open || written < WRITTEN) return 0; /* as the policy says */
    mine->is_open = true;
    const llada_edit edit = {.position = last, .token = mine->mask, .kind = LLADA_EDIT_INSERT};
    return llada_decoder_set_proposal(decoder, &edit, 1, NULL) != LLADA_OK; /* non-zero stops the run */
}

/* Called after every step. */
static int show_moves(const llada_decoder *decoder, void *user) {
    const own *mine = user;
    const llada_event *events = NULL;
    llada_active active = LLADA_ACTIVE_INIT;
    size_t count = 0;
    int moves = 0;
    if (llada_decoder_events(decoder, &events, &count, NULL) != LLADA_OK) return 1;
    for (size_t i = 0; i < count; i++) {
        const llada_event *event = events + i;
        if (event->kind != LLADA_EVENT_INSERT && event->kind != LLADA_EVENT_DELETE) continue;
        printf("%s at %d, what is behind it to %d moves:\n", event->kind == LLADA_EVENT_INSERT ? "put in" : "taken out",
               event->position, event->last);
        moves++;
    }
    if (moves > 0 && llada_decoder_active(decoder, &active, NULL) == LLADA_OK)
        print(mine, active.tokens, (size_t)active.count);
    return 0;
}

int main(int argc, char **argv) {
    const char *path = getenv("LLADA_MODEL") ? getenv("LLADA_MODEL") : EXAMPLE_MODEL;
    llada_chat_message message = {"user", "What is 347 plus 586?"};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-m") && i + 1 < argc)
            path = argv[++i];
        else if (*argv[i] != '-')
            message.content = argv[i];
        else
            return fprintf(stderr, "usage: insert [-m model] [\"question\"]\n"), 2;
    }
    llada_model *model = NULL;
    llada_decoder *decoder = NULL;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    llada_decoder_options options;
    int32_t prompt[MOST], output[MOST];
    size_t prompt_count = 0, count = 0;
    must(llada_model_open(path, NULL, &model, &error), path);
    must(llada_model_get_info(model, &info, &error), "get_info");
    must(llada_chat_tokenize(model, &message, 1, NULL, prompt, MOST, &prompt_count, &error), "tokenize");
    must(llada_decoder_options_init(&options, sizeof options, &error), "options_init");
    options.gen_length = 64;
    must(llada_decoder_create(model, prompt, prompt_count, &options, &decoder, &error), "create");

    own mine = {model, info.mask_token_id, false};
    must(llada_decoder_set_rule(decoder, open_once, &mine, &error), "set_rule");
    must(llada_decoder_run(decoder, show_moves, &mine, &error), "run");
    must(llada_decoder_output(decoder, output, MOST, &count, &error), "output");
    printf("the answer:\n");
    print(&mine, output, count);
    llada_decoder_free(decoder);
    llada_model_free(model);
    return fflush(stdout) != 0;
}
