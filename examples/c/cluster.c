/*
 * cluster.c - one model over several processes: rank 0 asks, the others compute their experts.
 *
 *     mpiexec -n 3 cluster [-m model] ["question"]
 */
#include <llada.h>

#include <stdio.h>
#include <string.h>

#ifndef EXAMPLE_MODEL
#define EXAMPLE_MODEL "."
#endif

static llada_status ask(const char *path, llada_cluster *cluster, const char *text, llada_error *error) {
    llada_model_options options;
    llada_model *model = NULL;
    llada_decoder *decoder = NULL;
    llada_chat_message question = {"user", text};
    llada_cluster_info info = LLADA_CLUSTER_INFO_INIT;
    int32_t prompt[1024], tokens[1024];
    size_t prompt_count = 0, count = 0, length = 0;
    char answer[8192];
    llada_status status = llada_model_options_init(&options, sizeof options, error);
    options.cluster = cluster;
    if (status == LLADA_OK) status = llada_model_open(path, &options, &model, error);
    if (status == LLADA_OK) status = llada_chat_tokenize(model, &question, 1, NULL, prompt, 1024, &prompt_count, error);
    if (status == LLADA_OK) status = llada_decoder_create(model, prompt, prompt_count, NULL, &decoder, error);
    if (status == LLADA_OK) status = llada_decoder_run(decoder, NULL, NULL, error);
    if (status == LLADA_OK) status = llada_decoder_output(decoder, tokens, 1024, &count, error);
    if (status == LLADA_OK)
        status = llada_detokenize(model, tokens, count, LLADA_TEXT_SKIP_CONTROL, answer, sizeof answer, &length, error);
    if (status == LLADA_OK) status = llada_cluster_get_info(cluster, &info, error);
    if (status == LLADA_OK)
        printf("%.*s\n%d ranks; rank 0 has sent %.1f MB and received %.1f MB\n", (int)length, answer, info.size,
               (double)info.bytes_sent / 1e6, (double)info.bytes_received / 1e6);
    llada_decoder_free(decoder);
    llada_model_free(model);
    return status;
}

int main(int argc, char **argv) {
    llada_error error = LLADA_ERROR_INIT;
    llada_cluster_options options;
    llada_cluster_info info = LLADA_CLUSTER_INFO_INIT;
    llada_cluster *cluster = NULL;
    const char *path = EXAMPLE_MODEL, *question = "What is 17 plus 25?";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-m") && i + 1 < argc) {
            path = argv[++i];
        } else {
            question = argv[i];
        }
    }
    llada_status status = llada_cluster_options_init(&options, sizeof options, &error);
    options.initialise = true;
    if (status == LLADA_OK) status = llada_cluster_create(&options, &cluster, &error);
    if (status == LLADA_OK) status = llada_cluster_get_info(cluster, &info, &error);
    if (status == LLADA_OK)
        status =
            info.rank > 0 ? llada_cluster_serve(cluster, NULL, NULL, &error) : ask(path, cluster, question, &error);
    if (status != LLADA_OK) fprintf(stderr, "cluster: %s: %s\n", llada_status_name(status), error.message);
    llada_cluster_free(cluster);
    return status != LLADA_OK;
}
