/*
 * The library as a plug-in: not linked, but loaded and closed again and again, there twice, and used on both sides of a
 * fork. LLADA_LIBRARY says where it is.
 */
#define _GNU_SOURCE
#include <llada.h>

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int passed, broken;

static void verdict(const char *name, int good) {
    printf("%-48s %s\n", name, good ? "ok" : "FAILED");
    good ? passed++ : broken++;
    fflush(stdout);
}

typedef struct {
    void *library;
    __typeof__(&llada_model_options_init) model_options_init;
    __typeof__(&llada_model_open) model_open;
    __typeof__(&llada_model_free) model_free;
    __typeof__(&llada_decoder_options_init) decoder_options_init;
    __typeof__(&llada_decoder_create) decoder_create;
    __typeof__(&llada_decoder_free) decoder_free;
    __typeof__(&llada_decoder_step) decoder_step;
    __typeof__(&llada_decoder_run) decoder_run;
    __typeof__(&llada_decoder_output) decoder_output;
    __typeof__(&llada_build_info) build_info;
} api;

/* POSIX's way around the missing conversion from void * to a function. */
#define FIND(a, name) *(void **)&(a)->name = dlsym((a)->library, "llada_" #name)

static int load_from(api *a, void *library) {
    a->library = library;
    if (!a->library) {
        printf("    %s\n", dlerror());
        return 0;
    }
    FIND(a, model_options_init);
    FIND(a, model_open);
    FIND(a, model_free);
    FIND(a, decoder_options_init);
    FIND(a, decoder_create);
    FIND(a, decoder_free);
    FIND(a, decoder_step);
    FIND(a, decoder_run);
    FIND(a, decoder_output);
    FIND(a, build_info);
    return a->model_options_init && a->model_open && a->model_free && a->decoder_options_init && a->decoder_create &&
           a->decoder_free && a->decoder_step && a->decoder_run && a->decoder_output && a->build_info;
}

enum { GEN = 16 };

static llada_model *open_model(const api *a) {
    char path[4096];
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options options;
    llada_model *model = NULL;
    snprintf(path, sizeof path, "%s/gqa_group", getenv("FIXTURES"));
    a->model_options_init(&options, sizeof options, NULL);
    options.mask_token_id = 127;
    options.threads = 3;
    if (a->model_open(path, &options, &model, &error)) printf("    %s\n", error.message);
    return model;
}

static llada_decoder *make_decoder(const api *a, const llada_model *model) {
    static const int32_t prompt[] = {1, 17, 42, 99, 64};
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    a->decoder_options_init(&options, sizeof options, NULL);
    options.block_length = 4;
    options.gen_length = GEN;
    options.eos_early_stop = false;
    return a->decoder_create(model, prompt, 5, &options, &decoder, NULL) ? NULL : decoder;
}

/* 1 if the decoder ends with the tokens expected; with NULL it sets them. */
static int run_out(const api *a, llada_decoder *decoder, int32_t *tokens, int compare) {
    int32_t is[GEN];
    size_t count = 0;
    if (!decoder || a->decoder_run(decoder, NULL, NULL, NULL) || a->decoder_output(decoder, is, GEN, &count, NULL) ||
        count != GEN)
        return 0;
    if (!compare) memcpy(tokens, is, sizeof is);
    return !memcmp(tokens, is, sizeof is);
}

static int entries(const char *folder) {
    DIR *dir = opendir(folder);
    int count = 0;
    while (dir && readdir(dir)) count++;
    if (dir) closedir(dir);
    return count;
}

/* In a child that must not outlast its welcome. */
static int in_child(int (*body)(void *), void *user) {
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        _exit(body(user) ? 0 : 1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) return 0;
    if (WIFSIGNALED(status)) printf("    the child: %s\n", strsignal(WTERMSIG(status)));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int32_t expected[GEN];
static int load(api *a) { return load_from(a, dlopen(getenv("LLADA_LIBRARY"), RTLD_NOW | RTLD_LOCAL)); }

static api library;
static llada_model *model;
static llada_decoder *halfway;

static int open_and_close(void *rounds) {
    int files = 0;
    for (int i = 0; i < *(int *)rounds; i++) {
        api a;
        if (!load(&a)) return 0;
        llada_model *m = open_model(&a);
        llada_decoder *d = m ? make_decoder(&a, m) : NULL;
        int good = run_out(&a, d, expected, i > 0);
        a.decoder_free(d);
        a.model_free(m);
        dlclose(a.library);
        if (!good) return 0;
        if (i == 1) files = entries("/proc/self/fd");
    }
    usleep(20000); /* a thread that was joined leaves /proc a moment later */
    return entries("/proc/self/fd") == files && entries("/proc/self/task") == 3;
}

/* Closed while a model is open: the code must stay, for its team is at home in it. */
static int close_with_a_model_open(void *unused) {
    (void)unused;
    api a;
    if (!load(&a)) return 0;
    llada_model *m = open_model(&a);
    llada_decoder *d = make_decoder(&a, m);
    dlclose(a.library);
    usleep(20000);
    return run_out(&a, d, expected, 1);
}

/* ---- Two at once ------------------------------------------------------------------------------------------------ */

typedef struct {
    const api *api;
    int good;
} user;

static void *use_often(void *argument) {
    user *u = argument;
    u->good = 1;
    for (int i = 0; i < 5; i++) {
        llada_model *m = open_model(u->api);
        for (int k = 0; k < 3; k++) {
            llada_decoder *d = m ? make_decoder(u->api, m) : NULL;
            u->good &= run_out(u->api, d, expected, 1);
            u->api->decoder_free(d);
        }
        u->api->model_free(m);
    }
    return NULL;
}

/* Both at work, on a thread each. */
static int use_both(const api *one, const api *other) {
    user users[2] = {{one, 0}, {other, 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, use_often, &users[i])) return 0;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return users[0].good && users[1].good;
}

static int two_copies(void *unused) {
    (void)unused;
    char command[8400], path[] = "/tmp/llada-copy-XXXXXX";
    api one, other;
    const int file = mkstemp(path);
    if (file < 0) return 0;
    close(file);
    snprintf(command, sizeof command, "cp '%s' %s", getenv("LLADA_LIBRARY"), path);
    const int good = !system(command) && load(&one) && load_from(&other, dlopen(path, RTLD_NOW | RTLD_LOCAL)) &&
                     one.model_open != other.model_open && use_both(&one, &other);
    unlink(path);
    return good;
}

/* With a C library of its own, as debuggers and sandboxes load plug-ins. */
static int in_a_namespace(void *unused) {
    (void)unused;
    api one, other;
    return load(&one) && load_from(&other, dlmopen(LM_ID_NEWLM, getenv("LLADA_LIBRARY"), RTLD_NOW | RTLD_LOCAL)) &&
           one.model_open != other.model_open && use_both(&one, &other);
}

static void *open_and_close_often(void *argument) {
    user *u = argument;
    u->good = 1;
    for (int i = 0; i < 20; i++) {
        api a;
        llada_model *m = load(&a) ? open_model(&a) : NULL;
        llada_decoder *d = m ? make_decoder(&a, m) : NULL;
        u->good &= m != NULL;
        dlclose(a.library);
        u->good &= run_out(&a, d, expected, 1);
        a.decoder_free(d);
        a.model_free(m);
    }
    return NULL;
}

static int on_many_threads(void *unused) {
    (void)unused;
    user users[4];
    pthread_t threads[4];
    int good = 1;
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, open_and_close_often, &users[i])) return 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        good &= users[i].good;
    }
    return good;
}

/* ---- Forks ------------------------------------------------------------------------------------------------------ */

static int use_the_model(void *unused) {
    (void)unused;
    llada_decoder *d = make_decoder(&library, model);
    int good = run_out(&library, d, expected, 1);
    library.decoder_free(d);
    return good;
}

static int use_the_decoder(void *unused) {
    (void)unused;
    int good = run_out(&library, halfway, expected, 1);
    library.decoder_free(halfway);
    library.model_free(model);
    return good;
}

static int open_another(void *unused) {
    (void)unused;
    llada_model *m = open_model(&library);
    llada_decoder *d = m ? make_decoder(&library, m) : NULL;
    int good = run_out(&library, d, expected, 1);
    library.decoder_free(d);
    library.model_free(m);
    return good;
}

static int grandchild(void *unused) {
    return use_the_model(unused) && in_child(use_the_model, unused) && use_the_model(unused);
}

int main(void) {
    int rounds = 50, before = entries("/proc/self/task");
    verdict("dlopen and dlclose, 50 times", open_and_close(&rounds));
    verdict("dlclose with a model open", in_child(close_with_a_model_open, NULL));
    verdict("dlopen and dlclose on four threads", in_child(on_many_threads, NULL));
#ifdef SANITIZED
    (void)two_copies, (void)in_a_namespace; /* a sanitizer knows each variable once */
#else
    verdict("two copies at once", in_child(two_copies, NULL));
    verdict("another in a namespace of its own", in_child(in_a_namespace, NULL));
#endif
    verdict("it starts no threads by itself", entries("/proc/self/task") == before);

    if (!load(&library) || !(model = open_model(&library))) {
        printf("%d passed, %d failed\n", passed, broken + 1);
        return 1;
    }
    /* Forked with the team idle, after it has worked. */
    verdict("the model works before a fork", use_the_model(NULL));
    halfway = make_decoder(&library, model);
    library.decoder_step(halfway, NULL);
    library.decoder_step(halfway, NULL);
    verdict("a child uses its parent's model", in_child(use_the_model, NULL));
    verdict("a child goes on with its parent's decoder", in_child(use_the_decoder, NULL));
    verdict("a child opens a model of its own", in_child(open_another, NULL));
    verdict("a child of a child uses it, too", in_child(grandchild, NULL));
    verdict("the parent goes on as if nothing had been",
            use_the_model(NULL) && run_out(&library, halfway, expected, 1));
    library.decoder_free(halfway);
    library.model_free(model);

    printf("%d passed, %d failed\n", passed, broken);
    return broken != 0;
}
