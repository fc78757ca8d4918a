/* LLADA_KERNELS: every set of kernels that this CPU has gives the same bits, and other names are refused in words. */
#include "decoders.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    llada_status status;
    char message[1024], info[1024];
    float logits[PROMPT * VOCAB];
    int32_t tokens[GEN];
    size_t count;
} outcome;

static void opening(outcome *out) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options = usual_options();
    llada_model *model = NULL;
    size_t count = 0;
    options.dtype = LLADA_DTYPE_INT8;
    snprintf(out->info, sizeof out->info, "%s", llada_build_info());
    out->status = llada_model_open(checkpoint(), &options, &model, &error);
    snprintf(out->message, sizeof out->message, "%s", error.message);
    if (out->status != LLADA_OK) return;
    llada_model_logits(model, prompt, PROMPT, BLOCK, NULL, NULL, out->logits, PROMPT * VOCAB, &count, &error);
    llada_decoder *decoder = make_decoder(model, LLADA_PRESET_QUALITY, GEN);
    out->count = run_out(decoder, out->tokens, GEN);
    llada_decoder_free(decoder);
    llada_model_free(model);
}

/* Opens and runs a model in a process whose environment has LLADA_KERNELS; NULL: not. */
static outcome with(const char *kernels) {
    outcome *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(shared != MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        if (kernels)
            setenv("LLADA_KERNELS", kernels, 1);
        else
            unsetenv("LLADA_KERNELS");
        opening(shared);
        _exit(0);
    }
    int status = 1;
    NEED(waitpid(child, &status, 0) == child && status == 0);
    outcome result = *shared;
    munmap(shared, sizeof *shared);
    return result;
}

static void the_same_bits(void) {
    static const char *const names[] = {"portable", "avx2", "avxvnni", "avx512", "neon", "i8mm"};
    const outcome best = with(NULL), refused = with("no-such");
    CHECK_EQUAL(best.status, LLADA_OK);
    CHECK_EQUAL(best.count, GEN);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const outcome lower = with(names[i]);
        char info[64];
        snprintf(info, sizeof info, "(kernels: %s)", names[i]);
        if (!strstr(refused.message, names[i])) { /* this CPU lacks them */
            CHECK_EQUAL(lower.status, LLADA_ERROR_INVALID_ARGUMENT);
            continue;
        }
        CHECK_EQUAL(lower.status, LLADA_OK);
        CHECK(strstr(lower.info, info));
        CHECK(!memcmp(lower.logits, best.logits, sizeof best.logits));
        CHECK(!memcmp(lower.tokens, best.tokens, sizeof best.tokens));
    }
}

static void a_name_that_is_none(void) {
    const outcome refused = with("avx3"), empty = with("");
    CHECK_EQUAL(refused.status, LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(refused.message, "LLADA_KERNELS") && strstr(refused.message, "\"avx3\""));
    CHECK(strstr(refused.message, "portable"));
    CHECK(strstr(refused.info, "avx3") && !strchr(refused.info, '\n'));
    CHECK_EQUAL(empty.status, LLADA_OK);
}

int main(void) {
    static const test tests[] = {
        {"every set of kernels gives the same bits", the_same_bits},
        {"a name that is none is refused", a_name_that_is_none},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
