/* Inside the model: buffers, refusals, and that what is watched adds up. */
#include "decoders.h"

enum { LAYERS = 3, DENSE = 1, EXPERTS = 16, CHOSEN = 4 }; /* gqa_group */

static void watching(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(2);
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    CHECK_OK(llada_model_get_info(model, &info, &error));
    CHECK(info.num_hidden_layers == LAYERS && info.first_k_dense_replace == DENSE);
    CHECK(info.num_experts == EXPERTS && info.num_experts_per_tok == CHOSEN);
    const size_t wide = (size_t)info.hidden_size * BLOCK;
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    CHECK_OK(llada_decoder_watch(decoder, LLADA_WATCH_ROUTING | LLADA_WATCH_HIDDEN, &error));
    uint64_t expected[LAYERS * EXPERTS] = {0}, counts[LAYERS * EXPERTS];
    float *states = malloc(LAYERS * wide * sizeof *states);
    NEED(states);
    size_t count = 0;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    while (llada_decoder_get_state(decoder, &state, &error) == LLADA_OK && state.phase != LLADA_PHASE_FINISHED) {
        CHECK_OK(llada_decoder_forward(decoder, &error));
        for (int32_t layer = DENSE; layer < LAYERS; layer++) {
            int32_t experts[BLOCK * CHOSEN];
            float weights[BLOCK * CHOSEN];
            CHECK_OK(llada_decoder_routing(decoder, layer, experts, weights, BLOCK * CHOSEN, &count, &error));
            CHECK_EQUAL(count, BLOCK * CHOSEN);
            for (int i = 0; i < BLOCK * CHOSEN; i++) {
                NEED(experts[i] >= 0 && experts[i] < EXPERTS);
                if (i % CHOSEN) CHECK(experts[i] > experts[i - 1]);
                CHECK(weights[i] > 0);
                expected[layer * EXPERTS + experts[i]]++;
            }
        }
        for (int32_t layer = 0; layer < LAYERS; layer++) {
            CHECK_OK(llada_decoder_hidden(decoder, layer, states + (size_t)layer * wide, wide, &count, &error));
            CHECK_EQUAL(count, wide);
            if (layer) CHECK(memcmp(states + (size_t)layer * wide, states, wide * sizeof *states));
        }
        CHECK_OK(llada_decoder_step(decoder, &error));
    }
    CHECK_OK(llada_decoder_expert_usage(decoder, counts, LAYERS * EXPERTS, &count, &error));
    CHECK_EQUAL(count, LAYERS * EXPERTS);
    CHECK(!memcmp(counts, expected, sizeof counts));
    int32_t watched[GEN], plain[GEN];
    CHECK_OK(llada_decoder_output(decoder, watched, GEN, &count, &error));
    llada_decoder *other = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    CHECK_EQUAL(run_out(other, plain, GEN), count);
    CHECK(!memcmp(watched, plain, count * sizeof *plain));
    free(states);
    llada_decoder_free(other);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

static void refusals(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    int32_t experts[BLOCK * CHOSEN];
    float weights[BLOCK * CHOSEN] = {0}, states[1] = {-5};
    uint64_t counts[LAYERS * EXPERTS];
    size_t count = 99;
    CHECK_REFUSED(llada_decoder_watch(decoder, 4, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_watch(NULL, 1, &error), LLADA_ERROR_INVALID_ARGUMENT);

    /* Not watched; watched, but no forward since; the wrong kind. */
    for (int time = 0; time < 2; time++) {
        CHECK_REFUSED(llada_decoder_routing(decoder, 1, experts, weights, BLOCK * CHOSEN, &count, &error),
                      LLADA_ERROR_STATE);
        CHECK_REFUSED(llada_decoder_hidden(decoder, 1, states, 1, &count, &error), LLADA_ERROR_STATE);
        if (time == 0)
            CHECK_REFUSED(llada_decoder_expert_usage(decoder, counts, LAYERS * EXPERTS, &count, &error),
                          LLADA_ERROR_STATE);
        CHECK_OK(llada_decoder_forward(decoder, &error));
        CHECK_OK(llada_decoder_watch(decoder, LLADA_WATCH_ROUTING, &error));
    }
    CHECK_OK(llada_decoder_forward(decoder, &error));
    CHECK_REFUSED(llada_decoder_hidden(decoder, 1, states, 1, &count, &error), LLADA_ERROR_STATE);

    /* Buffers. */
    count = 0;
    experts[0] = -5;
    weights[0] = -5;
    CHECK_REFUSED(llada_decoder_routing(decoder, 1, experts, weights, BLOCK * CHOSEN - 1, &count, &error),
                  LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK_EQUAL(count, BLOCK * CHOSEN);
    CHECK(experts[0] == -5 && weights[0] == -5);
    count = 0;
    CHECK_REFUSED(llada_decoder_routing(decoder, 1, NULL, NULL, 0, &count, &error), LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK_EQUAL(count, BLOCK * CHOSEN);
    CHECK_REFUSED(llada_decoder_routing(decoder, 1, NULL, weights, BLOCK * CHOSEN, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_routing(decoder, 1, experts, NULL, BLOCK * CHOSEN, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_routing(decoder, 1, experts, weights, BLOCK * CHOSEN, NULL, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_EQUAL(experts[0], -5);
    CHECK_REFUSED(llada_decoder_expert_usage(decoder, counts, LAYERS * EXPERTS - 1, &count, &error),
                  LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK_EQUAL(count, LAYERS * EXPERTS);
    CHECK_REFUSED(llada_decoder_expert_usage(decoder, NULL, 1, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);

    /* Layers: the first one is dense. */
    for (int32_t layer = -1; layer <= LAYERS; layer++) {
        if (layer >= DENSE && layer < LAYERS) continue;
        CHECK_REFUSED(llada_decoder_routing(decoder, layer, experts, weights, BLOCK * CHOSEN, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_REFUSED(llada_decoder_disable_expert(decoder, 0, layer, true, &error), LLADA_ERROR_INVALID_ARGUMENT);
    }
    CHECK_OK(llada_decoder_watch(decoder, LLADA_WATCH_HIDDEN, &error));
    CHECK_OK(llada_decoder_forward(decoder, &error));
    CHECK_REFUSED(llada_decoder_hidden(decoder, -1, states, 1, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_hidden(decoder, LAYERS, states, 1, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_hidden(decoder, 0, states, 1, &count, &error), LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK(states[0] == -5 && count > 1);
    CHECK_REFUSED(llada_decoder_routing(decoder, 1, experts, weights, BLOCK * CHOSEN, &count, &error),
                  LLADA_ERROR_STATE);
    CHECK_OK(llada_decoder_watch(decoder, 0, &error));
    CHECK_REFUSED(llada_decoder_hidden(decoder, 0, states, 1, &count, &error), LLADA_ERROR_STATE);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* Never chosen any more, by forks neither; and at most so many that each position still finds enough. */
static void experts_switched_off(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN), *fork = NULL;
    CHECK_REFUSED(llada_decoder_disable_expert(decoder, -1, 1, true, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_disable_expert(decoder, EXPERTS, 1, true, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_disable_expert(NULL, 0, 1, true, &error), LLADA_ERROR_INVALID_ARGUMENT);
    bool off[EXPERTS] = {false};
    int refused = 0;
    for (int32_t expert = 0; expert < EXPERTS; expert++) {
        llada_status status = llada_decoder_disable_expert(decoder, expert, 2, true, NULL);
        off[expert] = status == LLADA_OK;
        if (status != LLADA_OK) CHECK_STATUS(status, LLADA_ERROR_INVALID_ARGUMENT), refused++;
    }
    CHECK(refused >= CHOSEN && refused < EXPERTS);
    CHECK_OK(llada_decoder_fork(decoder, NULL, &fork, &error));
    llada_decoder *both[] = {decoder, fork};
    for (int i = 0; i < 2; i++) CHECK_OK(llada_decoder_watch(both[i], LLADA_WATCH_ROUTING, &error));
    CHECK_OK(llada_decoders_run(both, 2, 0, NULL, NULL, &error));
    for (int i = 0; i < 2; i++) {
        uint64_t counts[LAYERS * EXPERTS];
        size_t count = 0;
        CHECK_OK(llada_decoder_expert_usage(both[i], counts, LAYERS * EXPERTS, &count, &error));
        for (int expert = 0; expert < EXPERTS; expert++) {
            CHECK_EQUAL(counts[expert], 0); /* dense */
            if (off[expert]) CHECK_EQUAL(counts[2 * EXPERTS + expert], 0);
        }
        llada_decoder_free(both[i]);
    }

    llada_prefix_cache *cache = NULL;
    llada_decoder_options options;
    CHECK_OK(llada_prefix_cache_create(model, 1 << 20, &cache, &error));
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    options.prefix_cache = cache;
    CHECK_OK(llada_decoder_create(model, prompt, PROMPT, &options, &decoder, &error));
    CHECK_REFUSED(llada_decoder_disable_expert(decoder, 0, 1, true, &error), LLADA_ERROR_STATE);
    llada_decoder_free(decoder);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"what is watched adds up, and changes nothing", watching},
        {"refusals", refusals},
        {"experts switched off", experts_switched_off},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
