/*
 * What the caller's thread has set: rounding, flushing of denormals, traps, cancellation, errno. The library computes
 * the same bits whatever it is, traps nowhere, and leaves all of it as it was, afterwards and in callbacks.
 */
#define _GNU_SOURCE /* feenableexcept */
#include "decoders.h"

#include <errno.h>
#include <fenv.h>
#include <pthread.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
enum { FLUSHING = 0x8040 }; /* FTZ and DAZ */
static void set_flushing(bool on) { _mm_setcsr(on ? _mm_getcsr() | FLUSHING : _mm_getcsr() & ~(unsigned)FLUSHING); }
static bool flushing(void) { return (_mm_getcsr() & FLUSHING) == FLUSHING; }
#else
static bool is_flushing;
static void set_flushing(bool on) { is_flushing = on; }
static bool flushing(void) { return is_flushing; }
#endif

typedef struct {
    int rounding;
    bool flush;
    int traps;
} settings;

static const settings variants[] = {
    {FE_UPWARD, false, 0},
    {FE_DOWNWARD, true, 0},
    {FE_TOWARDZERO, false, 0},
    {FE_TONEAREST, true, 0},
    {FE_TONEAREST, false, FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW},
    {FE_UPWARD, true, FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

static void set(settings s) {
    fesetround(s.rounding);
    set_flushing(s.flush);
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(s.traps);
}

static bool are(settings s) { return fegetround() == s.rounding && flushing() == s.flush && fegetexcept() == s.traps; }

static void set_usual(void) {
    fedisableexcept(FE_ALL_EXCEPT);
    set_flushing(false);
    fesetround(FE_TONEAREST);
}

typedef struct {
    float logits[PROMPT * VOCAB];
    int32_t tokens[GEN];
    float log_probs[PROMPT];
} results;

typedef struct {
    settings s;
    int calls;
    bool wrong;
} watcher;

static int watch_step(const llada_decoder *decoder, void *user) {
    watcher *w = user;
    w->calls++;
    if (!are(w->s) || errno != 77) w->wrong = true;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT; /* a call within a callback changes nothing, either */
    if (llada_decoder_get_state(decoder, &state, NULL) != LLADA_OK) w->wrong = true;
    if (!are(w->s) || errno != 77) w->wrong = true;
    return 0;
}

static int watch_progress(double fraction, void *user) {
    watcher *w = user;
    w->calls++;
    if (fraction < 0 || !are(w->s) || errno != 77) w->wrong = true;
    return 0;
}

static int watch_rule(llada_decoder *decoder, void *user) { return watch_step(decoder, user); }

/* Opens, computes, decodes and scores with these settings. */
static results compute(llada_dtype dtype, int32_t threads, settings s) {
    results r;
    memset(&r, 0, sizeof r);
    watcher w = {s, 0, false};
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    options.dtype = dtype;
    options.threads = threads;
    options.progress = watch_progress;
    options.progress_user = &w;
    llada_decoder_options how;
    llada_policy policy;
    llada_score_options score;
    CHECK_OK(llada_decoder_options_init(&how, sizeof how, &error));
    CHECK_OK(llada_policy_init(&policy, sizeof policy, LLADA_PRESET_QUALITY, &error));
    CHECK_OK(llada_score_options_init(&score, sizeof score, &error));
    how.block_length = score.block_length = BLOCK;
    how.gen_length = GEN;
    how.eos_early_stop = false;
    how.policy = &policy;
    score.progress = watch_progress;
    score.progress_user = &w;
    static const int32_t noisy[PROMPT] = {MASK, MASK, MASK, MASK, MASK};
    const llada_noised_sequence sequence = {prompt, PROMPT, noisy, 1, 0};
    llada_model *model = NULL;
    llada_decoder *decoder = NULL;
    size_t count = 0;
    llada_status status[6];

    set(s);
    errno = 77;
    status[0] = llada_model_open(checkpoint(), &options, &model, &error);
    status[1] = llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, r.logits, PROMPT * VOCAB, &count, &error);
    status[2] = llada_decoder_create(model, prompt, PROMPT, &how, &decoder, &error);
    status[3] = llada_decoder_set_rule(decoder, watch_rule, &w, &error);
    status[4] = llada_decoder_run(decoder, watch_step, &w, &error);
    status[5] = llada_model_score(model, &sequence, 1, &score, r.log_probs, NULL, NULL, NULL, PROMPT, &count, &error);
    llada_decoder_output(decoder, r.tokens, GEN, &count, &error);
    llada_decoder_free(decoder);
    llada_model_free(model);
    const bool kept = are(s) && errno == 77;
    set_usual();

    for (int i = 0; i < 6; i++) CHECK_STATUS(status[i], LLADA_OK);
    CHECK(kept && !w.wrong && w.calls > GEN);
    return r;
}

static void the_same_bits(void) {
    for (llada_dtype dtype = LLADA_DTYPE_AUTO; dtype <= LLADA_DTYPE_INT4; dtype++) {
        const results usual = compute(dtype, 1, (settings){FE_TONEAREST, false, 0});
        CHECK(usual.log_probs[0] < 0 && usual.logits[1] != 0);
        for (int v = 0; v < VARIANTS; v++)
            for (int32_t threads = 1; threads <= 3; threads++) {
                const results r = compute(dtype, threads, variants[v]);
                CHECK(!memcmp(&r, &usual, sizeof r));
            }
    }
}

/* A callback may change the settings; then they stay so. */
static int change(double fraction, void *user) {
    if (fraction < 0 || user) return 1;
    fesetround(FE_DOWNWARD);
    return 0;
}

static void a_callback_may_change_them(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    options.progress = change;
    llada_model *model = NULL;
    llada_status status = llada_model_open(checkpoint(), &options, &model, &error);
    const int rounding = fegetround();
    set_usual();
    CHECK_STATUS(status, LLADA_OK);
    CHECK_EQUAL(rounding, FE_DOWNWARD);
    llada_model_free(model);
}

/* pthread_cancel takes effect outside of the library: within, a thread would be unwound in the midst of its work. */
static void *cancelled_at_work(void *user) {
    int *reached = user;
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    options.use_mmap = false; /* read() is a point where threads are cancelled */
    llada_model *model = NULL;
    pthread_cancel(pthread_self());
    if (llada_model_open(checkpoint(), &options, &model, &error) == LLADA_OK) *reached = 1;
    llada_model_free(model);
    if (*reached) *reached = 2;
    pthread_testcancel();
    *reached = 3;
    return NULL;
}

static void cancellation(void) {
    pthread_t thread;
    void *result = NULL;
    int reached = 0;
    NEED(!pthread_create(&thread, NULL, cancelled_at_work, &reached));
    NEED(!pthread_join(thread, &result));
    CHECK(result == PTHREAD_CANCELED);
    CHECK_EQUAL(reached, 2);
    int state = 0;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
    CHECK_EQUAL(state, PTHREAD_CANCEL_ENABLE);
}

static void errors_keep_errno(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = NULL;
    errno = 55;
    CHECK_REFUSED(llada_model_open("no/such/folder", NULL, &model, &error), LLADA_ERROR_IO);
    CHECK_EQUAL(errno, 55);
}

int main(void) {
    static const test tests[] = {
        {"rounding, flushing, traps: the same bits", the_same_bits},
        {"a callback may change them", a_callback_may_change_them},
        {"pthread_cancel waits for the call's end", cancellation},
        {"errno", errors_keep_errno},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
