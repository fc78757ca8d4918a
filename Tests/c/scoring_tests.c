/* Likelihoods through the header: what is written where, what is refused, what a small struct means. */
#include "decoders.h"

#include <math.h>
#include <pthread.h>

enum { COUNT = 11, VERSIONS = 2, ALL = COUNT * VERSIONS };
static const int32_t tokens[COUNT] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8};
static const int32_t noisy[ALL] = {3, 1, 4, MASK, 5, MASK, 7, 6, 5, 35, 8, 3, 1, 4, 1, 5, 9, 2, 6, MASK, 35, MASK};

static llada_noised_sequence sequence(void) {
    llada_noised_sequence s = {tokens, COUNT, noisy, VERSIONS, 3};
    return s;
}

static llada_score_options in_blocks(int32_t length) {
    llada_error error = LLADA_ERROR_INIT;
    llada_score_options options;
    CHECK_OK(llada_score_options_init(&options, sizeof options, &error));
    options.block_length = length;
    return options;
}

static void defaults(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_score_options options;
    memset(&options, 0xA5, sizeof options);
    CHECK_OK(llada_score_options_init(&options, sizeof options, &error));
    CHECK_EQUAL(options.struct_size, sizeof options);
    CHECK_EQUAL(options.block_length, 32);
    CHECK(!options.everywhere && !options.progress && !options.progress_user);
    CHECK_REFUSED(llada_score_options_init(NULL, sizeof options, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_score_options_init(&options, 3, &error), LLADA_ERROR_INVALID_ARGUMENT);
}

/* Against the logits of the clean blocks before and the noisy one, a block at a time. */
static void scores(void) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    llada_model *model = open_model(2);
    llada_noised_sequence s = sequence();
    for (int everywhere = 0; everywhere < 2; everywhere++) {
        llada_score_options options = in_blocks(BLOCK);
        options.everywhere = everywhere;
        float log_probs[ALL], confidences[ALL], entropies[ALL];
        int32_t predictions[ALL];
        CHECK_OK(llada_model_score(model, &s, 1, &options, log_probs, predictions, confidences, entropies, ALL, &count,
                                   &error));
        CHECK_EQUAL(count, ALL);
        for (int version = 0; version < VERSIONS; version++)
            for (int i = 0; i < COUNT; i++) {
                int at = version * COUNT + i;
                if (i < 3 || (!everywhere && noisy[at] == tokens[i])) {
                    CHECK(isnan(log_probs[at]) && isnan(confidences[at]) && isnan(entropies[at]));
                    CHECK_EQUAL(predictions[at], -1);
                    continue;
                }
                int32_t seen[COUNT];
                float logits[COUNT * VOCAB];
                int start = i / BLOCK * BLOCK, end = start + BLOCK < COUNT ? start + BLOCK : COUNT, best = 0;
                memcpy(seen, tokens, sizeof seen);
                memcpy(seen + start, noisy + version * COUNT + start, (size_t)(end - start) * sizeof *seen);
                CHECK_OK(llada_model_logits(model, seen, (size_t)end, BLOCK, NULL, NULL, logits, COUNT * VOCAB, &count,
                                            &error));
                const float *row = logits + i * VOCAB;
                double sum = 0, mean = 0;
                for (int t = 1; t < VOCAB; t++) best = row[t] > row[best] ? t : best;
                for (int t = 0; t < VOCAB; t++) sum += exp((double)row[t] - (double)row[best]);
                for (int t = 0; t < VOCAB; t++) {
                    double log_p = (double)row[t] - (double)row[best] - log(sum);
                    mean += exp(log_p) * log_p;
                    if (t == tokens[i]) CHECK(fabs(log_p - (double)log_probs[at]) < 1e-5);
                }
                CHECK_EQUAL(predictions[at], best);
                CHECK(fabs(1 / sum - (double)confidences[at]) < 1e-5);
                CHECK(fabs(mean + (double)entropies[at]) < 1e-5);
            }
    }
    llada_model_free(model);
}

/* Several at once, and any of the arrays left out: each is what it is alone. */
static void parts(void) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    llada_model *model = open_model(1);
    llada_score_options options = in_blocks(BLOCK);
    llada_noised_sequence both[3] = {sequence(), {NULL, 0, NULL, 5, 0}, {tokens, COUNT, noisy + COUNT, 1, 0}};
    float all[ALL + COUNT + 1], some[ALL + COUNT];
    int32_t ids[ALL + COUNT];
    all[ALL + COUNT] = 1;
    CHECK_OK(llada_model_score(model, both, 3, &options, all, ids, NULL, NULL, ALL + COUNT, &count, &error));
    CHECK(all[ALL + COUNT] == 1);
    CHECK_OK(llada_model_score(model, both, 3, &options, NULL, NULL, NULL, some, ALL + COUNT, &count, &error));
    for (int i = 0; i < ALL + COUNT; i++) CHECK((ids[i] < 0) == !!isnan(some[i]));
    for (int i = 0; i < 2; i++) {
        CHECK_OK(llada_model_score(model, &both[2 * i], 1, &options, some, NULL, NULL, NULL, ALL, &count, &error));
        CHECK(!memcmp(some, all + i * ALL, (i ? COUNT : ALL) * sizeof *some));
    }
    CHECK_OK(llada_model_score(model, both, 3, &options, NULL, NULL, NULL, NULL, ALL + COUNT, &count, &error));
    CHECK_EQUAL(count, ALL + COUNT);
    count = 0;
    CHECK_REFUSED(llada_model_score(model, both, 3, &options, NULL, NULL, NULL, NULL, 0, &count, &error),
                  LLADA_ERROR_BUFFER_TOO_SMALL);
    CHECK_EQUAL(count, ALL + COUNT);
    CHECK_OK(llada_model_score(model, NULL, 0, NULL, NULL, NULL, NULL, NULL, 0, &count, &error));
    llada_model_free(model);
}

static void refusals(void) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    llada_model *model = open_model(1);
    llada_score_options options = in_blocks(BLOCK);
    float out[ALL];
    for (int i = 0; i < ALL; i++) out[i] = 7;
    const int32_t outside[COUNT] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 35, VOCAB}, negative[COUNT] = {-1};
    const llada_noised_sequence bad[] = {
        {NULL, COUNT, noisy, VERSIONS, 3},
        {tokens, COUNT, NULL, VERSIONS, 3},
        {tokens, COUNT, noisy, VERSIONS, COUNT + 1},
        {tokens, COUNT, noisy, VERSIONS, -1},
        {tokens, COUNT, noisy, VERSIONS, 4} /* noise in the prompt */,
        {tokens, COUNT, outside, 1, 3},
        {outside, COUNT, noisy, VERSIONS, 3},
        {negative, COUNT, noisy, VERSIONS, 0},
        {tokens, COUNT, noisy, SIZE_MAX, 3},
        {tokens, COUNT, noisy, SIZE_MAX / COUNT + 1, 3},
        {tokens, SIZE_MAX, noisy, 1, 3},
        {tokens, (size_t)1 << 40, noisy, 1, 3},
        {tokens, COUNT, noisy, (size_t)1 << 31, 3},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        llada_noised_sequence two[2] = {sequence(), bad[i]};
        CHECK_REFUSED(llada_model_score(model, two, 2, &options, out, NULL, NULL, NULL, SIZE_MAX, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
    }
    llada_noised_sequence s = sequence();
    CHECK_REFUSED(llada_model_score(NULL, &s, 1, &options, out, NULL, NULL, NULL, ALL, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_score(model, NULL, 1, &options, out, NULL, NULL, NULL, ALL, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_score(model, &s, SIZE_MAX, &options, out, NULL, NULL, NULL, ALL, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    CHECK_REFUSED(llada_model_score(model, &s, 1, &options, out, NULL, NULL, NULL, ALL - 1, &count, &error),
                  LLADA_ERROR_BUFFER_TOO_SMALL);
    for (int32_t length = -1; length < 1; length++) {
        options.block_length = length;
        CHECK_REFUSED(llada_model_score(model, &s, 1, &options, out, NULL, NULL, NULL, ALL, &count, &error),
                      LLADA_ERROR_INVALID_ARGUMENT);
    }
    for (int i = 0; i < ALL; i++) CHECK(out[i] == 7);
    llada_model_free(model);
}

/* A struct of an older header, and one of a newer. */
static void ages(void) {
    llada_error error = LLADA_ERROR_INIT;
    size_t count = 0;
    llada_model *model = open_model(1);
    llada_noised_sequence s = sequence();
    struct {
        llada_score_options o;
        unsigned char tail[16];
    } options;
    float expected[ALL], out[ALL];
    memset(&options, 0x5A, sizeof options);
    options.o.block_length = BLOCK;
    llada_score_options now = in_blocks(BLOCK);
    CHECK_OK(llada_model_score(model, &s, 1, &now, expected, NULL, NULL, NULL, ALL, &count, &error));
    options.o.struct_size = offsetof(llada_score_options, everywhere);
    CHECK_OK(llada_model_score(model, &s, 1, &options.o, out, NULL, NULL, NULL, ALL, &count, &error));
    CHECK(!memcmp(out, expected, sizeof out));
    now = in_blocks(32);
    CHECK_OK(llada_model_score(model, &s, 1, &now, expected, NULL, NULL, NULL, ALL, &count, &error));
    options.o.struct_size = sizeof options.o.struct_size;
    CHECK_OK(llada_model_score(model, &s, 1, &options.o, out, NULL, NULL, NULL, ALL, &count, &error));
    CHECK(!memcmp(out, expected, sizeof out));
    memset(&options, 0, sizeof options);
    options.o = now;
    options.o.struct_size = sizeof options;
    CHECK_OK(llada_model_score(model, &s, 1, &options.o, out, NULL, NULL, NULL, ALL, &count, &error));
    options.tail[3] = 1;
    CHECK_REFUSED(llada_model_score(model, &s, 1, &options.o, out, NULL, NULL, NULL, ALL, &count, &error),
                  LLADA_ERROR_INVALID_ARGUMENT);
    llada_model_free(model);
}

typedef struct {
    int calls, stop_at;
    double last;
} watched;

static int watch(double fraction, void *user) {
    watched *w = user;
    CHECK(fraction > w->last && fraction <= 1);
    w->last = fraction;
    return ++w->calls == w->stop_at;
}

static void progress(void) {
    size_t count = 0;
    enum { LONG = 300, MANY = 5 };
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_model(1);
    static int32_t clean[LONG], masked[LONG * MANY];
    static float out[LONG * MANY];
    for (int i = 0; i < LONG * MANY; i++) masked[i] = MASK;
    llada_noised_sequence s = {clean, LONG, masked, MANY, 0};
    llada_score_options options = in_blocks(BLOCK);
    watched w = {0, 0, 0};
    options.progress = watch;
    options.progress_user = &w;
    CHECK_OK(llada_model_score(model, &s, 1, &options, out, NULL, NULL, NULL, LONG * MANY, &count, &error));
    /* 296 + 5 * 300 positions in 4 forwards: a report between any two layers, and one for each 64 positions judged. */
    llada_model_info info = LLADA_MODEL_INFO_INIT;
    CHECK_OK(llada_model_get_info(model, &info, &error));
    CHECK(w.calls >= 4 * (info.num_hidden_layers - 1) + LONG * MANY / 64 && w.last == 1);
    w = (watched){0, 2, 0};
    CHECK_REFUSED(llada_model_score(model, &s, 1, &options, out, NULL, NULL, NULL, LONG * MANY, &count, &error),
                  LLADA_ERROR_STOPPED);
    CHECK_EQUAL(w.calls, 2);
    llada_model_free(model);
}

static void *score_often(void *model) {
    size_t count = 0;
    float *out = malloc(ALL * sizeof *out);
    llada_noised_sequence s = sequence();
    for (int i = 0; i < 20; i++)
        CHECK_STATUS(llada_model_score(model, &s, 1, NULL, out, NULL, NULL, NULL, ALL, &count, NULL), LLADA_OK);
    return out;
}

static void threads(void) {
    enum { THREADS = 4 };
    llada_model *model = open_model(2);
    pthread_t workers[THREADS];
    float *expected = score_often(model);
    for (int i = 0; i < THREADS; i++) NEED(!pthread_create(&workers[i], NULL, score_often, model));
    for (int i = 0; i < THREADS; i++) {
        void *out = NULL;
        pthread_join(workers[i], &out);
        CHECK(!memcmp(out, expected, ALL * sizeof *expected));
        free(out);
    }
    free(expected);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"defaults", defaults},
        {"scores are those of logits block by block", scores},
        {"several sequences, some of the arrays", parts},
        {"refusals leave the buffers alone", refusals},
        {"struct_size of llada_score_options", ages},
        {"progress, and stopping", progress},
        {"many threads score with one model", threads},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
