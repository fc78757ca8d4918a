/* llada_cluster where there is no MPI: what it says, and what it refuses. Tests/cluster has several ranks. */
#include "decoders.h"

static llada_cluster_options defaults(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_cluster_options options;
    CHECK_OK(llada_cluster_options_init(&options, sizeof options, &error));
    return options;
}

static void default_options(void) {
    const llada_cluster_options options = defaults();
    CHECK_EQUAL(options.struct_size, sizeof options);
    CHECK_EQUAL(options.timeout_ms, 30000);
    CHECK(!options.initialise && !options.communicator && !options.library && !options.shares && !options.share_count);
}

/* The message says what to do. */
static void no_library(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_cluster_options options = defaults();
    llada_cluster *cluster = NULL;
    options.initialise = true;
    options.library = "/nowhere/libmpi_abi.so.1";
    CHECK_EQUAL(llada_cluster_create(&options, &cluster, &error), LLADA_ERROR_UNSUPPORTED);
    CHECK(!cluster);
    CHECK(strstr(error.message, "/nowhere/libmpi_abi.so.1") && strstr(error.message, "LLADA_MPI_LIBRARY"));
    /* A library that is none of MPI. */
    error = (llada_error)LLADA_ERROR_INIT;
    options.library = "libc.so.6";
    CHECK_EQUAL(llada_cluster_create(&options, &cluster, &error), LLADA_ERROR_UNSUPPORTED);
    CHECK(!cluster && strstr(error.message, "MPI_Abi_get_version"));
}

static void options_out_of_range(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_cluster *cluster = NULL;
    const int32_t timeouts[] = {0, -1, INT32_MIN, 86400001, INT32_MAX};
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        llada_cluster_options options = defaults();
        options.timeout_ms = timeouts[i];
        CHECK_REFUSED(llada_cluster_create(&options, &cluster, &error), LLADA_ERROR_INVALID_ARGUMENT);
    }
    const double shares[] = {1, 0, 1}, others[] = {-1}, more[] = {1.0 / 0.0};
    llada_cluster_options options = defaults();
    options.shares = shares;
    options.share_count = 3;
    CHECK_REFUSED(llada_cluster_create(&options, &cluster, &error), LLADA_ERROR_INVALID_ARGUMENT);
    options.shares = others;
    options.share_count = 1;
    CHECK_REFUSED(llada_cluster_create(&options, &cluster, &error), LLADA_ERROR_INVALID_ARGUMENT);
    options.shares = more;
    CHECK_REFUSED(llada_cluster_create(&options, &cluster, &error), LLADA_ERROR_INVALID_ARGUMENT);
    options.shares = NULL;
    CHECK_REFUSED(llada_cluster_create(&options, &cluster, &error), LLADA_ERROR_INVALID_ARGUMENT);
    options.shares = shares;
    options.share_count = SIZE_MAX;
    CHECK_REFUSED(llada_cluster_create(&options, &cluster, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!cluster);
    llada_cluster_free(NULL);
}

static void usage_that_is_none(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = NULL;
    const uint64_t counts[2] = {1, 2};
    llada_model_options options = usual_options();
    CHECK(!options.expert_usage && !options.expert_usage_count);
    options.expert_usage_count = 2;
    CHECK_REFUSED(llada_model_open(checkpoint(), &options, &model, &error), LLADA_ERROR_INVALID_ARGUMENT);
    options.expert_usage = counts;
    options.expert_usage_count = SIZE_MAX;
    CHECK_REFUSED(llada_model_open(checkpoint(), &options, &model, &error), LLADA_ERROR_INVALID_ARGUMENT);
    CHECK(!model);
    /* It says where experts go, and without a cluster they go nowhere. */
    options.expert_usage_count = 2;
    CHECK_OK(llada_model_open(checkpoint(), &options, &model, &error));
    llada_model_free(model);
}

int main(void) {
    static const test tests[] = {
        {"the defaults", default_options},
        {"no MPI library", no_library},
        {"options out of range", options_out_of_range},
        {"usage of experts that is none", usage_that_is_none},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
