/*
 * worker.c - llada-worker: computes the experts of one rank of a cluster, for whatever program is rank 0.
 *
 *     mpiexec -n 1 ./your-program : -n 3 worker [-m model] [-j threads] [-t timeout in ms] [-l MPI library]
 *
 * The model is where rank 0 says, unless it is named here.
 */
#include <llada.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    llada_error error = LLADA_ERROR_INIT;
    llada_cluster_options options;
    llada_model_options model_options;
    llada_cluster *cluster = NULL;
    const char *model = NULL;
    llada_cluster_options_init(&options, sizeof options, NULL);
    llada_model_options_init(&model_options, sizeof model_options, NULL);
    options.initialise = true;
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value && !strcmp(argv[i], "-m")) {
            model = value;
        } else if (value && !strcmp(argv[i], "-j")) {
            model_options.threads = (int32_t)strtol(value, NULL, 10);
        } else if (value && !strcmp(argv[i], "-t")) {
            options.timeout_ms = (int32_t)strtol(value, NULL, 10);
        } else if (value && !strcmp(argv[i], "-l")) {
            options.library = value;
        } else {
            fputs("usage: worker [-m model] [-j threads] [-t timeout in ms] [-l MPI library]\n", stderr);
            return 2;
        }
    }
    llada_status status = llada_cluster_create(&options, &cluster, &error);
    if (status == LLADA_OK) status = llada_cluster_serve(cluster, model, &model_options, &error);
    if (status != LLADA_OK) fprintf(stderr, "worker: %s: %s\n", llada_status_name(status), error.message);
    llada_cluster_free(cluster);
    return status != LLADA_OK;
}
