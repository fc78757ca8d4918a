/*
 * rule.c - a decoding rule of one's own: which masks to fill is decided here, 20 lines of C, at every step.
 *
 *     rule [-m model] ["question"]
 *
 * The rule fills masks for as long as their confidences multiply to more than one half, and at least one: so many that
 * it is likelier than not that all are right. Below it, for comparison, S mode, which edits as well.
 */
#include <llada.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef EXAMPLE_MODEL
#define EXAMPLE_MODEL "."
#endif

enum { MOST = 1024 };

static llada_error error = LLADA_ERROR_INIT;

static void must(llada_status status, const char *what) {
    if (status == LLADA_OK) return;
    fprintf(stderr, "rule: %s: %s: %s\n", what, llada_status_name(status), error.message);
    exit(1);
}

static int surest_first(const void *a, const void *b) {
    const llada_edit *one = a, *other = b;
    if (one->confidence != other->confidence) return one->confidence > other->confidence ? -1 : 1;
    return one->position < other->position ? -1 : 1;
}

/* Called at every step, when the policy has made its proposal; what is set here takes its place. */
static int together_likely(llada_decoder *decoder, void *user) {
    const double least = *(const double *)user;
    llada_active active = LLADA_ACTIVE_INIT;
    llada_edit edits[MOST];
    size_t masks = 0, chosen = 0;
    if (llada_decoder_active(decoder, &active, NULL) != LLADA_OK || active.count > MOST) return 1;
    for (int32_t i = 0; i < active.count; i++)
        if (active.states[i] == LLADA_POSITION_MASKED && !active.locked[i])
            edits[masks++] = (llada_edit){.position = active.first + i,
                                          .token = active.predictions[i],
                                          .confidence = active.confidences[i],
                                          .reason = LLADA_REASON_HOST,
                                          .kind = LLADA_EDIT_WRITE};
    qsort(edits, masks, sizeof *edits, surest_first);
    for (double likely = 1; chosen < masks; chosen++) {
        likely *= (double)edits[chosen].confidence;
        if (chosen > 0 && likely <= least) break;
    }
    return llada_decoder_set_proposal(decoder, edits, chosen, NULL) != LLADA_OK; /* non-zero stops the run */
}

static void answer(const llada_model *model, const char *question, llada_preset preset, llada_rule rule, void *user) {
    llada_chat_message message = {"user", question};
    int32_t prompt[MOST], output[MOST];
    size_t prompt_count = 0, count = 0, length = 0;
    char text[8192];
    must(llada_chat_tokenize(model, &message, 1, NULL, prompt, MOST, &prompt_count, &error), "tokenize");

    llada_policy policy;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    must(llada_policy_init(&policy, sizeof policy, preset, &error), "policy_init");
    must(llada_decoder_options_init(&options, sizeof options, &error), "options_init");
    options.policy = &policy; /* with a rule, it still says when a block is done */
    options.gen_length = 96;
    must(llada_decoder_create(model, prompt, prompt_count, &options, &decoder, &error), "create");
    must(llada_decoder_set_rule(decoder, rule, user, &error), "set_rule");
    must(llada_decoder_run(decoder, NULL, NULL, &error), "run");
    must(llada_decoder_output(decoder, output, MOST, &count, &error), "output");
    must(llada_detokenize(model, output, count, LLADA_TEXT_SKIP_CONTROL, text, sizeof text, &length, &error),
         "detokenize");
    must(llada_decoder_get_state(decoder, &state, &error), "get_state");
    printf("%.*s\n    %zu tokens in %lld forwards, %lld edits\n", (int)length, text, count, (long long)state.forwards,
           (long long)state.edits);
    llada_decoder_free(decoder);
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
            return fprintf(stderr, "usage: rule [-m model] [\"question\"]\n"), 2;
    }
    llada_model *model = NULL;
    double least = 0.5;
    must(llada_model_open(path, NULL, &model, &error), path);
    printf("%s\n", question);
    answer(model, question, LLADA_PRESET_LOW_CONFIDENCE, together_likely, &least);
    answer(model, question, LLADA_PRESET_SPEEDY, NULL, NULL);
    llada_model_free(model);
    return fflush(stdout) != 0;
}
