/* Single calls of the target `calls`, with arguments from its input. */
#include "calls.h"

#include <unistd.h>

enum { MOST = 64 };

static llada_error failure = LLADA_ERROR_INIT;

/* A capacity that suits, or does not. */
static size_t capacity(span *input, size_t most) {
    uint8_t byte = take_u8(input);
    return byte < 128 ? most : byte % (most + 1);
}

/* Buffers that the library fills: `count` tells what is there, or what is needed. */
static void check_fill(llada_status status, size_t capacity, const size_t *count) {
    check_status(status, &failure);
    if (status == LLADA_OK) EXPECT(*count <= capacity);
    if (status == LLADA_ERROR_BUFFER_TOO_SMALL) EXPECT(*count > capacity);
}

void look(span *input, const llada_decoder *decoder, int model) {
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    EXPECT(llada_model_get_info(base_model(model), &info, NULL) == LLADA_OK);
    size_t count = 0, room;
    int32_t position = edge(input);
    switch (take_below(input, 8)) {
    case 0: {
        llada_candidate candidates[MOST];
        room = capacity(input, MOST);
        llada_status status = llada_decoder_candidates(decoder, position, candidates, room, &count, &failure);
        if (!check_status(status, &failure)) break;
        EXPECT(count <= room && count <= (size_t)info.vocab_size && (count || !room));
        for (size_t i = 0; i < count; i++) {
            EXPECT(candidates[i].token >= 0 && candidates[i].token < info.vocab_size);
            EXPECT(candidates[i].probability >= 0 && candidates[i].probability <= 1);
            EXPECT(i == 0 || candidates[i].logit <= candidates[i - 1].logit);
        }
        break;
    }
    case 1: {
        const float *logits = NULL;
        if (check_status(llada_decoder_logits(decoder, position, &logits, &count, &failure), &failure))
            EXPECT(count == (size_t)info.vocab_size && logits[0] <= 1e30f && logits[count - 1] >= -1e30f);
        break;
    }
    case 2: {
        int32_t tokens[MOST];
        room = capacity(input, MOST);
        check_fill(llada_decoder_output(decoder, tokens, room, &count, &failure), room, &count);
        break;
    }
    case 3: {
        int32_t experts[MOST];
        float weights[MOST];
        room = capacity(input, MOST);
        check_fill(llada_decoder_routing(decoder, position % 4, experts, weights, room, &count, &failure), room,
                   &count);
        break;
    }
    case 4: {
        static float states[1 << 12];
        room = capacity(input, sizeof states / sizeof *states);
        check_fill(llada_decoder_hidden(decoder, position % 4, states, room, &count, &failure), room, &count);
        break;
    }
    case 5: {
        uint64_t counts[MOST];
        room = capacity(input, MOST);
        check_fill(llada_decoder_expert_usage(decoder, counts, room, &count, &failure), room, &count);
        break;
    }
    case 6: {
        llada_policy policy;
        EXPECT(llada_policy_init(&policy, sizeof policy, LLADA_PRESET_SPEEDY, NULL) == LLADA_OK);
        EXPECT(llada_decoder_get_policy(decoder, &policy, NULL) == LLADA_OK);
        break;
    }
    default: check_decoder(base_model(model), decoder);
    }
}

void watch(span *input, llada_decoder *decoder) {
    uint8_t what = take_u8(input);
    check_status(llada_decoder_keep_candidates(decoder, what % 9 == 8 ? SIZE_MAX / what : what % 9, &failure),
                 &failure);
    if (what & 128)
        check_status(llada_decoder_watch(decoder, what & 64 ? what : what & 3, &failure), &failure);
    else
        check_status(llada_decoder_disable_expert(decoder, edge(input) % 6, edge(input) % 4, what & 1, &failure),
                     &failure);
}

void interfere(span *input, llada_decoder *decoder) {
    uint8_t what = take_u8(input);
    int32_t position = edge(input), token = edge(input);
    switch (what & 7) {
    case 0: {
        llada_edit edits[8];
        size_t count = take_below(input, 8);
        for (size_t i = 0; i < count; i++)
            edits[i] = (llada_edit){.position = what & 8 ? position + (int32_t)i : edge(input), .token = edge(input)};
        check_status(llada_decoder_set_proposal(decoder, edits, count, &failure), &failure);
        break;
    }
    case 1: check_status(llada_decoder_set_token(decoder, position, token, &failure), &failure); break;
    case 2: check_status(llada_decoder_mask(decoder, position, &failure), &failure); break;
    case 3: check_status(llada_decoder_lock(decoder, position, what & 8, &failure), &failure); break;
    case 4:
    case 5:
        check_status(llada_decoder_ban(decoder, token, what & 16 ? -1 : position, what & 8, &failure), &failure);
        break;
    case 6: check_status(llada_decoder_end_block(decoder, what >> 3 & 3, &failure), &failure); break;
    default: check_status(llada_decoder_set_token(decoder, position, token % 38, &failure), &failure);
    }
}

void try_forbidden(span *input, llada_decoder *decoder) {
    llada_decoder *fork = NULL;
    llada_status status;
    switch (take_below(input, 6)) {
    case 0: status = llada_decoder_step(decoder, &failure); break;
    case 1: status = llada_decoder_run(decoder, NULL, NULL, &failure); break;
    case 2: status = llada_decoder_truncate(decoder, 0, &failure); break;
    case 3: status = llada_decoders_step(&decoder, 1, &failure); break;
    case 4: status = llada_decoder_set_rule(decoder, NULL, NULL, &failure); break;
    default:
        /* Takes it as const, so it is allowed. */
        if (check_status(llada_decoder_fork(decoder, NULL, &fork, &failure), &failure)) llada_decoder_free(fork);
        return;
    }
    EXPECT(status == LLADA_ERROR_BUSY);
    check_status(status, &failure);
}

/* ---- Models ----------------------------------------------------------------------------------------------------- */

/* Stops when it has been called so often. */
static int count_down(double fraction, void *times) {
    EXPECT(fraction >= 0 && fraction <= 1);
    return --*(int *)times == 0;
}

static void score(span *input, llada_model *model) {
    int32_t tokens[16], noisy[32];
    float log_probs[64], confidences[64], entropies[64];
    int32_t predictions[64];
    llada_noised_sequence sequences[2];
    llada_score_options options;
    EXPECT(llada_score_options_init(&options, sizeof options, NULL) == LLADA_OK);
    options.block_length = edge(input);
    uint8_t bits = take_u8(input);
    int times = bits >> 5;
    options.everywhere = bits & 1;
    if (times) options.progress = count_down, options.progress_user = &times;
    size_t length = take_below(input, 16);
    for (size_t i = 0; i < length; i++) tokens[i] = edge(input);
    for (size_t i = 0; i < 2 * length; i++) noisy[i] = bits & 2 ? edge(input) : tokens[i % length];
    for (size_t i = 0; i < length && !(bits & 2); i += 2) noisy[i] = 39;
    sequences[0] = sequences[1] = (llada_noised_sequence){tokens, length, noisy, bits >> 2 & 1 ? 2 : 1, edge(input)};
    size_t room = capacity(input, 64), count = 0;
    check_fill(llada_model_score(model, sequences, 1 + (bits >> 3 & 1), &options, log_probs, predictions, confidences,
                                 bits & 16 ? entropies : NULL, room, &count, &failure),
               room, &count);
}

void use_model(span *input) {
    int which = (int)take_below(input, 2);
    llada_model *model = base_model(which);
    uint8_t what = take_u8(input);
    int32_t tokens[MOST];
    size_t count = 0, room = capacity(input, MOST);
    switch (what % 13) {
    case 12: {
        /* A name of a checkpoint that is not there: relative, and within the folder. */
        char path[40] = {0};
        span name = take(input, what & 64 ? 12 : 39);
        for (size_t i = 0; i < name.count; i++) path[i] = "abM/-_.0"[name.bytes[i] % 8];
        if (*path == '/' || strstr(path, "..")) *path = 'x';
        llada_model *other = NULL;
        EXPECT(!check_status(llada_model_open(path, NULL, &other, &failure), &failure) && !other);
        char text[MOST];
        check_fill(llada_model_describe(path, text, room, &count, &failure), room, &count);
        break;
    }
    case 8: {
        char text[512];
        check_fill(llada_model_notes(model, text, room, &count, &failure), room, &count);
        check_fill(llada_chat_variables(model, text, room, &count, &failure), room, &count);
        check_fill(llada_chat_template(model, what & 64 ? "x" : NULL, text, room, &count, &failure), room, &count);
        check_fill(llada_model_describe(own_folder(), text, room, &count, &failure), room, &count);
        break;
    }
    case 9: {
        static const char messages[] = "[{\"role\": \"user\", \"content\": \"a b\"}]";
        llada_chat_options options = LLADA_CHAT_OPTIONS_INIT;
        options.layout = what >> 6;
        options.struct_size = take_below(input, sizeof options + 1);
        check_fill(llada_chat_tokenize_json(model, messages, take_below(input, sizeof messages), &options, tokens, room,
                                            &count, &failure),
                   room, &count);
        break;
    }
    case 10: {
        /* Weights as stored cannot be saved: nothing is left where they would have been. */
        llada_status status = llada_model_save(model, own_path("saved"), NULL, NULL, &failure);
        EXPECT(status == LLADA_ERROR_INVALID_ARGUMENT);
        check_status(status, &failure);
        EXPECT(access(own_path("saved"), F_OK));
        break;
    }
    case 11: {
        llada_model_options options;
        llada_decoder_options other;
        llada_score_options third;
        size_t size = take_below(input, sizeof options + 1);
        memset(&options, 0xFF, sizeof options);
        check_status(llada_model_options_init(&options, size, &failure), &failure);
        check_status(llada_decoder_options_init(&other, size % (sizeof other + 1), &failure), &failure);
        check_status(llada_score_options_init(&third, size % (sizeof third + 1), &failure), &failure);
        llada_model_free(NULL);
        break;
    }
    case 0: {
        static float logits[1 << 14];
        size_t length = take_below(input, 24);
        for (size_t i = 0; i < length; i++) tokens[i] = edge(input);
        room = what & 8 ? room : sizeof logits / sizeof *logits;
        check_fill(llada_model_logits(model, tokens, length, edge(input), NULL, NULL, logits, room, &count, &failure),
                   room, &count);
        break;
    }
    case 1:
    case 2: score(input, model); break;
    case 3: {
        span text = take(input, take_u8(input));
        check_fill(
            llada_tokenize(model, (const char *)text.bytes, text.count, what >> 3, tokens, room, &count, &failure),
            room, &count);
        break;
    }
    case 4: {
        char text[MOST];
        for (size_t i = 0; i < 8; i++) tokens[i] = what & 64 ? edge(input) : take_u8(input);
        check_fill(llada_detokenize(model, tokens, 8, what >> 3 & 3, text, room, &count, &failure), room, &count);
        break;
    }
    case 5: check_fill(llada_model_eos_token_ids(model, tokens, room, &count, &failure), room, &count); break;
    case 6: {
        llada_policy policy;
        memset(&policy, 0xFF, sizeof policy);
        check_status(llada_policy_init(&policy, what & 64 ? take_below(input, sizeof policy) : sizeof policy,
                                       edge(input), &failure),
                     &failure);
        break;
    }
    default: {
        llada_model_info info = LLADA_MODEL_INFO_INIT;
        info.struct_size = (uint32_t)take_below(input, sizeof info + 1);
        check_status(llada_model_get_info(model, &info, &failure), &failure);
    }
    }
}

/* Each is refused, whatever the other arguments are. */
void pass_nothing(span *input) {
    llada_model *model = base_model(true);
    size_t count = 0;
    int32_t token = 0;
    llada_status status;
    switch (take_below(input, 16)) {
    case 0: status = llada_decoder_step(NULL, &failure); break;
    case 1: status = llada_decoder_create(NULL, &token, 1, NULL, NULL, &failure); break;
    case 2: status = llada_decoder_create(model, NULL, 1, NULL, NULL, &failure); break;
    case 3: status = llada_model_open(NULL, NULL, &model, &failure); break;
    case 4: status = llada_tokenize(model, NULL, 1, 0, &token, 1, &count, &failure); break;
    case 5: status = llada_tokenize(model, "", 0, 0, &token, 1, NULL, &failure); break;
    case 6: status = llada_detokenize(model, &token, 1, 0, NULL, 8, &count, &failure); break;
    case 7: status = llada_prefix_cache_create(model, 1, NULL, &failure); break;
    case 8: status = llada_decoders_step(NULL, 3, &failure); break;
    case 9: status = llada_model_score(model, NULL, 2, NULL, NULL, NULL, NULL, NULL, 0, &count, &failure); break;
    case 10: status = llada_decoder_restore(model, NULL, NULL, 64, NULL, NULL, NULL, &failure); break;
    case 11: status = llada_text_stream_create(model, 0, NULL, NULL, &failure); break;
    case 12: status = llada_chat_tokenize(model, NULL, 1, NULL, &token, 1, &count, &failure); break;
    case 13: status = llada_decoder_get_state(NULL, NULL, &failure); break;
    case 14: status = llada_model_get_info(model, NULL, &failure); break;
    default:
        llada_decoder_free(NULL), llada_model_free(NULL), llada_prefix_cache_free(NULL), llada_text_stream_free(NULL);
        status = llada_policy_init(NULL, 64, 0, &failure);
    }
    EXPECT(status == LLADA_ERROR_INVALID_ARGUMENT);
    check_status(status, &failure);
}
