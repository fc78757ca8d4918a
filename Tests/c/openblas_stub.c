/*
 * openblas_stub.c - stands for libopenblas.so.0, built for no threads (0), POSIX threads (1) or OpenMP (2): as
 * OPENBLAS_STUB says. It counts the products for which it would have used more than one thread.
 */
#include <stdatomic.h>
#include <stdlib.h>

static atomic_int threads = 4, products, parallel_products;
static _Thread_local int own_threads = 4; /* OpenMP has a number for each thread */

int openblas_get_parallel(void) { return getenv("OPENBLAS_STUB") ? atoi(getenv("OPENBLAS_STUB")) : 0; }
int openblas_get_num_threads(void) { return threads; }
void openblas_set_num_threads(int count) { threads = count; }
int omp_get_max_threads(void) { return own_threads; }
void omp_set_num_threads(int count) { own_threads = count; }

int stub_products(void) { return products; }
int stub_parallel_products(void) { return parallel_products; }

static void count(void) {
    const int parallel = openblas_get_parallel();
    products++;
    if ((parallel == 1 && threads != 1) || (parallel == 2 && own_threads != 1)) parallel_products++;
}

/* C = A B^T, row-major; nothing else is asked for. */
void cblas_sgemm(int order, int of_a, int of_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc) {
    (void)order, (void)of_a, (void)of_b, (void)alpha, (void)beta;
    count();
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            float sum = 0;
            for (int l = 0; l < k; l++) sum += a[i * lda + l] * b[j * ldb + l];
            c[i * ldc + j] = sum;
        }
    count();
}
