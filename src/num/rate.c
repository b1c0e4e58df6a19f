#include <cblas.h>
#include <stdlib.h>

#include "blas.h"
#include "deltascope/num.h"

enum { OWN_RUNS = 4, ALL_RUNS = 2 * OWN_RUNS, TILE_ROWS = 256 };

typedef struct product {
    const float *a, *b;
    float *c;
    size_t n;
} product;

static void multiply_rows(const product *p, size_t first, size_t rows) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)p->n, (int)p->n, 1, p->a + first * p->n, (int)p->n,
                p->b, (int)p->n, 0, p->c + first * p->n, (int)p->n);
}

static ds_status multiply_tile(void *context, size_t index, size_t worker) {
    const product *p = context;
    (void)worker;
    multiply_rows(p, index * TILE_ROWS, ds_min_size(TILE_ROWS, p->n - index * TILE_ROWS));
    return DS_OK;
}

ds_status ds_gemm_rate(double *operations_per_second, size_t n) {
    ds_status status = DS_OK;
    float *a = NULL, *b = NULL, *c = NULL;
    size_t before = ds_blas_threads();
    double best = 0, operations = 2.0 * (double)n * (double)n * (double)n;
    DS_NEW_ARRAY(a, n * n);
    DS_NEW_ARRAY(b, n * n);
    DS_NEW_ARRAY(c, n * n);
    ds_random random = ds_random_init(1);
    for (size_t i = 0; i < n * n; i++) {
        a[i] = (float)ds_random_uniform(&random);
        b[i] = (float)ds_random_uniform(&random);
        c[i] = 0;
    }
    product p = {a, b, c, n};
    for (size_t run = 0; run < ALL_RUNS; run++) {
        bool own = run < OWN_RUNS; /* the BLAS's threads, then ours */
        ds_blas_set_threads(own ? ds_threads() : 1);
        double start = ds_seconds();
        if (own)
            multiply_rows(&p, 0, n);
        else
            DS_TRY(ds_parallel_for((n + TILE_ROWS - 1) / TILE_ROWS, multiply_tile, &p));
        double rate = operations / (ds_seconds() - start);
        if (rate > best) best = rate;
    }
    *operations_per_second = best;
done:
    ds_blas_set_threads(before);
    free(a);
    free(b);
    free(c);
    return status;
}
