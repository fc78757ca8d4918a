/* Memory: once a decoder, or a batch, has taken its first step, steps allocate nothing. This program has the functions
 * that allocate itself, and so the library that it loads calls them here, where they are counted. */
#include "decoders.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static atomic_long allocations;

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    allocations++;
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
    allocations++;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **memory, size_t alignment, size_t size) {
    *memory = memalign(alignment, size);
    return *memory ? 0 : ENOMEM;
}

/* Runs a call of the library, and notes a failure if it allocates. */
#define CHECK_FREE_OF_ALLOCATIONS(call)                                             \
    do {                                                                            \
        long before_ = allocations;                                                 \
        CHECK_OK(call);                                                             \
        long made_ = allocations - before_;                                         \
        if (made_) failed(__FILE__, __LINE__, "%s: %ld allocations", #call, made_); \
    } while (0)

/* ---- What is stepped -------------------------------------------------------------------------------------------- */

typedef struct {
    llada_dtype dtype;
    int32_t threads;
    bool in_place; /* experts are used in the file that the model was saved to */
} setting;

static llada_model *open_setting(const setting *s) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    llada_model *model = NULL;
    options.threads = s->threads;
    options.dtype = s->dtype;
    options.eos_token_id_count = 0;
    options.delete_token_id = 65, options.split_token_id = 2; /* which this model likes to predict */
    options.blas = LLADA_BLAS_OFF;                            /* OpenBLAS allocates as it likes */
    CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
    NEED(model);
    if (!s->in_place) return model;
    make_own_folder();
    CHECK_OK(llada_model_save(model, own_folder, NULL, NULL, &error));
    llada_model_free(model);
    model = NULL;
    options.use_mmap = LLADA_MMAP_ON;
    CHECK_OK(llada_model_open(own_folder, &options, &model, &error));
    NEED(model);
    const char *files[] = {"model.safetensors", "config.json", "generation_config.json"};
    for (int i = 0; i < 3; i++) unlink(inside(files[i])); /* the map keeps its file */
    CHECK(!rmdir(own_folder));
    return model;
}

typedef struct {
    llada_preset preset;
    float temperature;
    int32_t window; /* of multi-block editing; 0: the preset's */
    bool use_cache;
    llada_levenshtein_variant variant;
    int32_t top_k; /* with a temperature, as top_p; 0: 40 and 0.9 */
    float top_p;
    size_t candidates; /* that are kept */
} way;

static const way ways[] = {
    {LLADA_PRESET_LOW_CONFIDENCE, 0, 0, true},
    {LLADA_PRESET_SPEEDY, 0, 0, true},
    {LLADA_PRESET_QUALITY, 0, 0, true},
    {LLADA_PRESET_QUALITY_MBE, 0, 0, true},
    {LLADA_PRESET_QUALITY_MBE, 0, 4, true},
    {LLADA_PRESET_QUALITY, 0.8f, 0, true},
    {LLADA_PRESET_QUALITY_MBE, 0, 0, false},
    {LLADA_PRESET_LEVENSHTEIN, 0, 0, true},
    {LLADA_PRESET_LEVENSHTEIN, 0.8f, 0, true},
    {LLADA_PRESET_LEVENSHTEIN, 0, 0, true, LLADA_LEVENSHTEIN_INDEL},
    {LLADA_PRESET_QUALITY, 1, 0, true, 0, -1, 1, 3},
    {LLADA_PRESET_QUALITY_MBE, 0, 0, true, 0, 0, 0, 5},
    {LLADA_PRESET_SPEEDY_REFRESH, 0, 0, true},
    {LLADA_PRESET_LOW_CONFIDENCE_REFRESH, 0, 0, true},
    {LLADA_PRESET_QUALITY_REFRESH, 0, 2, true},
};
enum { WAYS = sizeof ways / sizeof *ways };

static llada_decoder *make_way(const llada_model *model, const way *w, llada_prefix_cache *cache, int32_t gen_length) {
    llada_error error = LLADA_ERROR_INIT;
    llada_policy policy;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    CHECK_OK(llada_policy_init(&policy, sizeof policy, w->preset, &error));
    policy.temperature = w->temperature;
    if (w->temperature > 0) policy.top_k = w->top_k ? w->top_k : 40, policy.top_p = w->top_k ? w->top_p : 0.9f;
    if (policy.top_k < 0) policy.top_k = 0;
    if (w->window) policy.mbe_window = w->window;
    policy.variant = w->variant;
    CHECK_OK(llada_decoder_options_init(&options, sizeof options, &error));
    options.block_length = BLOCK;
    options.gen_length = gen_length;
    options.eos_early_stop = false;
    options.use_cache = w->use_cache;
    options.prefix_cache = cache;
    options.policy = &policy;
    CHECK_OK(llada_decoder_create(model, prompt, PROMPT, &options, &decoder, &error));
    NEED(decoder);
    CHECK_OK(llada_decoder_keep_candidates(decoder, w->candidates, &error));
    return decoder;
}

/* What a rule may look at, without an allocation: what is kept, and after the first step what is not. */
static void look(const llada_decoder *decoder, const way *w) {
    llada_error error = LLADA_ERROR_INIT;
    llada_active active = active_of(decoder);
    llada_candidate candidates[5];
    size_t count = 0;
    for (int32_t at = active.first; at < active.first + active.count; at++)
        CHECK_OK(llada_decoder_candidates(decoder, at, candidates, w->candidates, &count, &error));
}

static const setting settings[] = {{LLADA_DTYPE_F32, 1, false},
                                   {LLADA_DTYPE_F32, 3, false},
                                   {LLADA_DTYPE_INT8, 1, false},
                                   {LLADA_DTYPE_INT8, 3, false},
                                   {LLADA_DTYPE_INT4, 3, true}};

/* ---- Tests ------------------------------------------------------------------------------------------------------ */

/* The parts of every step, after the first, and what a host looks at in between. */
static void parts_of_steps(void) {
    llada_error error = LLADA_ERROR_INIT;
    const setting *s = test_argument;
    llada_model *model = open_setting(s);
    for (int i = 0; i < WAYS; i++) {
        llada_decoder *decoder = make_way(model, &ways[i], NULL, GEN);
        const llada_edit *edits = NULL;
        const llada_event *events = NULL;
        size_t count = 0;
        int steps = 0;
        CHECK_OK(llada_decoder_step(decoder, &error));
        CHECK_OK(llada_decoder_events(decoder, &events, &count, &error));
        look(decoder, &ways[i]); /* a first call takes what belongs to its types, once for all */
        for (; !has_finished(decoder) && steps < 1000; steps++) {
            CHECK_FREE_OF_ALLOCATIONS(llada_decoder_forward(decoder, &error));
            long before = allocations;
            look(decoder, &ways[i]);
            CHECK_EQUAL(allocations, before);
            CHECK_FREE_OF_ALLOCATIONS(llada_decoder_propose(decoder, &error));
            if (steps)
                CHECK_FREE_OF_ALLOCATIONS(llada_decoder_proposal(decoder, &edits, &count, &error));
            else
                CHECK_OK(llada_decoder_proposal(decoder, &edits, &count, &error));
            CHECK_FREE_OF_ALLOCATIONS(llada_decoder_apply(decoder, &error));
            CHECK_FREE_OF_ALLOCATIONS(llada_decoder_events(decoder, &events, &count, &error));
        }
        CHECK(steps > 3);
        llada_decoder_free(decoder);
    }
    llada_model_free(model);
}

static int count_steps(const llada_decoder *decoder, void *steps) {
    llada_error error = LLADA_ERROR_INIT;
    const llada_event *events = NULL;
    size_t count = 0;
    CHECK_OK(llada_decoder_events(decoder, &events, &count, &error));
    ++*(int *)steps;
    return 0;
}

/* Runs of blocks and to the end. A later decoder that is no longer than the first allocates pages and its states. */
static void runs(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_setting(test_argument);
    for (int i = 0; i < WAYS; i++) {
        llada_decoder *decoder = make_way(model, &ways[i], NULL, GEN);
        int steps = 0;
        CHECK_OK(llada_decoder_step(decoder, &error));
        count_steps(decoder, &steps);
        CHECK_FREE_OF_ALLOCATIONS(llada_decoder_run_block(decoder, count_steps, &steps, &error));
        CHECK_FREE_OF_ALLOCATIONS(llada_decoder_run(decoder, count_steps, &steps, &error));
        CHECK(has_finished(decoder) && steps > 5);
        llada_decoder_free(decoder);
    }
    llada_model_free(model);
}

/* Takes the policy's proposal but the last edit, as its own. */
static int thin_out(llada_decoder *decoder, void *user) {
    llada_error error = LLADA_ERROR_INIT;
    const llada_edit *edits = NULL;
    size_t count = 0;
    (void)user;
    CHECK_OK(llada_decoder_proposal(decoder, &edits, &count, &error));
    CHECK_OK(llada_decoder_set_proposal(decoder, edits, count > 1 ? count - 1 : count, &error));
    return 0;
}

static void rules(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_setting(test_argument);
    for (int i = 0; i < WAYS; i++) {
        llada_decoder *decoder = make_way(model, &ways[i], NULL, GEN);
        CHECK_OK(llada_decoder_set_rule(decoder, thin_out, NULL, &error));
        CHECK_OK(llada_decoder_step(decoder, &error));
        for (int steps = 0; !has_finished(decoder) && steps < 1000; steps++)
            CHECK_FREE_OF_ALLOCATIONS(llada_decoder_step(decoder, &error));
        llada_decoder_free(decoder);
    }
    llada_model_free(model);
}

/* Decoders of all kinds and several lengths, which leave the batch one by one. */
static void batches(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_setting(test_argument);
    llada_decoder *all[WAYS], *working[WAYS];
    for (int sampled = 0; sampled < 2; sampled++) {
        for (int i = 0; i < WAYS; i++) {
            way w = ways[i];
            if (!sampled) w.temperature = 0;
            all[i] = make_way(model, &w, NULL, GEN - i);
        }
        CHECK_OK(llada_decoders_step(all, WAYS, &error));
        for (int steps = 0; steps < 1000; steps++) {
            size_t count = 0;
            for (int i = 0; i < WAYS; i++)
                if (!has_finished(all[i])) working[count++] = all[i];
            if (count == 0) break;
            CHECK_FREE_OF_ALLOCATIONS(llada_decoders_step(working, count, &error));
        }
        for (int i = 0; i < WAYS; i++) {
            CHECK(has_finished(all[i]));
            llada_decoder_free(all[i]);
        }
    }
    llada_model_free(model);
}

/* Pages of a prefix cache are made block by block: a step that stays in its block allocates nothing, unless the next
 * block, whose page is made then, runs along in its forward. */
static void prefix_caches(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_setting(test_argument);
    llada_prefix_cache *cache = make_cache(model, 1 << 24);
    way w = {LLADA_PRESET_QUALITY, 0, 0, true};
    llada_decoder *decoder = make_way(model, &w, cache, GEN);
    int within = 0;
    while (!has_finished(decoder)) {
        CHECK_OK(llada_decoder_step(decoder, &error));
        while (!has_finished(decoder) && state_of(decoder).block_step > 0) {
            long made = allocations;
            uint64_t rows = state_of(decoder).computed_positions;
            CHECK_OK(llada_decoder_forward(decoder, &error));
            made = allocations - made;
            CHECK(made == 0 || state_of(decoder).computed_positions == rows + 2 * BLOCK);
            CHECK_FREE_OF_ALLOCATIONS(llada_decoder_propose(decoder, &error));
            if (state_of(decoder).settled_length + 2 * BLOCK > state_of(decoder).canvas_length) {
                CHECK_OK(llada_decoder_apply(decoder, &error)); /* may be the end, which shares the last block */
            } else {
                CHECK_FREE_OF_ALLOCATIONS(llada_decoder_apply(decoder, &error));
            }
            within++;
        }
    }
    CHECK(within > 5);
    llada_decoder_free(decoder);
    llada_prefix_cache_free(cache);
    llada_model_free(model);
}

/* A fork takes memory of its own at its first step, and so does the origin, where they shared. */
static void forks(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = open_setting(test_argument);
    for (int i = 0; i < WAYS; i++) {
        llada_decoder *decoder = make_way(model, &ways[i], NULL, GEN), *fork = NULL;
        CHECK_OK(llada_decoder_run_block(decoder, NULL, NULL, &error));
        CHECK_OK(llada_decoder_step(decoder, &error));
        CHECK_OK(llada_decoder_fork(decoder, NULL, &fork, &error));
        NEED(fork);
        CHECK_OK(llada_decoder_step(decoder, &error));
        CHECK_OK(llada_decoder_step(fork, &error));
        while (!has_finished(decoder)) CHECK_FREE_OF_ALLOCATIONS(llada_decoder_step(decoder, &error));
        while (!has_finished(fork)) CHECK_FREE_OF_ALLOCATIONS(llada_decoder_step(fork, &error));
        llada_decoder_free(fork);
        llada_decoder_free(decoder);
    }
    llada_model_free(model);
}

/* The counter itself counts what the library does. */
static void counter(void) {
    long before = allocations;
    llada_model *model = open_model(1);
    CHECK(allocations > before + 10);
    before = allocations;
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_QUALITY, GEN);
    CHECK(allocations > before);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

int main(void) {
    const char *kinds[] = {"f32, 1 thread", "f32, 3 threads", "int8, 1 thread", "int8, 3 threads",
                           "int4 in place, 3 threads"};
    const struct {
        const char *name;
        void (*run)(void);
    } subjects[] = {{"the parts of a step", parts_of_steps},
                    {"runs", runs},
                    {"rules", rules},
                    {"batches", batches},
                    {"forks", forks},
                    {"prefix caches", prefix_caches}};
    enum { SUBJECTS = sizeof subjects / sizeof *subjects, KINDS = 5 };
    static char names[SUBJECTS * KINDS][64];
    test tests[SUBJECTS * KINDS + 1] = {{"the counter counts", counter, NULL}};
    for (size_t i = 0; i < SUBJECTS * KINDS; i++) {
        snprintf(names[i], sizeof names[i], "%s, %s", subjects[i / KINDS].name, kinds[i % KINDS]);
        tests[i + 1] = (test){names[i], subjects[i / KINDS].run, &settings[i % KINDS]};
    }
    return run_tests(tests, SUBJECTS * KINDS + 1);
}
