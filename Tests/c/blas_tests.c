/*
 * A host that uses OpenBLAS as well. Its number of threads is its own, whoever loads the library first, in callbacks
 * and afterwards; and the results do not depend on it.
 */
#include "decoders.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>

enum { HOSTS = 2 };

static int (*get_threads)(void);
static void (*set_threads)(int);
static void (*sgemm)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

/* What the host does to use it. */
static bool load(int threads) {
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        remark("OpenBLAS is not installed");
        return false;
    }
    *(void **)&get_threads = dlsym(library, "openblas_get_num_threads");
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    *(void **)&sgemm = dlsym(library, "cblas_sgemm");
    NEED(get_threads && set_threads && sgemm);
    if (threads) set_threads(threads);
    return true;
}

static llada_model *open_with_blas(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    llada_model *model = NULL;
    options.blas = LLADA_BLAS_ON;
    options.dtype = LLADA_DTYPE_F32;
    options.threads = 3;
    options.eos_token_id_count = 0;
    CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
    NEED(model);
    return model;
}

typedef struct {
    float logits[PROMPT * VOCAB];
    int32_t tokens[GEN];
    float log_probs[PROMPT];
} results;

static int is_two(const llada_decoder *decoder, void *user) {
    (void)decoder;
    (void)user;
    if (get_threads) CHECK_EQUAL(get_threads(), HOSTS);
    return 0;
}

static int still_two(double fraction, void *user) {
    (void)fraction;
    return is_two(NULL, user);
}

static void compute(const llada_model *model, results *r) {
    llada_error error = LLADA_ERROR_INIT;
    llada_score_options options;
    int32_t noisy[PROMPT];
    size_t count = 0;
    for (int i = 0; i < PROMPT; i++) noisy[i] = i < 2 ? prompt[i] : MASK;
    const llada_noised_sequence sequence = {prompt, PROMPT, noisy, 1, 2};
    CHECK_OK(llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, r->logits, PROMPT * VOCAB, &count, &error));
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_SPEEDY, GEN);
    CHECK_OK(llada_decoder_run(decoder, is_two, NULL, &error));
    CHECK_OK(llada_decoder_output(decoder, r->tokens, GEN, &count, &error));
    llada_decoder_free(decoder);
    CHECK_OK(llada_score_options_init(&options, sizeof options, &error));
    options.block_length = BLOCK;
    options.progress = still_two;
    CHECK_OK(llada_model_score(model, &sequence, 1, &options, r->log_probs, NULL, NULL, NULL, PROMPT, &count, &error));
}

static void check_same(const results *a, const results *b) {
    CHECK(!memcmp(a->logits, b->logits, sizeof a->logits));
    CHECK(!memcmp(a->tokens, b->tokens, sizeof a->tokens));
    CHECK(!memcmp(a->log_probs, b->log_probs, sizeof a->log_probs));
}

static void host_loads_after_us(void) {
    static results alone, together;
    if (!dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL)) {
        remark("OpenBLAS is not installed");
        return;
    }
    llada_model *model = open_with_blas();
    compute(model, &alone);
    NEED(load(0));
    const int usual = get_threads();
    set_threads(HOSTS);
    CHECK_EQUAL(get_threads(), HOSTS);
    compute(model, &together);
    CHECK_EQUAL(get_threads(), HOSTS);
    check_same(&alone, &together);
    llada_model_free(model);
    CHECK_EQUAL(get_threads(), HOSTS);
    remark("the host has %d threads by default", usual);
}

static void host_loads_first(void) {
    static results first, second;
    if (!load(HOSTS)) return;
    llada_model *model = open_with_blas();
    compute(model, &first);
    CHECK_EQUAL(get_threads(), HOSTS);
    get_threads = NULL;
    set_threads(1);
    compute(model, &second);
    check_same(&first, &second);
    llada_model_free(model);
}

/* ---- Both at once ----------------------------------------------------------------------------------------------- */

static atomic_bool stop;

static void *multiply(void *unused) {
    enum { N = 128 };
    static float a[N * N], b[N * N], c[N * N], d[N * N];
    (void)unused;
    for (int i = 0; i < N * N; i++) a[i] = (float)(i % 7), b[i] = (float)(i % 5);
    sgemm(101, 111, 111, N, N, N, 1, a, N, b, N, 0, d, N);
    while (!atomic_load(&stop)) {
        sgemm(101, 111, 111, N, N, N, 1, a, N, b, N, 0, c, N);
        CHECK(!memcmp(c, d, sizeof c)); /* whole numbers: exact in any order */
    }
    return NULL;
}

static void *compute_often(void *model) {
    static _Thread_local results r;
    for (int i = 0; i < 4; i++) {
        llada_error error = LLADA_ERROR_INIT;
        size_t count = 0;
        CHECK_OK(
            llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, r.logits, PROMPT * VOCAB, &count, &error));
    }
    return NULL;
}

static void both_at_once(void) {
    static results expected, r;
    pthread_t host, users[3];
    if (!load(HOSTS)) return;
    llada_model *model = open_with_blas();
    compute(model, &expected);
    get_threads = NULL; /* while others compute, the number is anybody's */
    NEED(!pthread_create(&host, NULL, multiply, NULL));
    for (int i = 0; i < 3; i++) NEED(!pthread_create(&users[i], NULL, compute_often, model));
    for (int i = 0; i < 4; i++) {
        compute(model, &r);
        check_same(&expected, &r);
    }
    for (int i = 0; i < 3; i++) pthread_join(users[i], NULL);
    atomic_store(&stop, true);
    pthread_join(host, NULL);
    llada_model_free(model);
    NEED(load(0));
    CHECK_EQUAL(get_threads(), HOSTS);
}

/* ---- How OpenBLAS may be built: openblas_stub.c ------------------------------------------------------------------ */

static void built_for(void) {
    const char *parallel = test_argument;
    static results r;
    setenv("OPENBLAS_STUB", parallel, 1);
    NEED(getenv("OPENBLAS_STUB_LIBRARY"));
    void *library = dlopen(getenv("OPENBLAS_STUB_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    NEED(library);
    const bool is_openmp = *parallel == '2';
    int (*products)(void), (*parallel_products)(void);
    *(void **)&products = dlsym(library, "stub_products");
    *(void **)&parallel_products = dlsym(library, "stub_parallel_products");
    *(void **)&get_threads = dlsym(library, is_openmp ? "omp_get_max_threads" : "openblas_get_num_threads");
    *(void **)&set_threads = dlsym(library, is_openmp ? "omp_set_num_threads" : "openblas_set_num_threads");
    NEED(products && parallel_products && get_threads && set_threads);
    set_threads(HOSTS);
    llada_model *model = open_with_blas();
    compute(model, &r);
    CHECK_EQUAL(get_threads(), HOSTS);
    CHECK(products() > 100);
    CHECK_EQUAL(parallel_products(), 0);
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"OpenBLAS: the host loads it after us", host_loads_after_us},
        {"OpenBLAS: the host has loaded it", host_loads_first},
        {"OpenBLAS: host and library at once", both_at_once},
        {"OpenBLAS built without threads", built_for, "0"},
        {"OpenBLAS built for POSIX threads", built_for, "1"},
        {"OpenBLAS built for OpenMP", built_for, "2"},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
