/*
 * Ten thousand random operations on decoders that share a small prefix cache, on one thread and on four. Every decoder
 * keeps a log of what was done to it: what it shows must be what a fresh one, without a cache and alone, shows after
 * the same. Scores and texts in between are those of a thread alone. In the end nothing is left in the cache.
 *
 * With SOAK_SECONDS in the environment (make soak): eight threads, for so long, and memory must not grow.
 */
#include "decoders.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { OPERATIONS = 10000, MOST_THREADS = 8, SLOTS = 8, LOG = 220, BEGINNINGS = 3, POLICIES = 6, LONGEST = 40 };
enum { SCORED = 24, VERSIONS = 2, LETTERS = 64, MOST_BYTES = 1 << 20 };
/* K/V of a token: layers, keys and values, heads of these, their size, bytes of a number. */
enum { BLOCK_BYTES = 3 * 2 * 2 * 16 * 4 * BLOCK };

typedef enum { FORWARD, STEP, WRITE, TRUNCATE, FORK, RULE } kind;

typedef struct {
    llada_decoder *decoder;
    int32_t prompt[LONGEST];
    size_t prompt_count;
    int32_t gen_length;
    int policy; /* at its beginning; a fork may have changed it */
    bool has_rule;
    struct {
        kind kind;
        int32_t a, b;
    } log[LOG];
    int logged;
} slot;

typedef struct {
    llada_model *model;
    llada_prefix_cache *cache;
    uint64_t random;
    int operations; /* until then, or until the deadline */
    time_t deadline;
    char *file; /* of its own */
    slot slots[SLOTS];
    long steps, refused, cancelled, verified, restored, scored;
    int wrong, line; /* the first thing that was */
} worker;

#define EXPECT(condition)                                    \
    do {                                                     \
        if (!(condition) && !w->wrong++) w->line = __LINE__; \
    } while (0)

static llada_policy policies[POLICIES];

/* What one thread alone finds, before others are there. */
static llada_model *with_text; /* NULL: there is none */
static int32_t letters[LETTERS];
static size_t letter_count;
static const char words[] = "Seventeen plus \xE5\x9B\x9B is na\xC3\xAFve, 12345 times.";
static float scores[BEGINNINGS][VERSIONS * SCORED];

static void make_policies(void) {
    static const llada_preset presets[POLICIES] = {LLADA_PRESET_SPEEDY,      LLADA_PRESET_QUALITY,
                                                   LLADA_PRESET_QUALITY_MBE, LLADA_PRESET_LOW_CONFIDENCE,
                                                   LLADA_PRESET_SPEEDY,      LLADA_PRESET_QUALITY};
    for (int i = 0; i < POLICIES; i++) {
        llada_policy_init(&policies[i], sizeof policies[i], presets[i], NULL);
        policies[i].temperature = i < 4 ? 0 : 0.8f;
        policies[i].seed = (uint64_t)i;
    }
}

/* One of 0 ... below - 1. */
static int pick(worker *w, int below) {
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (int)((w->random >> 33) % (uint64_t)below);
}

/* Tokens that many prompts begin with. */
static int32_t beginning(int which, int position) { return (position * 7 + position / 3 * which + which) % 100; }

/* Log-probabilities of two noisy versions of a beginning. */
static llada_status score(const llada_model *model, int which, float *log_probs) {
    int32_t tokens[SCORED], noisy[VERSIONS][SCORED];
    size_t count = 0;
    for (int i = 0; i < SCORED; i++) {
        tokens[i] = beginning(which, i);
        for (int v = 0; v < VERSIONS; v++) noisy[v][i] = i > 4 && (i + v) % 3 == 0 ? MASK : tokens[i];
    }
    llada_noised_sequence sequence = {tokens, SCORED, noisy[0], VERSIONS, 4};
    llada_score_options options;
    llada_score_options_init(&options, sizeof options, NULL);
    options.block_length = BLOCK;
    return llada_model_score(model, &sequence, 1, &options, log_probs, NULL, NULL, NULL, VERSIONS * SCORED, &count,
                             NULL);
}

/* A rule: from left to right, a token at a time. */
static int leftmost(llada_decoder *decoder, void *user) {
    (void)user;
    llada_active active = LLADA_ACTIVE_INIT;
    if (llada_decoder_active(decoder, &active, NULL) != LLADA_OK) return 1;
    for (int32_t i = 0; i < active.count; i++)
        if (active.states[i] == LLADA_POSITION_MASKED && !active.locked[i]) {
            llada_edit edit = {active.first + i, active.predictions[i], active.confidences[i], LLADA_REASON_HOST};
            if (edit.token == MASK) return 0;
            return llada_decoder_set_proposal(decoder, &edit, 1, NULL) != LLADA_OK;
        }
    return 0;
}

static llada_decoder *create(worker *w, const slot *s, llada_prefix_cache *cache) {
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    llada_decoder_options_init(&options, sizeof options, NULL);
    options.block_length = BLOCK;
    options.gen_length = s->gen_length;
    options.policy = &policies[s->policy];
    options.prefix_cache = cache;
    EXPECT(llada_decoder_create(w->model, s->prompt, s->prompt_count, &options, &decoder, NULL) == LLADA_OK);
    return decoder;
}

static void note(slot *s, kind kind, int32_t a, int32_t b) {
    s->log[s->logged].kind = kind;
    s->log[s->logged].a = a;
    s->log[s->logged++].b = b;
}

/* What one shows is what the other shows, to the bit. */
static bool same(const llada_decoder *one, const llada_decoder *other) {
    llada_decoder_state a = state_of(one), b = state_of(other);
    const int32_t *tokens[2];
    const llada_position_state *states[2];
    size_t count[2];
    if (a.phase != b.phase || a.finish_reason != b.finish_reason || a.canvas_length != b.canvas_length ||
        a.settled_length != b.settled_length || a.active_first != b.active_first || a.active_count != b.active_count ||
        a.block_step != b.block_step || a.forwards != b.forwards || a.edits != b.edits)
        return false;
    llada_decoder_canvas(one, &tokens[0], &states[0], &count[0], NULL);
    llada_decoder_canvas(other, &tokens[1], &states[1], &count[1], NULL);
    if (memcmp(tokens[0], tokens[1], count[0] * sizeof **tokens) || memcmp(states[0], states[1], count[0]))
        return false;
    if (a.phase != LLADA_PHASE_FORWARDED && a.phase != LLADA_PHASE_PROPOSED) return true;
    llada_active active[2] = {active_of(one), active_of(other)};
    size_t positions = (size_t)active[0].count;
    return active[0].first == active[1].first && active[0].count == active[1].count &&
           !memcmp(active[0].predictions, active[1].predictions, positions * sizeof(int32_t)) &&
           !memcmp(active[0].confidences, active[1].confidences, positions * sizeof(float));
}

static void verify(worker *w, const slot *s) {
    llada_decoder *fresh = create(w, s, NULL), *fork = NULL;
    for (int i = 0; i < s->logged; i++) {
        int32_t a = s->log[i].a, b = s->log[i].b;
        switch (s->log[i].kind) {
        case FORWARD: EXPECT(llada_decoder_forward(fresh, NULL) == LLADA_OK); break;
        case STEP: EXPECT(llada_decoder_step(fresh, NULL) == LLADA_OK); break;
        case WRITE: EXPECT(llada_decoder_set_token(fresh, a, b, NULL) == LLADA_OK); break;
        case TRUNCATE: EXPECT(llada_decoder_truncate(fresh, a, NULL) == LLADA_OK); break;
        case FORK:
            EXPECT(llada_decoder_fork(fresh, &policies[a], &fork, NULL) == LLADA_OK);
            llada_decoder_free(fresh);
            fresh = fork;
            break;
        case RULE: EXPECT(llada_decoder_set_rule(fresh, a ? leftmost : NULL, NULL, NULL) == LLADA_OK);
        }
    }
    EXPECT(same(fresh, s->decoder));
    w->verified++;
    llada_decoder_free(fresh);
}

static void release(worker *w, slot *s) {
    if (!s->decoder) return;
    if (s->logged >= LOG - 2 || pick(w, 4) == 0) verify(w, s);
    llada_decoder_free(s->decoder);
    s->decoder = NULL;
}

static void begin(worker *w, slot *s) {
    release(w, s);
    int which = pick(w, BEGINNINGS), shared = pick(w, 25), own = 1 + pick(w, 8);
    s->prompt_count = (size_t)(shared + own);
    for (int i = 0; i < shared; i++) s->prompt[i] = beginning(which, i);
    for (int i = shared; i < shared + own; i++) s->prompt[i] = pick(w, 100);
    s->gen_length = 4 + pick(w, 16);
    s->policy = pick(w, POLICIES);
    s->logged = 0;
    s->has_rule = false;
    s->decoder = create(w, s, w->cache);
}

static void branch(worker *w, slot *from, slot *to) {
    if (to == from || from->logged >= LOG - 2) return;
    release(w, to);
    *to = *from;
    int policy = pick(w, 2 * POLICIES);
    EXPECT(llada_decoder_fork(from->decoder, policy < POLICIES ? &policies[policy] : NULL, &to->decoder, NULL) ==
           LLADA_OK);
    if (policy < POLICIES) note(to, FORK, policy, 0);
    EXPECT(same(from->decoder, to->decoder));
}

/* Why a step may fail here. */
static void expect_refusal(worker *w, llada_status status) {
    EXPECT(status == LLADA_ERROR_OUT_OF_MEMORY || status == LLADA_ERROR_CANCELLED);
    w->refused += status == LLADA_ERROR_OUT_OF_MEMORY;
    w->cancelled += status == LLADA_ERROR_CANCELLED;
}

/* One decoder by itself, or several together; a whole step, or its forward. */
static void work_on(worker *w, slot **chosen, size_t count, bool whole) {
    llada_decoder *decoders[SLOTS];
    llada_decoder_state before[SLOTS];
    for (size_t i = 0; i < count; i++) {
        decoders[i] = chosen[i]->decoder;
        before[i] = state_of(decoders[i]);
    }
    bool alone = count == 1 && pick(w, 2);
    llada_status status = alone ? (whole ? llada_decoder_step : llada_decoder_forward)(*decoders, NULL)
                                : (whole ? llada_decoders_step : llada_decoders_forward)(decoders, count, NULL);
    if (status != LLADA_OK) expect_refusal(w, status);
    for (size_t i = 0; i < count; i++) {
        bool forwarded = state_of(decoders[i]).forwards > before[i].forwards;
        /* Where a call fails, some have done their forwards. */
        if (status == LLADA_OK && whole)
            note(chosen[i], STEP, 0, 0);
        else if (forwarded)
            note(chosen[i], FORWARD, 0, 0);
        EXPECT(status != LLADA_OK || whole || forwarded);
        w->steps += status == LLADA_OK;
    }
}

static void step_some(worker *w, bool whole) {
    slot *chosen[SLOTS];
    size_t count = 0, most = (size_t)(1 + pick(w, SLOTS));
    for (int i = 0, at = pick(w, SLOTS); i < SLOTS && count < most; i++, at = (at + 1) % SLOTS) {
        slot *s = &w->slots[at];
        if (!s->decoder || s->logged >= LOG - 2) continue;
        llada_phase phase = state_of(s->decoder).phase;
        /* A forward that fails over predictions takes them away, which a log cannot tell: forwards begin from rest. */
        if (whole ? phase != LLADA_PHASE_FINISHED : phase == LLADA_PHASE_READY) chosen[count++] = s;
    }
    if (count) work_on(w, chosen, count, whole);
}

static void change(worker *w, slot *s) {
    llada_decoder_state state = state_of(s->decoder);
    int32_t position = pick(w, state.canvas_length), token = pick(w, 100);
    llada_status status;
    if (pick(w, 2)) {
        status = llada_decoder_set_token(s->decoder, position, token, NULL);
        EXPECT(status == (state.phase == LLADA_PHASE_FINISHED ? LLADA_ERROR_STATE : LLADA_OK));
        if (status == LLADA_OK) note(s, WRITE, position, token);
    } else {
        position = position / BLOCK * BLOCK;
        status = llada_decoder_truncate(s->decoder, position, NULL);
        EXPECT(status == LLADA_OK || position > state.active_first || position + BLOCK <= state.prompt_length);
        if (status == LLADA_OK)
            note(s, TRUNCATE, position, 0);
        else
            EXPECT(status == LLADA_ERROR_INVALID_ARGUMENT);
    }
}

static void pin(worker *w, bool pinned) {
    int32_t tokens[24];
    size_t found = 99, count = (size_t)pick(w, 25);
    int which = pick(w, BEGINNINGS);
    for (int i = 0; i < 24; i++) tokens[i] = beginning(which, i);
    EXPECT(llada_prefix_cache_pin(w->cache, tokens, count, BLOCK, pinned, &found, NULL) == LLADA_OK);
    EXPECT(found <= count && found % BLOCK == 0);
}

/* A snapshot takes the decoder's place, through memory or a file. A rule is not part of it. */
static void restore(worker *w, slot *s) {
    static _Thread_local unsigned char bytes[MOST_BYTES];
    llada_decoder *restored = NULL;
    size_t size = 0;
    bool pages = pick(w, 2);
    llada_status status;
    if (pick(w, 2)) {
        EXPECT(llada_decoder_save_file(s->decoder, pages, w->file, NULL, NULL, NULL) == LLADA_OK);
        status = llada_decoder_restore_file(w->model, w->cache, w->file, NULL, NULL, &restored, NULL);
    } else {
        EXPECT(llada_decoder_save(s->decoder, pages, NULL, NULL, bytes, sizeof bytes, &size, NULL) == LLADA_OK);
        status = llada_decoder_restore(w->model, w->cache, bytes, size, NULL, NULL, &restored, NULL);
    }
    if (status != LLADA_OK) {
        expect_refusal(w, status);
        return;
    }
    EXPECT(same(s->decoder, restored));
    if (s->has_rule) EXPECT(llada_decoder_set_rule(restored, leftmost, NULL, NULL) == LLADA_OK);
    llada_decoder_free(s->decoder);
    s->decoder = restored;
    w->restored++;
}

/* The whole cache, out and in. */
static void store(worker *w) {
    size_t added = 0;
    EXPECT(llada_prefix_cache_save(w->cache, w->file, NULL, NULL, NULL) == LLADA_OK);
    llada_status status = llada_prefix_cache_load(w->cache, w->file, NULL, NULL, &added, NULL);
    if (status != LLADA_OK) expect_refusal(w, status);
}

static void judge(worker *w) {
    float found[VERSIONS * SCORED];
    int which = pick(w, BEGINNINGS);
    EXPECT(score(w->model, which, found) == LLADA_OK);
    EXPECT(!memcmp(found, scores[which], sizeof found));
    w->scored++;
    if (!with_text) return;
    int32_t tokens[LETTERS];
    char text[4 * LETTERS];
    size_t count = 0, length = 0;
    EXPECT(llada_tokenize(with_text, words, sizeof words - 1, 0, tokens, LETTERS, &count, NULL) == LLADA_OK);
    EXPECT(count == letter_count && !memcmp(tokens, letters, count * sizeof *tokens));
    EXPECT(llada_detokenize(with_text, tokens, count, 0, text, sizeof text, &length, NULL) == LLADA_OK);
    EXPECT(length == sizeof words - 1 && !memcmp(text, words, length));
}

static void operate(worker *w) {
    slot *s = &w->slots[pick(w, SLOTS)];
    if (!s->decoder || s->logged >= LOG - 2) {
        begin(w, s);
        return;
    }
    int what = pick(w, 100);
    if (what < 25)
        step_some(w, true);
    else if (what < 32)
        step_some(w, false);
    else if (what < 55 && !has_finished(s->decoder))
        work_on(w, &s, 1, true);
    else if (what < 67)
        branch(w, s, &w->slots[pick(w, SLOTS)]);
    else if (what < 77)
        change(w, s);
    else if (what < 78) {
        s->has_rule = !s->has_rule;
        EXPECT(llada_decoder_set_rule(s->decoder, s->has_rule ? leftmost : NULL, NULL, NULL) == LLADA_OK);
        note(s, RULE, s->has_rule, 0);
    } else if (what < 80)
        restore(w, s);
    else if (what < 82)
        judge(w);
    else if (what < 88)
        begin(w, s);
    else if (what < 91)
        release(w, s);
    else if (what < 93)
        llada_decoder_cancel(s->decoder);
    else if (what < 99)
        pin(w, what == 93);
    else if (pick(w, 4) == 0)
        store(w);
    else
        EXPECT(llada_prefix_cache_clear(w->cache, NULL) == LLADA_OK);

    llada_prefix_cache_info info = LLADA_PREFIX_CACHE_INFO_INIT;
    EXPECT(llada_prefix_cache_get_info(w->cache, &info, NULL) == LLADA_OK);
    EXPECT(info.bytes <= info.max_bytes && info.bytes % BLOCK_BYTES == 0 && info.blocks * BLOCK_BYTES <= info.bytes &&
           info.pinned_blocks <= info.blocks && info.hits <= info.lookups);
}

static void *run(void *user) {
    worker *w = user;
    for (int i = 0; (w->deadline ? time(NULL) < w->deadline : i < w->operations) && !w->wrong; i++) operate(w);
    for (int i = 0; i < SLOTS; i++) {
        slot *s = &w->slots[i];
        if (!s->decoder) continue;
        verify(w, s);
        /* To its end, if there is room; a request to cancel that nobody has met yet ends the first try. */
        llada_status status = llada_decoder_run(s->decoder, NULL, NULL, NULL);
        if (status == LLADA_ERROR_CANCELLED) status = llada_decoder_run(s->decoder, NULL, NULL, NULL);
        if (status != LLADA_OK) EXPECT(status == LLADA_ERROR_OUT_OF_MEMORY);
        llada_decoder_free(s->decoder);
    }
    return NULL;
}

static long resident_kib(void) {
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    NEED(file && fscanf(file, "%ld %ld", &pages, &resident) == 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static char memory[100]; /* what it was, in words */

/* After a third of the time, memory has its size. */
static void watch_memory(time_t deadline, int seconds) {
    long first = 0, most = 0; /* KiB */
    for (time_t now; (now = time(NULL)) < deadline; sleep(1)) {
        long here = resident_kib();
        if (deadline - now > 2 * seconds / 3) continue;
        if (!first) first = here;
        if (here > most) most = here;
    }
    CHECK(most <= first + first / 10 + 4096);
    snprintf(memory, sizeof memory, "; %ld MiB after a third of the time, then at most %ld", first / 1024, most / 1024);
}

static void find_alone(const llada_model *model) {
    llada_error error = LLADA_ERROR_INIT;
    for (int i = 0; i < BEGINNINGS; i++) CHECK_STATUS(score(model, i, scores[i]), LLADA_OK);
    if (!text_model) return;
    CHECK_OK(llada_model_open(text_model, NULL, &with_text, &error));
    CHECK_OK(llada_tokenize(with_text, words, sizeof words - 1, 0, letters, LETTERS, &letter_count, &error));
}

/* A budget that some of the decoders fill: others are refused, and evict what is cached. */
static void operate_on(int threads, int32_t team, uint64_t blocks, int seconds) {
    static worker workers[MOST_THREADS];
    pthread_t ids[MOST_THREADS];
    llada_model *model = open_model(team);
    make_own_folder();
    find_alone(model);
    time_t deadline = seconds ? time(NULL) + seconds : 0;
    llada_prefix_cache *cache = NULL;
    make_policies();
    CHECK_STATUS(llada_prefix_cache_create(model, blocks * BLOCK_BYTES, &cache, NULL), LLADA_OK);
    for (int i = 0; i < threads; i++) {
        char name[] = {(char)('a' + i), 0};
        workers[i] = (worker){.model = model,
                              .cache = cache,
                              .random = (uint64_t)(17 + i),
                              .operations = OPERATIONS / threads,
                              .deadline = deadline,
                              .file = strdup(inside(name))};
    }
    for (int i = 0; i < threads; i++) NEED(!pthread_create(&ids[i], NULL, run, &workers[i]));
    if (seconds) watch_memory(deadline, seconds);
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    static worker sum;
    for (int i = 0; i < threads; i++) {
        if (workers[i].wrong) failed(__FILE__, workers[i].line, "not as expected, on thread %d", i);
        sum.steps += workers[i].steps;
        sum.refused += workers[i].refused;
        sum.cancelled += workers[i].cancelled;
        sum.verified += workers[i].verified;
        sum.restored += workers[i].restored;
        sum.scored += workers[i].scored;
        free(workers[i].file);
    }
    llada_prefix_cache_info info = LLADA_PREFIX_CACHE_INFO_INIT;
    /* No pin is left when as many were taken back. */
    for (int i = 0; i < OPERATIONS; i++) {
        llada_prefix_cache_get_info(cache, &info, NULL);
        if (!info.pinned_blocks) break;
        for (int which = 0; which < BEGINNINGS; which++) {
            int32_t tokens[24];
            for (int k = 0; k < 24; k++) tokens[k] = beginning(which, k);
            CHECK_STATUS(llada_prefix_cache_pin(cache, tokens, 24, BLOCK, false, NULL, NULL), LLADA_OK);
        }
    }
    CHECK_STATUS(llada_prefix_cache_clear(cache, NULL), LLADA_OK);
    CHECK_STATUS(llada_prefix_cache_get_info(cache, &info, NULL), LLADA_OK);
    CHECK(info.blocks == 0 && info.pinned_blocks == 0 && info.bytes == 0);
    /* All that is to be tried has happened. */
    CHECK(sum.refused > 0 && sum.cancelled > 0 && info.evicted_blocks > 0 && info.reused_tokens > 0);
    CHECK(sum.restored > 0 && sum.scored > 0);
    remark(
        "%ld steps, %ld refused for want of room, %ld cancelled, %ld restored, %ld scored, %ld verified, %llu tokens "
        "reused, %llu blocks evicted%s",
        sum.steps, sum.refused, sum.cancelled, sum.restored, sum.scored, sum.verified,
        (unsigned long long)info.reused_tokens, (unsigned long long)info.evicted_blocks, memory);
    llada_model_free(with_text);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
}

static void on_one_thread(void) { operate_on(1, 2, 40, 0); }
static void on_four_threads(void) { operate_on(4, 2, 4 * 24, 0); }
static void soak(void) {
    alarm(0); /* the harness's */
    operate_on(MOST_THREADS, 2, MOST_THREADS * 24, atoi(getenv("SOAK_SECONDS")));
}

int main(void) {
    const test long_test = {"eight threads, for as long as was asked for", soak};
    if (getenv("SOAK_SECONDS")) return run_tests(&long_test, 1);
    static const test tests[] = {
        {"ten thousand operations", on_one_thread},
        {"ten thousand operations on four threads", on_four_threads},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
