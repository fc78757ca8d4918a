/*
 * The interface itself: an input is a program of calls with arguments of all kinds, valid and not, on two models, two
 * prefix caches and some decoders. Rules and callbacks take their own calls from the same bytes. After each call every
 * decoder must show what the header promises, and in the end each must come to its end.
 */
#include "calls.h"

static world w;

static void stream_text(span *input, const llada_decoder *decoder);

/* One of these, or a byte's worth: what is at the edges of what is allowed, and beyond. */
int32_t edge(span *input) {
    static const int32_t edges[] = {-1, 0,  1,  2,   3,   4,   7,     8,         16,
                                    31, 32, 33, 511, 512, 513, 65536, INT32_MAX, INT32_MIN};
    uint8_t byte = take_u8(input);
    return byte < 192 ? byte % 40 : edges[byte % (sizeof edges / sizeof *edges)];
}

/* A small number, now and then one from the edges. */
static int32_t small(span *input, int32_t below) {
    uint8_t byte = take_u8(input);
    return byte < 232 ? byte % below : edge(input);
}

static float fraction(span *input) {
    static const float odd[] = {-1, 0, 1, 2, 1e-30f, 1e30f, __builtin_inff(), -__builtin_inff(), __builtin_nanf("")};
    uint8_t byte = take_u8(input);
    return byte < 224 ? (float)byte / 223 : odd[byte % (sizeof odd / sizeof *odd)];
}

/* Whether an outcome is one of those that any call may have. What else there is, the header says of the call. */
bool answered(llada_status status) {
    bool good = check_status(status, &w.error);
    EXPECT(status != LLADA_ERROR_IO && status != LLADA_ERROR_GGUF && status != LLADA_ERROR_SAFETENSORS);
    EXPECT(status != LLADA_ERROR_TENSOR && status != LLADA_ERROR_CONFIG && status != LLADA_ERROR_SHARD_INDEX);
    return good;
}

static llada_policy some_policy(span *input) {
    llada_policy policy;
    EXPECT(llada_policy_init(&policy, sizeof policy, (int32_t)take_below(input, 4), NULL) == LLADA_OK);
    uint8_t bits = take_u8(input);
    if (bits & 1) policy.threshold = fraction(input);
    if (bits & 2) policy.steps = small(input, 8);
    if (bits & 4) policy.editing_threshold = fraction(input);
    if (bits & 8) policy.max_post_steps = small(input, 8), policy.num_to_transfer = small(input, 4);
    if (bits & 16) policy.mbe_window = small(input, 4), policy.mbe_rounds = small(input, 3);
    if (bits & 32) policy.temperature = fraction(input), policy.top_k = small(input, 8), policy.seed = take_u8(input);
    if (bits & 64) policy.top_p = fraction(input), policy.penalty_lambda = fraction(input);
    if (bits & 128) policy.kind = small(input, 3), policy.minimal_topk = small(input, 4);
    return policy;
}

static slot *free_slot(void) {
    for (int i = 0; i < SLOTS; i++)
        if (!w.slots[i].decoder) return &w.slots[i];
    return NULL;
}

static slot *some_slot(span *input) {
    slot *s = &w.slots[take_below(input, SLOTS)];
    return s->decoder ? s : NULL;
}

static void create(span *input) {
    slot *s = free_slot();
    if (!s) return;
    llada_decoder_options options;
    EXPECT(llada_decoder_options_init(&options, sizeof options, NULL) == LLADA_OK);
    uint8_t bits = take_u8(input);
    llada_policy policy = some_policy(input);
    int32_t prompt[24];
    size_t count = take_below(input, 24);
    for (size_t i = 0; i < count; i++) prompt[i] = bits & 1 ? (int32_t)i : small(input, 38);
    options.block_length = small(input, 9);
    options.gen_length = small(input, 25);
    options.eos_early_stop = bits & 2;
    options.infill = bits & 4;
    options.use_cache = !(bits & 8);
    if (bits & 16) options.policy = &policy;
    int model = bits >> 7;
    /* Of the other model now and then: that must be refused. */
    if (bits & 32) options.prefix_cache = w.caches[take_below(input, 16) ? model : !model];
    if (bits & 64) options.struct_size = take_below(input, sizeof options + 1);
    if (answered(llada_decoder_create(w.models[model], prompt, count, &options, &s->decoder, &w.error))) {
        s->model = model;
    } else
        EXPECT(!s->decoder);
}

static void fork_one(span *input, const slot *from) {
    slot *s = free_slot();
    if (!s) return;
    llada_policy policy = some_policy(input);
    llada_decoder *decoder = NULL;
    if (!answered(llada_decoder_fork(from->decoder, take_below(input, 2) ? &policy : NULL, &decoder, &w.error))) return;
    *s = *from;
    s->decoder = decoder;
}

static void save_and_restore(span *input, const slot *from) {
    static uint8_t snapshot[1 << 20];
    size_t count = 0;
    uint8_t bits = take_u8(input);
    slot *s = free_slot();
    if (!answered(llada_decoder_save(from->decoder, bits & 1, NULL, NULL, snapshot, bits & 2 ? 16 : sizeof snapshot,
                                     &count, &w.error)) ||
        !s)
        return;
    if (bits & 32) {
        /* By way of a file. */
        EXPECT(check_status(llada_decoder_save_file(from->decoder, bits & 1, own_path("cache0"), NULL, NULL, &w.error),
                            &w.error));
        llada_status status = llada_decoder_restore_file(w.models[from->model], NULL, own_path("cache0"), NULL, NULL,
                                                         &s->decoder, &w.error);
        EXPECT(check_status(status, &w.error));
        s->model = from->model;
        return;
    }
    if (bits & 4 && count) snapshot[take_u16(input) % count] ^= take_u8(input);
    llada_prefix_cache *cache = bits & 8 ? w.caches[from->model] : NULL;
    if (!answered(llada_decoder_restore(w.models[bits & 16 ? !from->model : from->model], cache, snapshot, count, NULL,
                                        NULL, &s->decoder, &w.error)))
        return;
    s->model = bits & 16 ? !from->model : from->model;
}

/* The model of a decoder in a callback; of one that was freed there, that of the call at work. */
static int model_of(const llada_decoder *decoder) {
    for (int i = 0; i < SLOTS; i++)
        if (w.slots[i].decoder == decoder) return w.slots[i].model;
    return w.at_work;
}

/* ---- Many at once ----------------------------------------------------------------------------------------------- */

static int after_step(const llada_decoder *decoder, void *user) {
    (void)user;
    if (w.input) look(w.input, decoder, model_of(decoder));
    if (w.input && take_below(w.input, 4) == 0) stream_text(w.input, decoder);
    if (w.input && take_below(w.input, 16) == 0) try_forbidden(w.input, (llada_decoder *)(uintptr_t)decoder);
    return --w.steps_left <= 0;
}

static void step_many(span *input) {
    llada_decoder *list[SLOTS + 1];
    size_t count = 0;
    uint8_t chosen = take_u8(input), how = take_u8(input);
    for (int i = 0; i < SLOTS; i++)
        if (chosen >> i & 1) {
            w.at_work = w.slots[i].model;
            list[count++] = w.slots[i].decoder; /* NULL is refused */
        }
    if (how & 64 && count) list[count++] = list[0];
    w.steps_left = 24;
    switch (how % 3) {
    case 0: answered(llada_decoders_forward(list, count, &w.error)); break;
    case 1: answered(llada_decoders_step(list, count, &w.error)); break;
    default: answered(llada_decoders_run(list, count, how >> 3 & 3, after_step, NULL, &w.error));
    }
}

/* ---- One -------------------------------------------------------------------------------------------------------- */

/* A rule: some calls of "Interfering", some that are refused. It may end the decoder that it is called by. */
static int rule(llada_decoder *decoder, void *user) {
    (void)user;
    if (!w.input) return 0;
    for (int calls = (int)take_below(w.input, 4); calls > 0; calls--) interfere(w.input, decoder);
    look(w.input, decoder, model_of(decoder));
    uint8_t more = take_u8(w.input);
    if (more > 250) {
        /* It ends when the call at work returns. */
        for (int i = 0; i < SLOTS; i++)
            if (w.slots[i].decoder == decoder) {
                w.slots[i].decoder = NULL;
                llada_decoder_free(decoder);
                break;
            }
    } else if (more > 235)
        try_forbidden(w.input, decoder);
    else if (more == 6)
        llada_decoder_cancel(decoder);
    /* Masks that it leaves for ever must not be run for ever. */
    if (--w.steps_left <= 0) return 1;
    return more == 5;
}

static void step_one(span *input, slot *s) {
    llada_decoder *decoder = s->decoder;
    w.steps_left = 24;
    w.at_work = s->model;
    switch (take_below(input, 8)) {
    case 0: answered(llada_decoder_forward(decoder, &w.error)); break;
    case 1: answered(llada_decoder_propose(decoder, &w.error)); break;
    case 2: answered(llada_decoder_apply(decoder, &w.error)); break;
    case 3: answered(llada_decoder_run_block(decoder, after_step, NULL, &w.error)); break;
    case 4: answered(llada_decoder_run(decoder, after_step, NULL, &w.error)); break;
    case 5: llada_decoder_cancel(decoder); break;
    default: answered(llada_decoder_step(decoder, &w.error));
    }
}

static void change_rule(span *input, slot *s) {
    bool set = take_below(input, 3);
    answered(llada_decoder_set_rule(s->decoder, set ? rule : NULL, NULL, &w.error));
}

/* ---- Prefix caches ---------------------------------------------------------------------------------------------- */

static void use_cache(span *input) {
    int which = (int)take_below(input, 2);
    llada_prefix_cache *cache = w.caches[which];
    uint8_t what = take_u8(input);
    int32_t tokens[24];
    size_t count = take_below(input, 24), found = 0;
    for (size_t i = 0; i < count; i++) tokens[i] = what & 128 ? small(input, 40) : (int32_t)i;
    if (!cache) {
        uint64_t room = (uint64_t)take_u16(input) * 64;
        answered(llada_prefix_cache_create(w.models[which], what & 64 ? UINT64_MAX - room : room, &w.caches[which],
                                           &w.error));
        return;
    }
    switch (what % 6) {
    case 0:
        if (answered(llada_prefix_cache_pin(cache, tokens, count, small(input, 9), what & 64, &found, &w.error)))
            EXPECT(found <= count);
        break;
    case 1: answered(llada_prefix_cache_clear(cache, &w.error)); break;
    case 2:
        EXPECT(llada_prefix_cache_save(cache, own_path(which ? "cache1" : "cache0"), NULL, NULL, NULL) == LLADA_OK);
        break;
    case 3: {
        /* A file that is not there, or the other model's, is refused. */
        llada_status status = llada_prefix_cache_load(cache, own_path(which ^ (what >> 6 & 1) ? "cache1" : "cache0"),
                                                      NULL, NULL, &found, &w.error);
        check_status(status, &w.error);
        break;
    }
    case 4:
        llada_prefix_cache_free(cache); /* decoders that use it keep it alive */
        w.caches[which] = NULL;
        return;
    default: break;
    }
    llada_prefix_cache_info info = LLADA_PREFIX_CACHE_INFO_INIT;
    EXPECT(llada_prefix_cache_get_info(cache, &info, NULL) == LLADA_OK);
    EXPECT(info.bytes <= info.max_bytes && info.pinned_blocks <= info.blocks && info.hits <= info.lookups);
}

/* ---- Text ------------------------------------------------------------------------------------------------------ */

static void stream_text(span *input, const llada_decoder *decoder) {
    uint8_t what = take_u8(input);
    llada_text text = LLADA_TEXT_INIT;
    if (!w.stream) {
        EXPECT(answered(llada_text_stream_create(w.models[1], what & 2, what & 4 ? "_" : NULL, &w.stream, &w.error)));
        return;
    }
    bool good = false;
    int32_t tokens[4];
    switch (what % 8) {
    case 0: good = answered(llada_text_stream_finish(w.stream, &text, &w.error)); break;
    case 1:
        for (int i = 0; i < 4; i++) tokens[i] = (int32_t)take_u16(input) % 320;
        good = answered(llada_text_stream_push(w.stream, tokens, 4, &text, &w.error));
        break;
    case 2:
        llada_text_stream_free(w.stream);
        w.stream = NULL;
        return;
    default: good = answered(llada_text_stream_update(w.stream, decoder, &text, &w.error));
    }
    if (!good) return;
    EXPECT(is_utf8(text.settled, text.settled_count) && !text.settled[text.settled_count]);
    EXPECT(is_utf8(text.draft, text.draft_count) && !text.draft[text.draft_count]);
}

/* ---- A program -------------------------------------------------------------------------------------------------- */

static void one_call(span *input) {
    uint8_t what = (uint8_t)take_below(input, 32);
    if (what < 3) {
        create(input);
        return;
    }
    if (what == 3) {
        step_many(input);
        return;
    }
    if (what == 4) {
        use_cache(input);
        return;
    }
    if (what == 5) {
        use_model(input);
        return;
    }
    if (what == 6) {
        pass_nothing(input);
        return;
    }
    slot *s = some_slot(input);
    if (!s) return;
    if (what < 14)
        step_one(input, s);
    else if (what < 20)
        interfere(input, s->decoder);
    else if (what < 23)
        look(input, s->decoder, s->model);
    else if (what == 23)
        fork_one(input, s);
    else if (what == 24)
        save_and_restore(input, s);
    else if (what == 25)
        change_rule(input, s);
    else if (what == 26)
        answered(llada_decoder_truncate(s->decoder, small(input, 32), &w.error));
    else if (what == 27)
        watch(input, s->decoder);
    else if (what == 29)
        stream_text(input, s->decoder);
    else if (what == 28) {
        llada_decoder_free(s->decoder);
        s->decoder = NULL;
    } else
        answered(llada_decoder_step(s->decoder, &w.error));
}

static void check_all(void) {
    for (int i = 0; i < SLOTS; i++)
        if (w.slots[i].decoder) check_decoder(w.models[w.slots[i].model], w.slots[i].decoder);
}

/* Without rules and with a policy of moderate numbers, a decoder ends. */
static void finish(slot *s) {
    llada_policy policy;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    EXPECT(llada_policy_init(&policy, sizeof policy, LLADA_PRESET_QUALITY, NULL) == LLADA_OK);
    EXPECT(llada_decoder_get_policy(s->decoder, &policy, NULL) == LLADA_OK);
    EXPECT(llada_decoder_get_state(s->decoder, &state, NULL) == LLADA_OK);
    EXPECT(llada_decoder_set_rule(s->decoder, NULL, NULL, NULL) == LLADA_OK);
    int steps = 4 * (state.canvas_length + 100);
    bool moderate = state.canvas_length <= 64 && policy.max_post_steps <= 40 && policy.mbe_rounds <= 3;
    llada_status status = run_bounded(s->decoder, moderate ? steps : 6, &w.error);
    if (!answered(status) && status == LLADA_ERROR_CANCELLED) {
        status = run_bounded(s->decoder, moderate ? steps : 6, &w.error);
        answered(status);
    }
    if (status != LLADA_OK) EXPECT(status == LLADA_ERROR_OUT_OF_MEMORY || (!moderate && status == LLADA_ERROR_STOPPED));
    check_decoder(w.models[s->model], s->decoder);
}

void fuzz_calls(const uint8_t *bytes, size_t count) {
    span input = {bytes, count};
    memset(w.slots, 0, sizeof w.slots);
    w.error = (llada_error)LLADA_ERROR_INIT;
    for (int i = 0; i < 2; i++) w.models[i] = base_model(i), w.caches[i] = NULL;
    w.input = &input;
    for (int calls = 0; input.count && calls < 64; calls++) {
        one_call(&input);
        check_all();
    }
    w.input = NULL;
    for (int i = 0; i < SLOTS; i++) {
        if (!w.slots[i].decoder) continue;
        finish(&w.slots[i]);
        llada_decoder_free(w.slots[i].decoder);
    }
    for (int i = 0; i < 2; i++) llada_prefix_cache_free(w.caches[i]);
    llada_text_stream_free(w.stream);
    w.stream = NULL;
    remove_own("cache0"), remove_own("cache1");
}
