/* A product and its solver for each thread: the work space of whatever solves tokens in parallel. */
#ifndef DELTASCOPE_MEASURE_PRODUCT_POOL_H
#define DELTASCOPE_MEASURE_PRODUCT_POOL_H

#include "deltascope/delta.h"

DS_BEGIN_DECLARATIONS

typedef struct ds_product_pool {
    size_t threads;
    ds_product **products;       /* (threads) */
    ds_product_solver **solvers; /* (threads) */
} ds_product_pool;

ds_status ds_product_pool_init(ds_product_pool *pool, size_t hidden, size_t sublayers) DS_MUST_CHECK;
void ds_product_pool_release(ds_product_pool *pool); /* a zeroed one is fine */

DS_END_DECLARATIONS

#endif
