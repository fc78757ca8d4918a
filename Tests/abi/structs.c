/* The struct_size rules, and the layout of every struct: what programs compiled today rely on for ever. */
#include "harness.h"

/* On every LP64 platform. A line here changes only with the SONAME. */
#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field)
#define SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
_Static_assert(sizeof(void *) == 8 && sizeof(long) == 8 && sizeof(bool) == 1, "LP64");

SIZE(llada_error, 1024);
AT(llada_error, struct_size, 0);
AT(llada_error, status, 4);
AT(llada_error, message, 8);

SIZE(llada_model_options, 64);
AT(llada_model_options, struct_size, 0);
AT(llada_model_options, dtype, 4);
AT(llada_model_options, kv_dtype, 8);
AT(llada_model_options, blas, 12);
AT(llada_model_options, threads, 16);
AT(llada_model_options, expert_capacity, 20);
AT(llada_model_options, mask_token_id, 24);
AT(llada_model_options, use_mmap, 28);
AT(llada_model_options, eos_token_ids, 32);
AT(llada_model_options, eos_token_id_count, 40);
AT(llada_model_options, progress, 48);
AT(llada_model_options, progress_user, 56);

SIZE(llada_model_info, 96);
AT(llada_model_info, struct_size, 0);
AT(llada_model_info, vocab_size, 4);
AT(llada_model_info, hidden_size, 8);
AT(llada_model_info, num_hidden_layers, 12);
AT(llada_model_info, first_k_dense_replace, 16);
AT(llada_model_info, num_attention_heads, 20);
AT(llada_model_info, num_key_value_heads, 24);
AT(llada_model_info, head_dim, 28);
AT(llada_model_info, intermediate_size, 32);
AT(llada_model_info, moe_intermediate_size, 36);
AT(llada_model_info, num_experts, 40);
AT(llada_model_info, num_experts_per_tok, 44);
AT(llada_model_info, max_position_embeddings, 48);
AT(llada_model_info, mask_token_id, 52);
AT(llada_model_info, eos_token_id, 56);
AT(llada_model_info, dtype, 60);
AT(llada_model_info, kv_dtype, 64);
AT(llada_model_info, threads, 68);
AT(llada_model_info, has_tokenizer, 72);
AT(llada_model_info, has_chat_template, 73);
AT(llada_model_info, num_parameters, 80);
AT(llada_model_info, weight_bytes, 88);

SIZE(llada_noised_sequence, 40);
AT(llada_noised_sequence, tokens, 0);
AT(llada_noised_sequence, count, 8);
AT(llada_noised_sequence, noisy, 16);
AT(llada_noised_sequence, versions, 24);
AT(llada_noised_sequence, prompt_length, 32);

SIZE(llada_score_options, 32);
AT(llada_score_options, struct_size, 0);
AT(llada_score_options, block_length, 4);
AT(llada_score_options, everywhere, 8);
AT(llada_score_options, progress, 16);
AT(llada_score_options, progress_user, 24);

SIZE(llada_chat_message, 16);
AT(llada_chat_message, role, 0);
AT(llada_chat_message, content, 8);

SIZE(llada_policy, 64);
AT(llada_policy, struct_size, 0);
AT(llada_policy, kind, 4);
AT(llada_policy, threshold, 8);
AT(llada_policy, steps, 12);
AT(llada_policy, minimal_topk, 16);
AT(llada_policy, editing_threshold, 20);
AT(llada_policy, max_post_steps, 24);
AT(llada_policy, num_to_transfer, 28);
AT(llada_policy, penalty_lambda, 32);
AT(llada_policy, mbe_window, 36);
AT(llada_policy, mbe_rounds, 40);
AT(llada_policy, temperature, 44);
AT(llada_policy, top_k, 48);
AT(llada_policy, top_p, 52);
AT(llada_policy, seed, 56);

SIZE(llada_decoder_options, 32);
AT(llada_decoder_options, struct_size, 0);
AT(llada_decoder_options, block_length, 4);
AT(llada_decoder_options, gen_length, 8);
AT(llada_decoder_options, eos_early_stop, 12);
AT(llada_decoder_options, infill, 13);
AT(llada_decoder_options, use_cache, 14);
AT(llada_decoder_options, policy, 16);
AT(llada_decoder_options, prefix_cache, 24);

SIZE(llada_prefix_cache_info, 72);
AT(llada_prefix_cache_info, struct_size, 0);
AT(llada_prefix_cache_info, max_bytes, 8);
AT(llada_prefix_cache_info, bytes, 16);
AT(llada_prefix_cache_info, blocks, 24);
AT(llada_prefix_cache_info, pinned_blocks, 32);
AT(llada_prefix_cache_info, lookups, 40);
AT(llada_prefix_cache_info, hits, 48);
AT(llada_prefix_cache_info, reused_tokens, 56);
AT(llada_prefix_cache_info, evicted_blocks, 64);

SIZE(llada_decoder_state, 96);
AT(llada_decoder_state, struct_size, 0);
AT(llada_decoder_state, phase, 4);
AT(llada_decoder_state, finish_reason, 8);
AT(llada_decoder_state, block_length, 12);
AT(llada_decoder_state, prompt_length, 16);
AT(llada_decoder_state, gen_length, 20);
AT(llada_decoder_state, canvas_length, 24);
AT(llada_decoder_state, settled_length, 28);
AT(llada_decoder_state, active_first, 32);
AT(llada_decoder_state, active_count, 36);
AT(llada_decoder_state, block_step, 40);
AT(llada_decoder_state, editing_blocks, 44);
AT(llada_decoder_state, forwards, 48);
AT(llada_decoder_state, commits, 56);
AT(llada_decoder_state, prefills, 64);
AT(llada_decoder_state, edits, 72);
AT(llada_decoder_state, computed_positions, 80);
AT(llada_decoder_state, reused_positions, 88);

SIZE(llada_active, 64);
AT(llada_active, struct_size, 0);
AT(llada_active, first, 4);
AT(llada_active, count, 8);
AT(llada_active, block_step, 12);
AT(llada_active, editing_blocks, 16);
AT(llada_active, tokens, 24);
AT(llada_active, states, 32);
AT(llada_active, locked, 40);
AT(llada_active, predictions, 48);
AT(llada_active, confidences, 56);

SIZE(llada_candidate, 12);
AT(llada_candidate, token, 0);
AT(llada_candidate, logit, 4);
AT(llada_candidate, probability, 8);

SIZE(llada_edit, 16);
AT(llada_edit, position, 0);
AT(llada_edit, token, 4);
AT(llada_edit, confidence, 8);
AT(llada_edit, reason, 12);

SIZE(llada_event, 24);
AT(llada_event, position, 0);
AT(llada_event, kind, 4);
AT(llada_event, old_token, 8);
AT(llada_event, new_token, 12);
AT(llada_event, confidence, 16);
AT(llada_event, reason, 20);

_Static_assert(LLADA_ERROR_SNAPSHOT == -17 && LLADA_ERROR_SPECIAL_TOKEN == -16 && LLADA_ERROR_BUFFER_TOO_SMALL == -15 &&
                   LLADA_ERROR_STATE == -11 && LLADA_ERROR_INVALID_ARGUMENT == -1 && LLADA_OK == 0,
               "codes never change");

static void version(void) {
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", LLADA_VERSION_MAJOR, LLADA_VERSION_MINOR, LLADA_VERSION_PATCH);
    CHECK_EQUAL(llada_version(), LLADA_VERSION);
    CHECK(!strcmp(llada_version_string(), text));
    CHECK(!strncmp(llada_build_info(), "llada ", 6) && strstr(llada_build_info(), text));
    CHECK(!strchr(llada_build_info(), '\n'));
    CHECK(llada_version_string() == llada_version_string());
    remark("%s", llada_build_info());
}

static void status_names(void) {
    static const char *const names[] = {"LLADA_OK",
                                        "LLADA_ERROR_INVALID_ARGUMENT",
                                        "LLADA_ERROR_OUT_OF_MEMORY",
                                        "LLADA_ERROR_IO",
                                        "LLADA_ERROR_JSON",
                                        "LLADA_ERROR_CONFIG",
                                        "LLADA_ERROR_SAFETENSORS",
                                        "LLADA_ERROR_SHARD_INDEX",
                                        "LLADA_ERROR_TENSOR",
                                        "LLADA_ERROR_TOKENIZER",
                                        "LLADA_ERROR_UNSUPPORTED",
                                        "LLADA_ERROR_STATE",
                                        "LLADA_ERROR_BUSY",
                                        "LLADA_ERROR_CANCELLED",
                                        "LLADA_ERROR_STOPPED",
                                        "LLADA_ERROR_BUFFER_TOO_SMALL",
                                        "LLADA_ERROR_SPECIAL_TOKEN",
                                        "LLADA_ERROR_SNAPSHOT"};
    for (int i = 0; i <= 17; i++) {
        if (strcmp(llada_status_name(-i), names[i])) failed(__FILE__, __LINE__, "%d is %s", -i, llada_status_name(-i));
        CHECK(llada_status_name(-i) == llada_status_name(-i));
    }
    static const int32_t strange[] = {1, -18, 4711, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
        CHECK(!strcmp(llada_status_name(strange[i]), "unknown status"));
}

static void init_gives_the_defaults(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options m;
    memset(&m, 0xA5, sizeof m);
    CHECK_OK(llada_model_options_init(&m, sizeof m, &error));
    CHECK(m.struct_size == sizeof m && m.dtype == LLADA_DTYPE_AUTO && m.threads == 0 && m.mask_token_id == -1 &&
          !m.eos_token_ids && !m.eos_token_id_count && m.blas == LLADA_BLAS_AUTO && m.use_mmap && !m.expert_capacity &&
          !m.progress && !m.progress_user && m.kv_dtype == LLADA_DTYPE_AUTO);
    llada_decoder_options d;
    memset(&d, 0xA5, sizeof d);
    CHECK_OK(llada_decoder_options_init(&d, sizeof d, &error));
    CHECK(d.struct_size == sizeof d && d.block_length == 32 && d.gen_length == 256 && d.eos_early_stop && !d.infill &&
          d.use_cache && !d.policy);
    llada_policy p;
    memset(&p, 0xA5, sizeof p);
    CHECK_OK(llada_policy_init(&p, sizeof p, LLADA_PRESET_LOW_CONFIDENCE, &error));
    CHECK(p.struct_size == sizeof p && p.kind == LLADA_POLICY_LOW_CONFIDENCE && p.threshold == 0.95f && p.steps == 32 &&
          p.minimal_topk == 1 && p.temperature == 0 && p.mbe_window == 1);
    CHECK_OK(llada_policy_init(&p, sizeof p, LLADA_PRESET_SPEEDY, &error));
    CHECK(p.kind == LLADA_POLICY_JOINT_THRESHOLD && p.threshold == 0.5f && p.editing_threshold == 0.0f &&
          p.max_post_steps == 16 && p.num_to_transfer == 1 && p.penalty_lambda == 0 && p.mbe_window == 1);
    CHECK_OK(llada_policy_init(&p, sizeof p, LLADA_PRESET_QUALITY, &error));
    CHECK(p.threshold == 0.7f && p.editing_threshold == 0.5f && p.mbe_window == 1 && p.top_k == 0 && p.top_p == 1);
    CHECK_OK(llada_policy_init(&p, sizeof p, LLADA_PRESET_QUALITY_MBE, &error));
    CHECK(p.threshold == 0.7f && p.editing_threshold == 0.5f && p.mbe_window == 2 && p.mbe_rounds >= 1);
}

/* An _init writes as much as the caller knows and not a byte more: to an older program, to one of our age (whose size is
 * 0 below), and to a newer one, whose news are zero. */
static void init_stays_inside(void) {
    llada_error error = LLADA_ERROR_INIT;
    static const size_t sizes[] = {4, 8, 0, 200};
    for (int which = 0; which < 3; which++) {
        size_t own = which == 0   ? sizeof(llada_model_options)
                     : which == 1 ? sizeof(llada_decoder_options)
                                  : sizeof(llada_policy);
        for (size_t i = 0; i < 4; i++) {
            union {
                llada_model_options m;
                llada_decoder_options d;
                llada_policy p;
                uint32_t size;
                unsigned char bytes[256];
            } u;
            size_t size = sizes[i] ? sizes[i] : own;
            memset(&u, 0xA5, sizeof u);
            CHECK_OK(which == 0   ? llada_model_options_init(&u.m, size, &error)
                     : which == 1 ? llada_decoder_options_init(&u.d, size, &error)
                                  : llada_policy_init(&u.p, size, LLADA_PRESET_SPEEDY, &error));
            CHECK_EQUAL(u.size, size);
            for (size_t b = own; b < size; b++) CHECK(u.bytes[b] == 0);
            for (size_t b = size; b < sizeof u; b++) CHECK(u.bytes[b] == 0xA5);
        }
    }
    llada_policy p;
    static const size_t senseless[] = {0, 3, SIZE_MAX, SIZE_MAX - 63, (size_t)UINT32_MAX + 1 + sizeof p};
    for (size_t i = 0; i < sizeof senseless / sizeof *senseless; i++) {
        memset(&p, 0xA5, sizeof p);
        CHECK_REFUSED(llada_policy_init(&p, senseless[i], LLADA_PRESET_SPEEDY, &error), LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_EQUAL(p.struct_size, 0xA5A5A5A5);
    }
}

/* ---- Structs of another age. Each case: what the size says, what stands in the tail, whether it is welcome. ----- */

typedef struct {
    uint32_t size; /* 0: as it should be */
    unsigned char tail;
    bool welcome;
} age;

#define AGES(T, second_field)                                                                           \
    {                                                                                                   \
        {0, 0, true}, {sizeof(T) + 16, 0, true}, {sizeof(T) + 16, 1, false}, {sizeof(T) + 1, 1, false}, \
            {offsetof(T, second_field), 0xFF, true}, {1, 0xFF, false}, {                                \
            3, 0xFF, false                                                                              \
        }                                                                                               \
    }
enum { AGE_COUNT = 7 };

static void ages_of_model_options(void) {
    llada_error error = LLADA_ERROR_INIT;
    static const age ages[AGE_COUNT] = AGES(llada_model_options, dtype);
    for (size_t i = 0; i < AGE_COUNT; i++) {
        struct {
            llada_model_options o;
            unsigned char tail[16];
        } s;
        memset(&s, ages[i].tail, sizeof s);
        s.o = usual_options();
        if (ages[i].size) s.o.struct_size = ages[i].size;
        llada_model *model = NULL;
        CHECK_REFUSED(llada_model_open(checkpoint(), &s.o, &model, &error),
                      ages[i].welcome ? LLADA_OK : LLADA_ERROR_INVALID_ARGUMENT);
        CHECK((model != NULL) == ages[i].welcome);
        llada_model_free(model);
    }
    /* The tail alone is not enough: only the last of many bytes is set. */
    struct {
        llada_model_options o;
        unsigned char tail[4096];
    } far;
    memset(&far, 0, sizeof far);
    far.o = usual_options();
    far.o.struct_size = sizeof far;
    far.tail[4095] = 1;
    llada_model *model = NULL;
    CHECK_REFUSED(llada_model_open(checkpoint(), &far.o, &model, &error), LLADA_ERROR_INVALID_ARGUMENT);
    llada_model_free(model);
}

/* What a smaller struct lacks is default, whatever the memory behind it holds. */
static void older_model_options(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    llada_model *model = NULL;
    llada_model_options o;
    memset(&o, 0x5A, sizeof o);
    o.struct_size = offsetof(llada_model_options, mask_token_id);
    o.dtype = LLADA_DTYPE_BF16;
    o.kv_dtype = LLADA_DTYPE_AUTO;
    o.blas = LLADA_BLAS_AUTO;
    o.threads = 1;
    o.expert_capacity = 0;
    CHECK_OK(llada_model_open(checkpoint(), &o, &model, &error));
    NEED(model);
    CHECK_OK(llada_model_get_info(model, &info, &error));
    CHECK_EQUAL(info.threads, 1);
    CHECK_EQUAL(info.dtype, LLADA_DTYPE_BF16);
    CHECK_EQUAL(info.kv_dtype, LLADA_DTYPE_BF16);
    CHECK_EQUAL(info.mask_token_id, -1); /* nothing names one, and 156895 does not fit 128 words */
    CHECK_EQUAL(info.eos_token_id, -1);
    llada_decoder *decoder = NULL;
    CHECK_REFUSED(llada_decoder_create(model, prompt, PROMPT, NULL, &decoder, &error), LLADA_ERROR_SPECIAL_TOKEN);
    CHECK(!decoder);
    llada_model_free(model);

    /* Ids without a count are garbage, and are not followed. */
    static const size_t sizes[] = {offsetof(llada_model_options, use_mmap),
                                   offsetof(llada_model_options, eos_token_ids),
                                   offsetof(llada_model_options, eos_token_id_count)};
    o.mask_token_id = MASK;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        o.struct_size = (uint32_t)sizes[i];
        model = NULL;
        CHECK_OK(llada_model_open(checkpoint(), &o, &model, &error));
        NEED(model);
        CHECK_OK(llada_model_get_info(model, &info, &error));
        CHECK_EQUAL(info.mask_token_id, MASK);
        CHECK_EQUAL(info.eos_token_id, -1);
        llada_model_free(model);
    }
}

static void ages_of_decoder_options(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    static const age ages[AGE_COUNT] = AGES(llada_decoder_options, block_length);
    for (size_t i = 0; i < AGE_COUNT; i++) {
        struct {
            llada_decoder_options o;
            unsigned char tail[16];
        } s;
        memset(&s, ages[i].tail, sizeof s);
        CHECK_OK(llada_decoder_options_init(&s.o, sizeof s.o, &error));
        if (ages[i].size) s.o.struct_size = ages[i].size;
        llada_decoder *decoder = NULL;
        CHECK_REFUSED(llada_decoder_create(model, prompt, PROMPT, &s.o, &decoder, &error),
                      ages[i].welcome ? LLADA_OK : LLADA_ERROR_INVALID_ARGUMENT);
        CHECK((decoder != NULL) == ages[i].welcome);
        llada_decoder_free(decoder);
    }
    llada_decoder_options o;
    memset(&o, 0x5A, sizeof o); /* the policy pointer is garbage, and must not be followed */
    o.struct_size = offsetof(llada_decoder_options, gen_length);
    o.block_length = 8;
    llada_decoder *decoder = NULL;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    CHECK_OK(llada_decoder_create(model, prompt, PROMPT, &o, &decoder, &error));
    NEED(decoder);
    CHECK_OK(llada_decoder_get_state(decoder, &state, &error));
    CHECK_EQUAL(state.block_length, 8);
    CHECK_EQUAL(state.canvas_length, (PROMPT + 256 + 7) / 8 * 8);
    llada_decoder_free(decoder);
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

/* Structs the library fills: it fills as much as there is, never more, and leaves struct_size alone. */
static void ages_of_model_info(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    struct {
        llada_model_info i;
        unsigned char tail[16];
    } s;
    memset(&s, 0, sizeof s);
    s.i.struct_size = sizeof s;
    CHECK_OK(llada_model_get_info(model, &s.i, &error));
    CHECK_EQUAL(s.i.struct_size, sizeof s);
    CHECK_EQUAL(s.i.vocab_size, VOCAB);
    s.tail[7] = 1;
    CHECK_REFUSED(llada_model_get_info(model, &s.i, &error), LLADA_ERROR_INVALID_ARGUMENT);
    memset(&s, 0xA5, sizeof s);
    s.i.struct_size = offsetof(llada_model_info, num_hidden_layers);
    CHECK_OK(llada_model_get_info(model, &s.i, &error));
    CHECK_EQUAL(s.i.vocab_size, VOCAB);
    CHECK_EQUAL(s.i.hidden_size, 64);
    for (size_t i = s.i.struct_size; i < sizeof s; i++) CHECK(((unsigned char *)&s)[i] == 0xA5);
    s.i.struct_size = 0;
    CHECK_REFUSED(llada_model_get_info(model, &s.i, &error), LLADA_ERROR_INVALID_ARGUMENT);

    llada_model_info info = LLADA_MODEL_INFO_INIT;
    CHECK_OK(llada_model_get_info(model, &info, &error));
    CHECK(info.num_hidden_layers == 3 && info.first_k_dense_replace == 1 && info.num_attention_heads == 4 &&
          info.num_key_value_heads == 2 && info.head_dim == 16 && info.intermediate_size == 96 &&
          info.moe_intermediate_size == 32 && info.num_experts == 16 && info.num_experts_per_tok == 4 &&
          info.max_position_embeddings == 4096 && info.mask_token_id == MASK && info.eos_token_id == -1 &&
          info.threads == 1 && !info.has_tokenizer && !info.has_chat_template && info.dtype == LLADA_DTYPE_AUTO &&
          info.kv_dtype == LLADA_DTYPE_F32);
    CHECK_EQUAL(info.num_parameters, 1132800 / 4); /* the data of the file, all of it F32 */
    CHECK_EQUAL(info.weight_bytes, 1132800);
    llada_model_free(model);
}

static void ages_of_decoder_state(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, 9);
    struct {
        llada_decoder_state s;
        unsigned char tail[16];
    } s;
    memset(&s, 0, sizeof s);
    s.s.struct_size = sizeof s;
    CHECK_OK(llada_decoder_get_state(decoder, &s.s, &error));
    CHECK_EQUAL(s.s.struct_size, sizeof s);
    CHECK_EQUAL(s.s.canvas_length, 16);
    s.tail[0] = 1;
    CHECK_REFUSED(llada_decoder_get_state(decoder, &s.s, &error), LLADA_ERROR_INVALID_ARGUMENT);
    memset(&s, 0xA5, sizeof s);
    s.s.struct_size = offsetof(llada_decoder_state, canvas_length);
    CHECK_OK(llada_decoder_get_state(decoder, &s.s, &error));
    CHECK_EQUAL(s.s.prompt_length, PROMPT);
    for (size_t i = s.s.struct_size; i < sizeof s; i++) CHECK(((unsigned char *)&s)[i] == 0xA5);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* An error of another size gets what fits, NUL-terminated; one of no size, or no error at all, gets nothing. */
static void ages_of_error(void) {
    struct {
        llada_error e;
        unsigned char tail[64];
    } s;
    llada_model *model = NULL;
    for (uint32_t size = 0; size <= sizeof s; size = size < 32 ? size + 1 : size * 2) {
        memset(&s, 0xA5, sizeof s);
        s.e.struct_size = size;
        if (size > sizeof s.e) memset(s.tail, 0, sizeof s.tail);
        CHECK_STATUS(llada_model_open("no/such/folder", NULL, &model, &s.e), LLADA_ERROR_IO);
        CHECK_EQUAL(s.e.struct_size, size);
        for (size_t i = size < 4 ? 4 : size; i < sizeof s.e; i++) CHECK(((unsigned char *)&s)[i] == 0xA5);
        if (size >= 8) CHECK_EQUAL(s.e.status, LLADA_ERROR_IO);
        if (size >= 9) CHECK(memchr(s.e.message, 0, size - 8 > 1016 ? 1016 : size - 8));
        if (size >= 512) CHECK(strstr(s.e.message, "no/such/folder"));
    }
    CHECK_STATUS(llada_model_open("no/such/folder", NULL, &model, NULL), LLADA_ERROR_IO);
    /* A path longer than the message: cut between characters. */
    char path[4000];
    for (size_t shift = 0; shift < 3; shift++) {
        llada_error error = LLADA_ERROR_INIT;
        memset(path, 'x', shift);
        for (size_t i = shift; i < sizeof path; i++) path[i] = "\xE2\x96\x92"[(i - shift) % 3];
        path[3000 + shift] = 0;
        CHECK_REFUSED(llada_model_open(path, NULL, &model, &error), LLADA_ERROR_IO);
        size_t length = strlen(error.message), lead = length;
        CHECK(length < sizeof error.message);
        while (lead > 0 && ((unsigned char)error.message[lead - 1] & 0xC0) == 0x80) lead--;
        if (lead > 0 && (unsigned char)error.message[lead - 1] == 0xE2) CHECK_EQUAL(length - lead, 2);
    }
    CHECK(!model);
}

int main(void) {
    static const test tests[] = {
        {"version", version},
        {"status names", status_names},
        {"init gives the defaults", init_gives_the_defaults},
        {"init stays inside its struct", init_stays_inside},
        {"struct_size of llada_model_options", ages_of_model_options},
        {"older llada_model_options get defaults", older_model_options},
        {"struct_size of llada_decoder_options", ages_of_decoder_options},
        {"struct_size of llada_policy", ages_of_policy},
        {"struct_size of llada_model_info", ages_of_model_info},
        {"struct_size of llada_decoder_state", ages_of_decoder_state},
        {"struct_size of llada_error", ages_of_error},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
