/* Gradients of parameters: of Linear weights, one task per block of rows and all tokens at once; of what is too small for a
 * task of its own, sums over the tiles. */
#include "tiles.h"

ds_status REAL_NAME(ds_weights_backward_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_weight_job *job = b->gradient->jobs;
    size_t blocks, tokens = b->pass.batch->sequences * b->pass.batch->length;
    (void)worker;
    while (blocks = (job->out + DS_WEIGHT_ROWS - 1) / DS_WEIGHT_ROWS, task >= blocks) {
        task -= blocks;
        job++;
    }
    size_t first = task * DS_WEIGHT_ROWS, rows = ds_min_size(job->out - first, DS_WEIGHT_ROWS);
    REAL_NAME(ds_gemm_tn_add)
    ((REAL *)job->dweight + first * job->stride, job->stride, (const REAL *)job->dy + first, job->out, job->x, job->in, rows,
     job->in, tokens * job->groups);
    return DS_OK;
}

REAL *REAL_NAME(ds_gradient_of)(const ds_derivative *b, const ds_parameter *parameter) {
    return b->gradient->parameters[parameter - b->pass.model->parameters];
}

double *REAL_NAME(ds_tile_sums)(const ds_derivative *b, size_t offset, size_t count) {
    size_t tiles = b->pass.batch->sequences * b->pass.tiles, stride = b->gradient->layout.count;
    double *sum = b->gradient->partial + offset; /* of the first tile */
    for (size_t tile = 1; tile < tiles; tile++)
        for (size_t i = 0; i < count; i++) sum[i] += sum[tile * stride + i];
    return sum;
}

void REAL_NAME(ds_bias_sums)(const ds_derivative *b, ds_tile tile, const ds_linear_map *map, size_t offset, const REAL *dy) {
    double *sum = ds_partial_at(b, tile, offset);
    if (map->bias == NULL || sum == NULL) return;
    for (size_t row = 0; row < tile.rows; row++, dy += map->out)
        for (size_t i = 0; i < map->out; i++) sum[i] += (double)dy[i];
}

void REAL_NAME(ds_sum_tiles)(ds_derivative *b, const ds_parameter *parameter, size_t offset) {
    if (parameter == NULL) return;
    const double *sum = REAL_NAME(ds_tile_sums)(b, offset, parameter->count);
    REAL *gradient = REAL_NAME(ds_gradient_of)(b, parameter);
    for (size_t i = 0; i < parameter->count; i++) gradient[i] += (REAL)sum[i];
}

void REAL_NAME(ds_sum_bias)(ds_derivative *b, const ds_linear_map *map, size_t offset) {
    if (map->bias == NULL) return;
    const double *sum = REAL_NAME(ds_tile_sums)(b, offset, map->out);
    REAL *gradient = REAL_NAME(ds_gradient_of)(b, map->bias) + map->first;
    for (size_t i = 0; i < map->out; i++) gradient[i] += (REAL)sum[i];
}

void REAL_NAME(ds_sum_norm)(ds_derivative *b, ds_norm norm) {
    size_t offset = b->gradient->layout.norm;
    REAL_NAME(ds_sum_tiles)(b, norm.weight, offset);
    REAL_NAME(ds_sum_tiles)(b, norm.bias, offset + norm.weight->count);
}
