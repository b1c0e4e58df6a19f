#include "deltascope/measure/depth_gains.h"

#include <math.h>
#include "result_json.h"
#include <stdlib.h>

#include "deltascope/num.h"
#include "deltascope/measure/product_pool.h"

static const char *const names[DS_GAINS] = {"row_sum_min",    "row_sum_max",     "column_sum_min",
                                            "column_sum_max", "absolute_row",    "absolute_column",
                                            "isometry_row",   "isometry_column", "norm2"};

typedef struct gain_task {
    ds_gain_survey *out;
    const ds_directions *directions;
    ds_product_pool pool;
    double **scratch; /* (threads) (d,d) */
} gain_task;

/* The same directions, each made an exact reflection: c = 2 / |k|^2. A zero direction reflects nothing. */
static ds_status push_reflections(ds_product *product, const ds_directions *all, size_t token) {
    ds_status status = DS_OK;
    ds_product_restart(product);
    for (size_t s = 0; s < all->sublayers; s++) {
        const double *k = ds_directions_k(all, token, s);
        double length2 = ds_dot_f64(k, k, all->hidden);
        DS_TRY(ds_product_push(product, k, length2 > 0 ? 2 / length2 : 0));
    }
done:
    return status;
}

static ds_status measure_token(void *context, size_t index, size_t worker) {
    ds_status status = DS_OK;
    const gain_task *task = context;
    const ds_directions *all = task->directions;
    size_t n = task->out->tokens, token = index * all->tokens / n;
    double *out = task->out->values + index, *scratch = task->scratch[worker];
    ds_product *product = task->pool.products[worker];
    ds_gains sums;
    ds_product_summary summary;
    DS_TRY(ds_product_window(product, ds_directions_k(all, token, 0), all->c + token * all->sublayers, 0, all->sublayers));
    ds_product_gains(&sums, product, scratch);
    ds_product_absolute_gains(&out[DS_GAIN_ABSOLUTE_ROW * n], &out[DS_GAIN_ABSOLUTE_COLUMN * n], product, scratch);
    DS_TRY(ds_product_spectrum_estimate(NULL, NULL, NULL, NULL, &summary, product, task->pool.solvers[worker]));
    out[DS_GAIN_ROW_SUM_MIN * n] = sums.row_sum_min;
    out[DS_GAIN_ROW_SUM_MAX * n] = sums.row_sum_max;
    out[DS_GAIN_COLUMN_SUM_MIN * n] = sums.column_sum_min;
    out[DS_GAIN_COLUMN_SUM_MAX * n] = sums.column_sum_max;
    out[DS_GAIN_NORM2 * n] = summary.norm2;
    DS_TRY(push_reflections(product, all, token));
    ds_product_absolute_gains(&out[DS_GAIN_ISOMETRY_ROW * n], &out[DS_GAIN_ISOMETRY_COLUMN * n], product, scratch);
done:
    return status;
}

/* Row i of |I - 2 u u^T| sums to |1 - 2 u_i^2| + 2 |u_i| (|u|_1 - |u_i|). */
static double reflection_gain(double *u, size_t d, ds_random *random) {
    double length2 = 0, sum = 0, most = 0;
    for (size_t i = 0; i < d; i++) {
        u[i] = fabs(ds_random_normal(random));
        length2 += u[i] * u[i];
    }
    for (size_t i = 0; i < d; i++) sum += u[i] /= sqrt(length2);
    for (size_t i = 0; i < d; i++) most = fmax(most, fabs(1 - 2 * u[i] * u[i]) + 2 * u[i] * (sum - u[i]));
    return most;
}

ds_status ds_gain_survey_run(ds_gain_survey *out, const ds_directions *directions, uint64_t seed) {
    ds_status status = DS_OK;
    size_t d = directions->hidden;
    ds_random random = ds_random_init(seed);
    gain_task task = {.out = out, .directions = directions};
    *out = (ds_gain_survey){.tokens = ds_min_size(directions->tokens, DS_GAIN_TOKENS)};
    DS_NEW(out->values, DS_GAINS * out->tokens);
    DS_TRY(ds_product_pool_init(&task.pool, d, directions->sublayers));
    DS_NEW(task.scratch, task.pool.threads);
    for (size_t i = 0; i < task.pool.threads; i++) DS_NEW_ARRAY(task.scratch[i], d * d);
    DS_TRY(ds_parallel_for_within(task.pool.threads, out->tokens, measure_token, &task));
    const size_t draws = 64;
    for (size_t i = 0; i < draws; i++) out->one_reflection += reflection_gain(task.scratch[0], d, &random) / (double)draws;
done:
    for (size_t i = 0; task.scratch != NULL && i < task.pool.threads; i++) free(task.scratch[i]);
    free(task.scratch);
    ds_product_pool_release(&task.pool);
    if (status != DS_OK) ds_gain_survey_release(out);
    return status;
}

void ds_gain_survey_release(ds_gain_survey *survey) {
    free(survey->values);
    *survey = (ds_gain_survey){0};
}

ds_status ds_gain_survey_put(ds_json_builder *b, const ds_gain_survey *survey) {
    ds_status status = DS_OK;
    ds_json_begin_object(b, "gains");
    ds_json_put_count(b, "tokens", survey->tokens);
    for (size_t g = 0; g < DS_GAINS; g++) {
        ds_statistics statistics;
        DS_TRY(ds_statistics_compute(&statistics, survey->values + g * survey->tokens, survey->tokens));
        ds_json_put_stats(b, names[g], &statistics);
    }
    ds_json_put_real(b, "one_reflection", survey->one_reflection);
    ds_json_end(b);
done:
    return status;
}
