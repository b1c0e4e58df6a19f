#include "deltascope/measure/product_pool.h"

#include <stdlib.h>

ds_status ds_product_pool_init(ds_product_pool *pool, size_t hidden, size_t sublayers) {
    ds_status status = DS_OK;
    *pool = (ds_product_pool){.threads = ds_threads()};
    DS_NEW(pool->products, pool->threads);
    DS_NEW(pool->solvers, pool->threads);
    for (size_t i = 0; i < pool->threads; i++) {
        DS_TRY(ds_product_new(&pool->products[i], hidden, sublayers));
        DS_TRY(ds_product_solver_new(&pool->solvers[i], hidden, sublayers));
    }
done:
    if (status != DS_OK) ds_product_pool_release(pool);
    return status;
}

void ds_product_pool_release(ds_product_pool *pool) {
    for (size_t i = 0; pool->products != NULL && i < pool->threads; i++) ds_product_free(&pool->products[i]);
    for (size_t i = 0; pool->solvers != NULL && i < pool->threads; i++) ds_product_solver_free(&pool->solvers[i]);
    free(pool->products);
    free(pool->solvers);
    *pool = (ds_product_pool){0};
}
