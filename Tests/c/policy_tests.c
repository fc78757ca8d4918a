/* Policies: ranges and ages. */
#include "decoders.h"

#include <math.h>

static void policy_out_of_range(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_policy p;
    static const llada_preset presets[] = {-1, 8, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++)
        CHECK_REFUSED(llada_policy_init(&p, sizeof p, presets[i], &error), LLADA_ERROR_INVALID_ARGUMENT);

    static const struct {
        size_t field;
        int32_t value;
    } whole[] = {
        {offsetof(llada_policy, kind), 3},
        {offsetof(llada_policy, kind), -1},
        {offsetof(llada_policy, steps), 0},
        {offsetof(llada_policy, steps), -1},
        {offsetof(llada_policy, minimal_topk), 0},
        {offsetof(llada_policy, minimal_topk), INT32_MIN},
        {offsetof(llada_policy, max_post_steps), -1},
        {offsetof(llada_policy, num_to_transfer), -1},
        {offsetof(llada_policy, mbe_window), 0},
        {offsetof(llada_policy, mbe_window), -5},
        {offsetof(llada_policy, mbe_rounds), -1},
        {offsetof(llada_policy, top_k), -1},
        {offsetof(llada_policy, max_steps_per_block), 0},
        {offsetof(llada_policy, variant), -1},
        {offsetof(llada_policy, variant), 2},
        {offsetof(llada_policy, refresh_changed), -1},
        {offsetof(llada_policy, refresh_every), -1},
        {offsetof(llada_policy, refresh_exact), 2},
        {offsetof(llada_policy, refresh_exact), -1},
    };
    static const struct {
        size_t field;
        float value;
    } real[] = {
        {offsetof(llada_policy, threshold), NAN},        {offsetof(llada_policy, editing_threshold), NAN},
        {offsetof(llada_policy, penalty_lambda), NAN},   {offsetof(llada_policy, penalty_lambda), INFINITY},
        {offsetof(llada_policy, temperature), NAN},      {offsetof(llada_policy, temperature), -1},
        {offsetof(llada_policy, temperature), INFINITY}, {offsetof(llada_policy, top_p), NAN},
        {offsetof(llada_policy, top_p), -0.5f},          {offsetof(llada_policy, refresh_below), NAN},
        {offsetof(llada_policy, refresh_below), -0.1f},
    };
    for (int kind = 0; kind < 2; kind++) {
        for (size_t i = 0; i < sizeof whole / sizeof *whole + sizeof real / sizeof *real; i++) {
            CHECK_OK(llada_policy_init(&p, sizeof p, kind ? LLADA_PRESET_SPEEDY : LLADA_PRESET_LOW_CONFIDENCE, &error));
            size_t r = i - sizeof whole / sizeof *whole;
            size_t field = i < sizeof whole / sizeof *whole ? whole[i].field : real[r].field;
            memcpy((char *)&p + field,
                   i < sizeof whole / sizeof *whole ? (const void *)&whole[i].value : &real[r].value, 4);
            llada_decoder_options options;
            CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
            options.policy = &p;
            llada_decoder *decoder = NULL;
            llada_status status = llada_decoder_create(model, prompt, PROMPT, &options, &decoder, NULL);
            /* What the other kind of policy alone reads may be passed over. */
            bool idle = kind ? field == offsetof(llada_policy, steps) || field == offsetof(llada_policy, minimal_topk)
                             : field != offsetof(llada_policy, kind) && field != offsetof(llada_policy, threshold) &&
                                   field != offsetof(llada_policy, steps) &&
                                   field < offsetof(llada_policy, temperature) &&
                                   field != offsetof(llada_policy, minimal_topk);
            if (status != LLADA_ERROR_INVALID_ARGUMENT && !(idle && status == LLADA_OK))
                failed(__FILE__, __LINE__, "policy kind %d, field at %zu, case %zu: %s", kind, field, i,
                       llada_status_name(status));
            llada_decoder_free(decoder);
        }
    }
    llada_model_free(model);
}

static void ages_of_policy(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    static const age ages[AGE_COUNT] = AGES(llada_policy, kind);
    for (size_t i = 0; i < AGE_COUNT; i++) {
        struct {
            llada_policy p;
            unsigned char tail[16];
        } s;
        memset(&s, ages[i].tail, sizeof s);
        CHECK_OK(llada_policy_init(&s.p, sizeof s.p, LLADA_PRESET_SPEEDY, &error));
        if (ages[i].size) s.p.struct_size = ages[i].size;
        llada_decoder_options o;
        CHECK_OK(llada_decoder_options_init(&o, sizeof o, &error));
        o.policy = &s.p;
        llada_decoder *decoder = NULL;
        CHECK_REFUSED(llada_decoder_create(model, prompt, PROMPT, &o, &decoder, &error),
                      ages[i].welcome ? LLADA_OK : LLADA_ERROR_INVALID_ARGUMENT);
        llada_decoder_free(decoder);
    }
    llada_model_free(model);
}

/* A decoder has the policy it was made with, or that of its fork; get_policy fills as much as there is. */
static void policy_of_a_decoder(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_LOW_CONFIDENCE, GEN), *fork = NULL;
    llada_policy given, policy;
    CHECK_OK(llada_policy_init(&given, sizeof given, LLADA_PRESET_QUALITY_MBE, &error));
    given.seed = 77;
    given.penalty_lambda = 0.5f;
    CHECK_OK(llada_decoder_fork(decoder, &given, &fork, &error));
    memset(&policy, 0, sizeof policy);
    policy.struct_size = sizeof policy;
    CHECK_OK(llada_decoder_get_policy(fork, &policy, &error));
    CHECK(!memcmp(&policy, &given, sizeof policy));
    CHECK_OK(llada_policy_init(&given, sizeof given, LLADA_PRESET_LOW_CONFIDENCE, &error));
    CHECK_OK(llada_decoder_get_policy(decoder, &policy, &error));
    CHECK(!memcmp(&policy, &given, sizeof policy));

    memset(&policy, 0xA5, sizeof policy);
    policy.struct_size = offsetof(llada_policy, steps);
    CHECK_OK(llada_decoder_get_policy(decoder, &policy, &error));
    CHECK(policy.threshold == given.threshold && (uint32_t)policy.steps == 0xA5A5A5A5u);
    policy.struct_size = 0;
    CHECK_REFUSED(llada_decoder_get_policy(decoder, &policy, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_get_policy(decoder, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_decoder_free(fork);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"policies out of range", policy_out_of_range},
        {"struct_size of llada_policy", ages_of_policy},
        {"the policy of a decoder", policy_of_a_decoder},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
