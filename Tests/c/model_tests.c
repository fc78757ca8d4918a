/* Opening a model: options, their ages, progress; what it says of itself, its ids and its logits. */
#include "decoders.h"

#include <math.h>

static void null_arguments(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = NULL;
    llada_decoder *decoder = NULL;
    float logits[VOCAB];
    int32_t ids[4];
    size_t count = 0;
    CHECK_REFUSED(llada_model_open(NULL, NULL, &model, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_open(checkpoint(), NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_open("", NULL, &model, &error), LLADA_ERROR_IO);
    CHECK(!model);
    model = open_model(1);
    CHECK_REFUSED(llada_model_get_info(model, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_eos_token_ids(model, NULL, 4, &count, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_eos_token_ids(model, ids, 4, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, NULL, 1, 4, NULL, NULL, logits, VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, prompt, 1, 4, NULL, NULL, NULL, VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, prompt, 1, 4, NULL, NULL, logits, VOCAB, NULL, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_create(model, NULL, 1, NULL, &decoder, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_decoder_create(model, prompt, PROMPT, NULL, NULL, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!decoder && count == 0);
    llada_model_free(model);
}

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
    o.use_mmap = LLADA_MMAP_AUTO;
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

static void model_options_out_of_range(void) {
    llada_error error = LLADA_ERROR_INIT;
    static const struct {
        size_t field;
        int32_t value;
        llada_status status;
    } bad[] = {
        {offsetof(llada_model_options, dtype), LLADA_DTYPE_Q8_0, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, dtype), LLADA_DTYPE_Q4_0, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, dtype), 7, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, dtype), -1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, threads), -1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, threads), INT32_MAX, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, threads), INT32_MIN, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, expert_capacity), -1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, expert_capacity), 1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, expert_capacity), INT32_MAX, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, kv_dtype), LLADA_DTYPE_INT4, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, kv_dtype), LLADA_DTYPE_Q8_0, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, kv_dtype), LLADA_DTYPE_Q4_0, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, kv_dtype), 7, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, kv_dtype), -1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, blas), 3, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, blas), -1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, use_mmap), 3, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, use_mmap), -1, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, mask_token_id), VOCAB, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, mask_token_id), -2, LLADA_ERROR_INVALID_ARGUMENT},
        {offsetof(llada_model_options, mask_token_id), INT32_MIN, LLADA_ERROR_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        llada_model_options options = usual_options();
        memcpy((char *)&options + bad[i].field, &bad[i].value, 4);
        llada_model *model = NULL;
        llada_status status = llada_model_open(checkpoint(), &options, &model, &error);
        /* An id outside the vocabulary may as well be called what it is. */
        bool special =
            bad[i].field == offsetof(llada_model_options, mask_token_id) && status == LLADA_ERROR_SPECIAL_TOKEN;
        if (status != bad[i].status && !special)
            failed(__FILE__, __LINE__, "bytes %zu = %d: %s, not %s", bad[i].field, bad[i].value,
                   llada_status_name(status), llada_status_name(bad[i].status));
        CHECK(!model);
        llada_model_free(model);
    }
}

/* ---- Ids that end an answer ------------------------------------------------------------------------------------- */

static llada_model *with_ends(const int32_t *ids, size_t count) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    llada_model *model = NULL;
    options.eos_token_ids = ids;
    options.eos_token_id_count = count;
    CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
    NEED(model);
    return model;
}

static void end_of_sequence_ids(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    int32_t given[] = {EOS, 5, 9}, ids[4] = {-7, -7, -7, -7};
    size_t count = 99;
    llada_model *model = with_ends(given, 3);
    memset(given, 0xA5, sizeof given); /* they were copied */
    CHECK_OK(llada_model_get_info(model, &info, &error));
    CHECK_EQUAL(info.eos_token_id, EOS);
    for (size_t capacity = 0; capacity < 3; capacity++) {
        count = 99;
        CHECK_REFUSED(llada_model_eos_token_ids(model, capacity ? ids : NULL, capacity, &count, &error),
                      LLADA_ERROR_BUFFER_TOO_SMALL);
        CHECK(count == 3 && ids[0] == -7);
    }
    CHECK_OK(llada_model_eos_token_ids(model, ids, 4, &count, &error));
    CHECK(count == 3 && ids[0] == EOS && ids[1] == 5 && ids[2] == 9 && ids[3] == -7);
    llada_model_free(model);

    /* None given: the folder names none, and 156892 does not fit 128 words. */
    for (int how = 0; how < 2; how++) {
        model = with_ends(how ? ids : NULL, 0);
        CHECK_OK(llada_model_eos_token_ids(model, NULL, 0, &count, &error));
        CHECK_EQUAL(count, 0);
        llada_model_free(model);
    }

    static const int32_t outside[] = {EOS, VOCAB}, negative[] = {-1};
    const struct {
        const int32_t *ids;
        size_t count;
    } bad[] = {{outside, 2}, {negative, 1}, {NULL, 1}, {outside, SIZE_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        llada_model_options options = usual_options();
        options.eos_token_ids = bad[i].ids;
        options.eos_token_id_count = bad[i].count;
        model = NULL;
        CHECK_REFUSED(llada_model_open(checkpoint(), &options, &model, &error), LLADA_ERROR_INVALID_ARGUMENT);
        CHECK(!model);
    }
}

/* Whichever of several ids comes first ends the answer. */
static void each_id_ends_an_answer(void) {
    llada_model *plain = open_model(1);
    int32_t whole[GEN], tokens[GEN];
    size_t count = straight(plain, LLADA_PRESET_SPEEDY, whole);
    NEED(count > 6);
    for (size_t at = 0; at < 6; at++) {
        const int32_t ends[] = {EOS, whole[at]};
        size_t first = 0;
        while (whole[first] != ends[0] && whole[first] != ends[1]) first++;
        llada_model *model = with_ends(ends, 2);
        llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
        CHECK_EQUAL(run_out(decoder, tokens, GEN), first + 1);
        CHECK(!memcmp(tokens, whole, (first + 1) * sizeof *tokens));
        CHECK_EQUAL(state_of(decoder).finish_reason, LLADA_FINISH_EOS);
        llada_decoder_free(decoder);
        llada_model_free(model);
    }
    llada_model_free(plain);
}

/* ---- Logits and progress ---------------------------------------------------------------------------------------- */

static void full_logits(void) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    llada_model *model = open_model(1);
    static float out[PROMPT * VOCAB + 1], whole[PROMPT * VOCAB];
    CHECK_OK(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, whole, PROMPT * VOCAB, &count, &error));
    for (size_t i = 0; i < PROMPT * VOCAB; i++) CHECK(isfinite(whole[i]));
    out[PROMPT * VOCAB] = 42;
    for (size_t short_of = 1; short_of < 3; short_of++) {
        out[0] = 42;
        CHECK_REFUSED(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, out, PROMPT * VOCAB - short_of,
                                         &count, &error),
                      LLADA_ERROR_BUFFER_TOO_SMALL);
        CHECK(out[0] == 42);
    }
    count = 0;
    CHECK_REFUSED(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, NULL, 0, &count, &error),
                  LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK_EQUAL(count, PROMPT * VOCAB);
    CHECK_OK(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, out, PROMPT * VOCAB + 1, &count, &error));
    CHECK(out[PROMPT * VOCAB] == 42 && !memcmp(out, whole, sizeof whole));

    CHECK_REFUSED(llada_model_logits(model, prompt, PROMPT, 0, NULL, NULL, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, prompt, PROMPT, -4, NULL, NULL, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, prompt, PROMPT, INT32_MIN, NULL, NULL, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    /* A block longer than the sequence is the whole of it. */
    CHECK_EITHER(llada_model_logits(model, prompt, PROMPT, INT32_MAX, NULL, NULL, out, PROMPT * VOCAB, &count, NULL),
                 LLADA_OK, LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_logits(model, prompt, SIZE_MAX, BLOCK, NULL, NULL, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(
        llada_model_logits(model, prompt, SIZE_MAX / VOCAB + 2, BLOCK, NULL, NULL, out, PROMPT * VOCAB, &count, &error),
        LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_EITHER(llada_model_logits(model, NULL, 0, BLOCK, NULL, NULL, NULL, 0, &count, NULL), LLADA_OK,
                 LLADA_ERROR_INVALID_ARGUMENT);
    int32_t strange[] = {1, VOCAB};
    CHECK_REFUSED(llada_model_logits(model, strange, 2, BLOCK, NULL, NULL, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    strange[1] = -1;
    CHECK_REFUSED(llada_model_logits(model, strange, 2, BLOCK, NULL, NULL, out, PROMPT * VOCAB, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    strange[1] = MASK; /* of all places a mask is at home here */
    CHECK_OK(llada_model_logits(model, strange, 2, BLOCK, NULL, NULL, out, PROMPT * VOCAB, &count, &error));
    llada_model_free(model);
}

typedef struct {
    double last;
    int calls;
    int stop_at;
} loading;

static int on_progress(double fraction, void *user) {
    loading *l = user;
    CHECK(fraction >= l->last && fraction >= 0 && fraction <= 1);
    l->last = fraction;
    return ++l->calls == l->stop_at;
}

static void progress(void) {
    llada_error error = LLADA_ERROR_INIT;
    loading l = {0};
    llada_model_options options = usual_options();
    options.progress = on_progress;
    options.progress_user = &l;
    llada_model *model = NULL;
    CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
    CHECK(model && l.calls > 0 && l.last == 1);
    llada_model_free(model);
    int calls = l.calls;
    for (int stop_at = 1; stop_at <= calls; stop_at = stop_at < 4 ? stop_at + 1 : stop_at * 2) {
        l = (loading){.stop_at = stop_at};
        model = NULL;
        CHECK_REFUSED(llada_model_open(checkpoint(), &options, &model, &error), LLADA_ERROR_STOPPED);
        CHECK(!model && l.calls == stop_at);
    }
    remark("%d calls", calls);
}

int main(void) {
    static const test tests[] = {
        {"NULL arguments", null_arguments},
        {"struct_size of llada_model_options", ages_of_model_options},
        {"older llada_model_options get defaults", older_model_options},
        {"struct_size of llada_model_info", ages_of_model_info},
        {"model options out of range", model_options_out_of_range},
        {"end-of-sequence ids", end_of_sequence_ids},
        {"each end-of-sequence id ends an answer", each_id_ends_an_answer},
        {"full-sequence logits", full_logits},
        {"loading reports progress and can be stopped", progress},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
