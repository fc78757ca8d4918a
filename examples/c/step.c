/*
 * step.c - forward, propose and apply by hand: look at every step, then interfere, and see how the model reacts.
 *
 *     step [-m model] ["question"]
 *
 * The policy is S mode, the canvas one or two blocks. Three times the host takes the pen:
 *   step 1  set_proposal: of what the policy wants to write, only the surest position is let through;
 *   step 2  ban: the most likely token of the first masked position is forbidden there;
 *   step 3  set_token: a finished-looking token is overwritten with its runner-up. Will the model change it back?
 */
#include <llada.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef EXAMPLE_MODEL
#define EXAMPLE_MODEL "."
#endif

enum { CANDIDATES = 3 };

static llada_error error = LLADA_ERROR_INIT;
static int32_t end_token; /* after the first one, more of them are no news */

static void must(llada_status status, const char *what) {
    if (status == LLADA_OK) return;
    fprintf(stderr, "step: %s: %s: %s\n", what, llada_status_name(status), error.message);
    exit(1);
}

/* A token as a quoted word; one that is no text of its own (half a character, say) as its number. */
static const char *word(const llada_model *model, int32_t token, int32_t mask) {
    static char words[4][96]; /* so that one printf can show several */
    static unsigned turn;
    char *w = words[turn++ % 4], text[64];
    size_t length = 0;
    if (token == mask) return "▒";
    bool good = llada_detokenize(model, &token, 1, 0, text, sizeof text - 1, &length, NULL) == LLADA_OK;
    text[good ? length : 0] = 0;
    if (!good || strstr(text, "\xEF\xBF\xBD"))
        snprintf(w, sizeof words[0], "<%d>", (int)token);
    else
        snprintf(w, sizeof words[0], "\"%s\"", text);
    for (char *c = w; *c; c++)
        if ((unsigned char)*c < 0x20) *c = '~';
    return w;
}

/* printf pads by bytes: the width that makes `text` take 14 characters. */
static int column(const char *text) {
    int width = 14;
    for (; *text; text++) width += ((unsigned char)*text & 0xC0) == 0x80;
    return width;
}

static void show_forward(const llada_model *model, const llada_decoder *decoder, int32_t mask) {
    llada_active active = LLADA_ACTIVE_INIT;
    must(llada_decoder_active(decoder, &active, &error), "active");
    printf("  %4s  %-14s %-14s %6s   %s\n", "at", "now", "predicted", "sure", "candidates");
    int calm = 0, ends = 0;
    for (int32_t i = 0; i < active.count; i++) {
        int32_t now = active.tokens[i], next = active.predictions[i];
        if (active.states[i] == LLADA_POSITION_PROMPT) continue;
        if (next == now && active.confidences[i] > 0.9f) {
            calm++;
            continue;
        }
        if (i > 0 && next == end_token && active.predictions[i - 1] == end_token) {
            ends++;
            continue;
        }
        int32_t at = active.first + i;
        llada_candidate candidates[CANDIDATES];
        size_t found = 0;
        must(llada_decoder_candidates(decoder, at, candidates, CANDIDATES, &found, &error), "candidates");
        const char *now_word = word(model, now, mask), *next_word = word(model, next, mask);
        printf("  %4d  %-*s %-*s %6.3f  ", (int)at, column(now_word), now_word, column(next_word), next_word,
               (double)active.confidences[i]);
        for (size_t k = 0; k < found; k++)
            printf(" %s %.3f", word(model, candidates[k].token, mask), (double)candidates[k].probability);
        putchar('\n');
    }
    if (ends) printf("  and %d more %s\n", ends, word(model, end_token, mask));
    if (calm) printf("  and %d that the model would leave as they are\n", calm);
}

static void show_events(const llada_model *model, const llada_decoder *decoder, int32_t mask) {
    static const char *const reasons[] = {"over the threshold",       "the surest", "edit",
                                          "edit after the last mask", "block edit", "ours"};
    const llada_event *events = NULL;
    size_t count = 0;
    must(llada_decoder_events(decoder, &events, &count, &error), "events");
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && events[i].new_token == end_token && events[i - 1].new_token == end_token) continue;
        printf("  at %d: %s → %s  (%s)\n", (int)events[i].position, word(model, events[i].old_token, mask),
               word(model, events[i].new_token, mask),
               events[i].reason >= 0 && events[i].reason <= 5 ? reasons[events[i].reason] : "?");
    }
    if (count == 0) puts("  nothing changes");
}

/* 1. The policy proposed; let only its surest edit through. This is how a decoding rule of one's own begins. */
static void keep_the_surest(const llada_model *model, llada_decoder *decoder, int32_t mask) {
    const llada_edit *edits = NULL;
    size_t count = 0, best = 0;
    must(llada_decoder_proposal(decoder, &edits, &count, &error), "proposal");
    if (count < 2) return;
    for (size_t i = 1; i < count; i++)
        if (edits[i].confidence > edits[best].confidence) best = i;
    llada_edit surest = edits[best]; /* a copy: the view ends with the next call */
    must(llada_decoder_set_proposal(decoder, &surest, 1, &error), "set_proposal");
    printf("* set_proposal: of %zu edits only %s at %d\n", count, word(model, surest.token, mask),
           (int)surest.position);
}

/* 2. Forbid what the model would write first. Predictions are made anew at once, without another forward. */
static void ban_the_favourite(const llada_model *model, llada_decoder *decoder, int32_t mask) {
    llada_active active = LLADA_ACTIVE_INIT;
    int32_t i = 0;
    must(llada_decoder_active(decoder, &active, &error), "active");
    while (i < active.count && active.states[i] != LLADA_POSITION_MASKED) i++;
    if (i == active.count) return;
    int32_t position = active.first + i, favourite = active.predictions[i];
    must(llada_decoder_ban(decoder, favourite, position, true, &error), "ban");
    must(llada_decoder_active(decoder, &active, &error), "active"); /* the view ended with the ban */
    printf("* ban: %s at %d; the model falls back on %s\n", word(model, favourite, mask), (int)position,
           word(model, active.predictions[i], mask));
}

/* 3. Overwrite the first token the model wrote with its second choice. */
static int32_t overwrite_with_the_runner_up(const llada_model *model, llada_decoder *decoder, int32_t mask) {
    const int32_t *canvas = NULL;
    const llada_position_state *states = NULL;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    must(llada_decoder_get_state(decoder, &state, &error), "get_state");
    must(llada_decoder_canvas(decoder, &canvas, &states, NULL, &error), "canvas");
    for (int32_t at = state.active_first; at < state.active_first + state.active_count; at++) {
        if (states[at] != LLADA_POSITION_DRAFT) continue;
        llada_candidate two[2];
        size_t found = 0;
        must(llada_decoder_candidates(decoder, at, two, 2, &found, &error), "candidates");
        int32_t was = canvas[at], becomes = two[two[0].token == was].token;
        must(llada_decoder_set_token(decoder, at, becomes, &error), "set_token");
        printf("* set_token: %s at %d becomes %s\n", word(model, was, mask), (int)at, word(model, becomes, mask));
        return at;
    }
    return -1;
}

int main(int argc, char **argv) {
    const char *path = getenv("LLADA_MODEL") ? getenv("LLADA_MODEL") : EXAMPLE_MODEL;
    const char *question = "What is 17 plus 25?";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-m") && i + 1 < argc)
            path = argv[++i];
        else if (*argv[i] != '-')
            question = argv[i];
        else
            return fprintf(stderr, "usage: step [-m model] [\"question\"]\n"), 2;
    }

    llada_model *model = NULL;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    must(llada_model_open(path, NULL, &model, &error), path);
    must(llada_model_get_info(model, &info, &error), "get_info");
    int32_t mask = info.mask_token_id;
    end_token = info.eos_token_id;

    llada_chat_message message = {"user", question};
    int32_t prompt[1024];
    size_t prompt_count = 0;
    must(info.has_chat_template
             ? llada_chat_tokenize(model, &message, 1, NULL, prompt, 1024, &prompt_count, &error)
             : llada_tokenize(model, question, strlen(question), 0, prompt, 1024, &prompt_count, &error),
         "tokenize");

    llada_policy policy;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    must(llada_policy_init(&policy, sizeof policy, LLADA_PRESET_SPEEDY, &error), "policy_init");
    must(llada_decoder_options_init(&options, sizeof options, &error), "decoder_options_init");
    options.policy = &policy;
    /* To the end of the block after the one in which the prompt ends. */
    options.gen_length = 2 * options.block_length - (int32_t)prompt_count % options.block_length;
    must(llada_decoder_create(model, prompt, prompt_count, &options, &decoder, &error), "create");

    printf("%s\n", question);
    int32_t overwritten = -1;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    for (int step = 1;; step++) {
        must(llada_decoder_get_state(decoder, &state, &error), "get_state");
        if (state.phase == LLADA_PHASE_FINISHED) break;
        printf("\nstep %d, positions %d to %d\n", step, (int)state.active_first,
               (int)(state.active_first + state.active_count - 1));
        if (step == 3) overwritten = overwrite_with_the_runner_up(model, decoder, mask);
        must(llada_decoder_forward(decoder, &error), "forward");
        show_forward(model, decoder, mask);
        if (step == 2) ban_the_favourite(model, decoder, mask);
        must(llada_decoder_propose(decoder, &error), "propose");
        if (step == 1) keep_the_surest(model, decoder, mask);
        must(llada_decoder_apply(decoder, &error), "apply");
        show_events(model, decoder, mask);
    }

    int32_t output[256];
    size_t count = 0, length = 0;
    char text[4096];
    must(llada_decoder_output(decoder, output, 256, &count, &error), "output");
    must(llada_detokenize(model, output, count, LLADA_TEXT_SKIP_CONTROL, text, sizeof text, &length, &error),
         "detokenize");
    printf("\n%.*s\n%lld forwards, %lld edits", (int)length, text, (long long)state.forwards, (long long)state.edits);
    if (overwritten >= 0) {
        const int32_t *canvas = NULL;
        must(llada_decoder_canvas(decoder, &canvas, NULL, NULL, &error), "canvas");
        printf("; at %d, where we wrote, stands %s", (int)overwritten, word(model, canvas[overwritten], mask));
    }
    putchar('\n');
    llada_decoder_free(decoder);
    llada_model_free(model);
    return fflush(stdout) != 0;
}
